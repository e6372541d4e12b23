package git

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Step is one commit of the first-parent history of a push.
type Step struct {
	Commit string
	Parent string // its first parent
	Merge  bool   // it has more than one parent
}

// Landing is a part of a push: one change, or commits that belong to none.
// Landings are in order, and each one's Base is the Head of the one before, so
// that together they are the whole push.
type Landing struct {
	Change     gov.ChangeID // "" for commits that belong to no change
	Base, Head string       // commits; Between(Base, Head, Change) gives the revision
	Steps      []Step       // oldest first; never empty

	Paths      []gov.PathChange // as Change.Paths
	Statements []string         // as Change.Statements; for no change: of any
}

// Governed tells whether the landing belongs to a change.
func (l Landing) Governed() bool { return l.Change != "" }

// Range tells what a push that moves a governed ref from old to new lands.
//
// A change is there when its metadata file is added or modified. How commits on
// the first-parent line from old to new are given to changes:
//
//   - a merge commit that brings metadata is one change by itself;
//   - other commits form a series that ends with the commit that brings the
//     metadata (what "govern submit" makes); a squash commit is a series of one;
//   - when the push holds one change in all, commits after it belong to it too;
//   - what remains belongs to no change, and one landing holds each run of it.
//
// When old is not on the first-parent line (the target was merged into the
// branch and that was pushed), the push is one landing.
//
// Errors: ref_deleted, ref_created and not_fast_forward (refused: such pushes
// land nothing that could be judged), change_ambiguous (with advice how to push
// so that it is not), and those of Between.
func (r *Repo) Range(ctx context.Context, old, new string) ([]Landing, error) {
	kind, err := r.Classify(ctx, RefUpdate{Old: old, New: new, Ref: "refs/heads/x"})
	if err != nil {
		return nil, err
	}
	switch kind {
	case UpdateNone:
		return nil, nil
	case UpdateDelete:
		return nil, gov.Errorf(gov.KindRefused, "ref_deleted", "a governed branch cannot be deleted")
	case UpdateCreate:
		return nil, gov.Errorf(gov.KindRefused, "ref_created", "the governed branch is new, so there is nothing to compare it with").
			WithHint("govern init")
	case UpdateForce:
		return nil, gov.Errorf(gov.KindRefused, "not_fast_forward", "commit %.12s does not contain %.12s, and a governed branch only moves forward", new, old).
			WithHint("git pull --rebase && git push")
	}
	steps, err := r.steps(ctx, old, new)
	if err != nil {
		return nil, err
	}
	landings, err := r.segment(ctx, steps)
	if err != nil {
		return nil, err
	}
	for i := range landings {
		if err := r.fill(ctx, &landings[i]); err != nil {
			return nil, err
		}
	}
	return landings, nil
}

// steps gives the first-parent commits from old to new, oldest first. When old
// is not their beginning, one step stands for all of it.
func (r *Repo) steps(ctx context.Context, old, new string) ([]Step, error) {
	out, err := r.git(ctx, "rev-list", "--first-parent", "--parents", "--reverse", new, "^"+old, "--")
	if err != nil {
		return nil, err
	}
	var steps []Step
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			steps = nil // a root: old is not on this line
			break
		}
		steps = append(steps, Step{Commit: f[0], Parent: f[1], Merge: len(f) > 2})
	}
	if len(steps) == 0 || steps[0].Parent != old {
		return []Step{{Commit: new, Parent: old}}, nil
	}
	return steps, nil
}

// touches gives, for each step, the changes whose metadata it adds or modifies.
func (r *Repo) touches(ctx context.Context, steps []Step) ([][]gov.ChangeID, error) {
	ids := make([][]gov.ChangeID, len(steps))
	var in strings.Builder
	for _, s := range steps {
		in.WriteString(s.Commit + " " + s.Parent + "\n")
	}
	out, err := r.run(ctx, call{
		args: []string{
			"diff-tree", "--stdin", "-r", "-z", "--raw", "--full-index", "--no-renames", "--no-ext-diff",
			"--ignore-submodules=none", "--always", "--", ChangesDir,
		},
		stdin: strings.NewReader(in.String()),
	})
	if err != nil {
		return nil, err
	}
	for i, s := range steps {
		var ok bool
		if out, ok = bytes.CutPrefix(out, []byte(s.Commit+"\x00")); !ok {
			return nil, malformed("list of differences")
		}
		end := endOfDeltas(out)
		deltas, err := parseDeltas(out[:end])
		if err != nil {
			return nil, err
		}
		out = out[end:]
		for _, d := range deltas {
			if id, ok := metadataID(d.path); ok && d.newMode != absentMode {
				ids[i] = append(ids[i], id)
			}
		}
	}
	if len(out) > 0 {
		return nil, malformed("list of differences")
	}
	return ids, nil
}

