package git

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

// change commits on the current branch: a file of the change and, with meta,
// its metadata.
func (r *repo) change(n, step int, meta bool) string {
	r.Helper()
	r.write(fmt.Sprintf("src/file%d-%d", n, step), fmt.Sprint(n, step))
	if meta {
		r.write(MetadataPath(gov.NewChangeID(n)), metadata(string(gov.NewChangeID(n)), fmt.Sprintf(`, "impact": "%d"`, step)))
	}
	return r.commit(fmt.Sprintf("change %d step %d", n, step))
}

// branch makes a branch from main with two commits of change n, and goes back.
func (r *repo) branch(n int) string {
	r.Helper()
	name := fmt.Sprintf("feature%d", n)
	r.git("switch", "-q", "-c", name, "main")
	r.change(n, 1, false)
	r.change(n, 2, true)
	r.git("switch", "-q", "main")
	return name
}

func (r *repo) merge(name string) { r.Helper(); r.git("merge", "-q", "--no-ff", "-m", "merge", name) }

func (r *repo) squash(name string) {
	r.Helper()
	r.git("merge", "-q", "--squash", name)
	r.commit("squash " + name)
}

// shape prints landings as "id:steps", id "-" for no change.
func shape(landings []Landing) string {
	var parts []string
	for _, l := range landings {
		id := strings.TrimPrefix(string(l.Change), "CHANGE-")
		if id == "" {
			id = "-"
		}
		parts = append(parts, fmt.Sprintf("%s:%d", id, len(l.Steps)))
	}
	return strings.Join(parts, " ")
}

