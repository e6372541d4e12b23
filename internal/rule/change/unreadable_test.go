package change

import (
	"strings"
	"testing"

	"github.com/governhq/govern/internal/gov"
)

// TestScreenOfUnreadableMetadata: while the metadata cannot be read, only what
// is wrong with it is said, whole, with one next command; guesses made for want
// of it (the highest risk, and its targets) are not.
func TestScreenOfUnreadableMetadata(t *testing.T) {
	t.Parallel()
	long := "changes/CHANGE-7/change_metadata.json: there is no key \"rollback\" in a change's metadata, " + strings.Repeat("and that takes some words ", 6) + "END"
	for _, c := range []struct {
		name, why, want string
	}{
		{"short", "it is empty", "it is empty"},
		{"whole", long, "END"},
		{"endless", strings.Repeat("word ", 400), "…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := facts()
			f.MetadataErrors = []string{c.why}
			f.Problems = []Problem{{Code: "policy_no_target", Text: "the stage canary has nowhere to go", Hint: "govern policy show"}}
			lines := Screen(Judge(f), gov.Principal{Handle: "bob", Kind: gov.Human})
			inBounds(t, lines)
			got := strings.Join(lines, "\n")
			if !strings.Contains(got, c.want) || strings.Count(got, "govern change edit CHANGE-7") != 1 {
				t.Errorf("the cause or its command is not there:\n%s", got)
			}
			if strings.Contains(got, "nowhere") || strings.Contains(got, "govern policy show") {
				t.Errorf("guesses are printed:\n%s", got)
			}
		})
	}
}