// endOfDeltas finds where the entries of one commit end: a field at the place
// of an entry's head that does not begin with a colon.
func endOfDeltas(out []byte) int {
	at := 0
	for at < len(out) && out[at] == ':' {
		for range 2 {
			n := bytes.IndexByte(out[at:], 0)
			if n < 0 {
				return len(out)
			}
			at += n + 1
		}
	}
	return at
}

// segmenter gives steps to changes.
type segmenter struct {
	landings []Landing
	pending  []Step // of no change as yet
}

func (r *Repo) segment(ctx context.Context, steps []Step) ([]Landing, error) {
	ids, err := r.touches(ctx, steps)
	if err != nil {
		return nil, err
	}
	var s segmenter
	for i, step := range steps {
		if len(ids[i]) > 1 {
			return nil, ambiguous("commit %.12s holds the metadata of %s and %s", step.Commit, ids[i][0], ids[i][1])
		}
		if len(ids[i]) == 0 {
			s.pending = append(s.pending, step)
			continue
		}
		if err := s.take(step, ids[i][0]); err != nil {
			return nil, err
		}
	}
	s.end()
	return s.landings, nil
}

// take adds a step that brings metadata of id.
func (s *segmenter) take(step Step, id gov.ChangeID) error {
	at := slices.IndexFunc(s.landings, func(l Landing) bool { return l.Change == id })
	switch {
	case at >= 0 && at != len(s.landings)-1:
		return ambiguous("the commits of %s and %s are mixed", id, s.landings[len(s.landings)-1].Change)
	case at >= 0:
		last := &s.landings[at]
		last.Steps = append(append(last.Steps, s.pending...), step)
	case step.Merge:
		s.flush()
		s.landings = append(s.landings, Landing{Change: id, Steps: []Step{step}})
	default:
		s.landings = append(s.landings, Landing{Change: id, Steps: append(s.pending, step)})
	}
	s.pending = nil
	return nil
}

// flush makes a landing of no change from the pending steps.
func (s *segmenter) flush() {
	if len(s.pending) > 0 {
		s.landings = append(s.landings, Landing{Steps: s.pending})
		s.pending = nil
	}
}

// end gives the steps behind the last metadata: to the only change of the push
// unless that came as a merge commit, else to no change.
func (s *segmenter) end() {
	if len(s.landings) == 1 && s.landings[0].Governed() && !s.landings[0].Steps[0].Merge {
		s.landings[0].Steps = append(s.landings[0].Steps, s.pending...)
		s.pending = nil
	}
	s.flush()
}

func ambiguous(format string, args ...any) error {
	return gov.Errorf(gov.KindRefused, "change_ambiguous", "which commits belong to which change cannot be told: "+format, args...).
		WithHint("push the changes one after the other, or merge each with: git merge --no-ff BRANCH")
}

// fill computes the paths of a landing.
func (r *Repo) fill(ctx context.Context, l *Landing) error {
	l.Base, l.Head = l.Steps[0].Parent, l.Steps[len(l.Steps)-1].Commit
	if l.Governed() {
		c, _, err := r.between(ctx, l.Base, l.Head, l.Change)
		l.Paths, l.Statements = c.Paths, c.Statements
		return err
	}
	deltas, err := r.diff(ctx, l.Base, l.Head)
	if err != nil {
		return err
	}
	known, err := r.readStatements(ctx, deltas)
	if err != nil {
		return err
	}
	rest := deltas[:0]
	for _, d := range deltas {
		if err := checkComponents(d.path); err != nil {
			return err
		}
		// Removed or replaced statements of others are touched files; added ones are not.
		if known.addsStatement(d) {
			l.Statements = append(l.Statements, d.path)
			continue
		}
		rest = append(rest, d)
	}
	slices.SortFunc(rest, func(a, b delta) int { return cmp.Compare(a.path, b.path) })
	l.Paths, err = pathChanges(rest)
	return err
}