func TestRange(t *testing.T) {
	cases := []struct {
		name string
		push func(r *repo)
		want string // shape, or the code of an error
	}{
		{"nothing", func(*repo) {}, ""},
		{"three merge commits", func(r *repo) {
			for _, b := range []string{r.branch(1), r.branch(2), r.branch(3)} {
				r.merge(b)
			}
		}, "1:1 2:1 3:1"},
		{"three squashes", func(r *repo) {
			for _, b := range []string{r.branch(1), r.branch(2), r.branch(3)} {
				r.squash(b)
			}
		}, "1:1 2:1 3:1"},
		{"three series, each ending with its metadata", func(r *repo) {
			for n := range 3 {
				r.change(n+1, 1, false)
				r.change(n+1, 2, true)
			}
		}, "1:2 2:2 3:2"},
		{"metadata written again within a series", func(r *repo) {
			r.change(1, 1, true)
			r.change(1, 2, false)
			r.change(1, 3, true)
			r.change(2, 1, true)
		}, "1:3 2:1"},
		{"one branch, metadata first", func(r *repo) {
			r.change(1, 1, true)
			r.change(1, 2, false)
			r.change(1, 3, false)
		}, "1:3"},
		{"one branch with a merge inside", func(r *repo) {
			r.git("switch", "-q", "-c", "side")
			r.write("side", "x")
			r.commit("side")
			r.git("switch", "-q", "main")
			r.change(1, 1, true)
			r.merge("side")
			r.change(1, 2, false)
		}, "1:3"},
		{"a commit of no change", func(r *repo) { r.change(1, 1, false) }, "-:1"},
		{"commits of no change around merges", func(r *repo) {
			b, c := r.branch(1), r.branch(2)
			r.write("x", "1")
			r.commit("x")
			r.merge(b)
			r.write("x", "2")
			r.commit("x")
			r.write("x", "3")
			r.commit("x")
			r.merge(c)
			r.write("x", "4")
			r.commit("x")
		}, "-:1 1:1 -:2 2:1 -:1"},
		{"a merge, a squash, a series", func(r *repo) {
			a, b := r.branch(1), r.branch(2)
			r.merge(a)
			r.squash(b)
			r.change(3, 1, false)
			r.change(3, 2, true)
		}, "1:1 2:1 3:2"},
		{"commits behind several changes", func(r *repo) {
			r.change(1, 1, true)
			r.change(2, 1, true)
			r.write("x", "1")
			r.commit("x")
		}, "1:1 2:1 -:1"},
		{"the target merged into the branch", func(r *repo) {
			r.git("switch", "-q", "-c", "feature", "main~0")
			r.change(1, 1, true)
			r.git("switch", "-q", "main")
			r.write("main2", "x")
			r.commit("main moved")
			r.git("update-ref", "refs/heads/start", "HEAD")
			r.git("switch", "-q", "feature")
			r.git("merge", "-q", "-m", "update", "main")
			r.git("update-ref", "refs/heads/main", "HEAD")
		}, "1:1"},
		{"metadata only removed", func(r *repo) {
			r.git("rm", "-q", MetadataPath("CHANGE-9"))
			r.commit("remove")
		}, "-:1"},
		{"metadata of no valid id", func(r *repo) {
			r.write("changes/CHANGE-01/change_metadata.json", "{}")
			r.commit("x")
		}, "-:1"},
		{"two metadata files in one commit", func(r *repo) {
			r.write(MetadataPath("CHANGE-1"), "{}")
			r.write(MetadataPath("CHANGE-2"), "{}")
			r.commit("x")
		}, "change_ambiguous"},
		{"mixed commits of two changes", func(r *repo) {
			r.change(1, 1, true)
			r.change(2, 1, true)
			r.change(1, 2, true)
		}, "change_ambiguous"},
		{"history rewritten", func(r *repo) {
			r.git("commit", "-q", "--amend", "-m", "other")
		}, "not_fast_forward"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			r.change(9, 1, true)
			r.git("update-ref", "refs/heads/start", "HEAD")
			c.push(r)
			old, new := r.git("rev-parse", "start"), r.git("rev-parse", "main")
			landings, err := r.open().Range(t.Context(), old, new)
			if err != nil {
				wantCode(t, err, c.want)
				return
			}
			if diff := cmp.Diff(c.want, shape(landings)); diff != "" {
				t.Fatal(diff)
			}
			checkContiguous(t, landings, old, new)
			for _, l := range landings {
				between := must(r.open().Between(t.Context(), l.Base, l.Head, l.Change))(t)
				if diff := cmp.Diff(between.Paths, l.Paths); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// checkContiguous is the promise that nothing of a push escapes judgement.
func checkContiguous(t interface{ Errorf(string, ...any) }, landings []Landing, old, new string) {
	at := old
	for _, l := range landings {
		if l.Base != at || len(l.Steps) == 0 || l.Steps[0].Parent != l.Base || l.Steps[len(l.Steps)-1].Commit != l.Head {
			t.Errorf("landing %s from %s to %s does not follow %s", l.Change, l.Base, l.Head, at)
		}
		at = l.Head
	}
	if at != new {
		t.Errorf("the landings end at %s, not at %s", at, new)
	}
}

func TestRangeTellsCreatedAndDeleted(t *testing.T) {
	r := newRepo(t)
	o, head := r.open(), r.head()
	_, err := o.Range(t.Context(), strings.Repeat("0", 40), head)
	wantCode(t, err, "ref_created")
	_, err = o.Range(t.Context(), head, strings.Repeat("0", 40))
	wantCode(t, err, "ref_deleted")
	_, err = o.Range(t.Context(), head, strings.Repeat("1", 40))
	wantCode(t, err, "commit_not_found")
	_, err = o.Range(t.Context(), "main", head)
	wantCode(t, err, "ref_update_invalid")
}

// A landed change has the digest that was approved on its branch, however it
// was merged and whatever else was in the push.
func TestLandingHasTheApprovedDigest(t *testing.T) {
	for _, way := range []string{"merge", "squash"} {
		r := newRepo(t)
		old := r.head()
		approved := map[gov.ChangeID]gov.Digest{}
		var branches []string
		for n := 1; n <= 3; n++ {
			branches = append(branches, r.branch(n))
			id := gov.NewChangeID(n)
			approved[id] = must(r.open().Revision(t.Context(), "main", branches[n-1], id))(t).Revision.Change
		}
		for _, b := range branches {
			if way == "merge" {
				r.merge(b)
			} else {
				r.squash(b)
			}
		}
		landed := map[gov.ChangeID]gov.Digest{}
		for _, l := range must(r.open().Range(t.Context(), old, r.head()))(t) {
			landed[l.Change] = must(r.open().Between(t.Context(), l.Base, l.Head, l.Change))(t).Revision.Change
		}
		if diff := cmp.Diff(approved, landed); diff != "" {
			t.Errorf("%s: %s", way, diff)
		}
	}
}

// TestSegmentKeepsEveryStep feeds random histories to the segmenter. The oracle
// restates the promise: steps stay in order, none is lost or doubled, each
// change has one landing that holds every step with its metadata, and a merge
// commit that begins a change takes nothing before it.
func TestSegmentKeepsEveryStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s segmenter
		var steps []Step
		want := map[gov.ChangeID][]string{}
		for i := range rapid.IntRange(1, 12).Draw(t, "steps") {
			step := Step{Commit: fmt.Sprint(i), Merge: rapid.Bool().Draw(t, "merge")}
			steps = append(steps, step)
			n := rapid.IntRange(0, 3).Draw(t, "id")
			if n == 0 {
				s.pending = append(s.pending, step)
				continue
			}
			id := gov.NewChangeID(n)
			if err := s.take(step, id); err != nil {
				if gov.CodeOf(err) != "change_ambiguous" || len(want[id]) == 0 {
					t.Fatalf("refused the first commit of %s: %v", id, err)
				}
				return
			}
			want[id] = append(want[id], step.Commit)
		}
		s.end()
		var got []Step
		seen := map[gov.ChangeID]bool{}
		for _, l := range s.landings {
			got = append(got, l.Steps...)
			if !l.Governed() {
				continue
			}
			if seen[l.Change] {
				t.Fatalf("%s has two landings", l.Change)
			}
			seen[l.Change] = true
			for _, commit := range want[l.Change] {
				if !slices.ContainsFunc(l.Steps, func(s Step) bool { return s.Commit == commit }) {
					t.Fatalf("%s lost its commit %s", l.Change, commit)
				}
			}
			if first := want[l.Change][0]; steps[atoi(first)].Merge && l.Steps[0].Commit != first {
				t.Fatalf("the merge commit of %s took %s", l.Change, l.Steps[0].Commit)
			}
		}
		if diff := cmp.Diff(steps, got); diff != "" {
			t.Fatal(diff)
		}
		if len(seen) != len(want) {
			t.Fatalf("got %d changes, want %d", len(seen), len(want))
		}
	})
}

func atoi(s string) (n int) { _, _ = fmt.Sscan(s, &n); return n }

func TestInverse(t *testing.T) {
	cases := []struct {
		name string
		undo func(r *repo, merged string)
		want bool
	}{
		{"git revert of the merge", func(r *repo, m string) { r.git("revert", "--no-edit", "-m", "1", m) }, true},
		{"records stay", func(r *repo, m string) {
			r.git("revert", "--no-commit", "-m", "1", m)
			r.git("checkout", "-q", m, "--", ChangesDir)
			r.commit("revert, records stay")
		}, true},
		{"with metadata of its own", func(r *repo, m string) {
			r.git("revert", "--no-edit", "-m", "1", m)
			r.write(MetadataPath("CHANGE-7"), "{}")
			r.write(statementPath("CHANGE-7", envelope("CHANGE-7")), envelope("CHANGE-7"))
			r.commit("governed revert")
		}, true},
		{"with a statement of its own", func(r *repo, m string) {
			r.git("revert", "--no-edit", "-m", "1", m)
			r.write(statementPath("CHANGE-1", envelope("CHANGE-1", "revert")), envelope("CHANGE-1", "revert"))
			r.commit("statement")
		}, true},
		{"a program by the name of a statement", func(r *repo, m string) {
			r.git("revert", "--no-edit", "-m", "1", m)
			r.write(statementPath("CHANGE-1", "import os"), "import os")
			r.commit("smuggle")
		}, false},
		{"a file more", func(r *repo, m string) {
			r.git("revert", "--no-edit", "-m", "1", m)
			r.write("evil", "x")
			r.commit("more")
		}, false},
		{"a file less", func(r *repo, m string) {
			r.git("revert", "--no-commit", "-m", "1", m)
			r.git("checkout", "-q", m, "--", "src/file1-1")
			r.commit("less")
		}, false},
		{"a byte other", func(r *repo, m string) {
			r.git("revert", "--no-edit", "-m", "1", m)
			r.write("src/a.txt", r.read("src/a.txt")+"x")
			r.commit("other")
		}, false},
		{"records of another change removed", func(r *repo, m string) {
			r.git("revert", "--no-edit", "-m", "1", m)
			r.git("rm", "-q", MetadataPath("CHANGE-9"))
			r.commit("cover up")
		}, false},
		{"only records removed", func(r *repo, _ string) {
			r.git("rm", "-q", MetadataPath("CHANGE-1"))
			r.commit("x")
		}, false},
		{"nothing", func(r *repo, _ string) { r.commit("empty") }, false},
		{"the change once more", func(r *repo, m string) {
			r.git("revert", "--no-edit", "-m", "1", m)
			r.git("revert", "--no-edit", "HEAD")
		}, false},
		{"an added mode", func(r *repo, m string) {
			r.git("revert", "--no-edit", "-m", "1", m)
			r.git("update-index", "--chmod=+x", "src/a.txt")
			r.git("commit", "-q", "-m", "mode")
		}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			r.change(9, 1, true)
			name := r.branch(1)
			r.git("switch", "-q", name)
			r.edit("src/a.txt", "a 5", "a five")
			r.write(statementPath("CHANGE-1", envelope("CHANGE-1")), envelope("CHANGE-1"))
			r.commit("edit")
			r.git("switch", "-q", "main")
			before := r.head()
			r.merge(name)
			merged := r.head()
			r.write("elsewhere", "x")
			base := r.commit("main moved on")
			c.undo(r, merged)
			got := must(r.open().InverseOf(t.Context(), base, r.head(), before, merged))(t)
			if got != c.want {
				t.Errorf("inverse: %v, want %v", got, c.want)
			}
			if c.want {
				reverted := must(r.open().FindReverted(t.Context(), base, r.head()))(t)
				if c.name != "records stay" && !slices.Equal(reverted, []string{merged}) {
					t.Errorf("reverted %v, want %s", reverted, merged)
				}
			}
		})
	}
}

func TestRevertedCommits(t *testing.T) {
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 64)
	message := "Revert \"x\"\n\nThis reverts commit " + a + ", reversing\nchanges made to " + b + ".\n\nThis reverts commit " + b + ".\nThis reverts commit " + a + ".\n  This reverts commit " + strings.Repeat("c", 40) + ".\nThis reverts commit abc.\nThis reverts commit " + a + "a.\n"
	if diff := cmp.Diff([]string{a, b}, RevertedCommits(message)); diff != "" {
		t.Error(diff)
	}
}
