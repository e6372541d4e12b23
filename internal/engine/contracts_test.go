package engine

import (
	"slices"
	"testing"

	"github.com/governhq/govern/internal/gov"
)

// TestDeclaredContracts: whoever declares a file a contract, touching it counts.
func TestDeclaredContracts(t *testing.T) {
	m := gov.Manifest{Modules: []gov.Module{{InterfaceSchema: "api/bass.json#/BassSpec"}}}
	touched := []gov.PathChange{{Path: "api/bass.json"}, {Path: "proto/a.proto"}, {Path: "x/contracts/y.json"}, {Path: "readme"}}
	for _, tc := range []struct {
		named []string
		want  []string
	}{
		{nil, []string{"api/bass.json", "x/contracts/y.json"}},
		{[]string{"proto/a.proto#/A", "gone"}, []string{"api/bass.json", "proto/a.proto", "x/contracts/y.json"}},
	} {
		if got := contractFiles(m, tc.named, touched); !slices.Equal(got, tc.want) {
			t.Errorf("named %v: %v, want %v", tc.named, got, tc.want)
		}
	}
}
