package git

import (
	"context"
	"strings"
)

// Ref is a ref and the commit it points at.
type Ref struct {
	Name   string // full name
	Commit string
}

// Refs lists the refs below the given prefixes ("refs/heads", …) that point at
// commits, sorted by name. Symbolic refs (origin/HEAD) are left out.
func (r *Repo) Refs(ctx context.Context, prefixes ...string) ([]Ref, error) {
	args := append([]string{"for-each-ref", "--format=%(objectname) %(objecttype) %(symref) %(refname)"}, prefixes...)
	out, err := r.git(ctx, args...)
	if err != nil {
		return nil, err
	}
	var refs []Ref
	for line := range strings.Lines(string(out)) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		kind, rest, _ := strings.Cut(rest, " ")
		symref, name, _ := strings.Cut(rest, " ")
		if kind == "commit" && symref == "" && name != "" {
			refs = append(refs, Ref{Name: name, Commit: id})
		}
	}
	return refs, nil
}
