package change

import (
	"path"
	"slices"
	"strings"
)

// Touched says what a change touches besides code. It is derived from the paths
// that git reports, never declared away.
type Touched struct {
	Registry  bool     `json:"registry"`
	Policy    bool     `json:"policy"`
	Contracts []string `json:"contracts,omitempty"` // touched paths that are declared contracts, sorted
	Models    []string `json:"models,omitempty"`    // touched paths that belong to models, sorted
}

// Touches derives what paths touch. A declared path stands for itself and for
// everything below it; a contract may name a part of its file behind "#". All
// paths are relative to the repository's root; old and new names of a moved
// file both belong into paths.
func Touches(paths []string, registryPath, policyPath string, contractPaths, modelPaths []string) Touched {
	var t Touched
	for _, p := range paths {
		p = path.Clean(p)
		t.Registry = t.Registry || covers(registryPath, p)
		t.Policy = t.Policy || covers(policyPath, p)
		if slices.ContainsFunc(contractPaths, func(c string) bool { return covers(c, p) }) {
			t.Contracts = append(t.Contracts, p)
		}
		if slices.ContainsFunc(modelPaths, func(m string) bool { return covers(m, p) }) {
			t.Models = append(t.Models, p)
		}
	}
	slices.Sort(t.Contracts)
	slices.Sort(t.Models)
	t.Contracts, t.Models = slices.Compact(t.Contracts), slices.Compact(t.Models)
	return t
}

func covers(declared, p string) bool {
	declared, _, _ = strings.Cut(declared, "#")
	if declared == "" {
		return false
	}
	declared = path.Clean(declared)
	return declared == "." || p == declared || strings.HasPrefix(p, declared+"/")
}
