package git

import (
	"context"
	"regexp"
	"slices"

	"github.com/governhq/govern/internal/gov"
)

// InverseOf tells whether base to head takes back exactly what mergedBase to
// mergedHead brought, file by file, as "git revert" does when none of the files
// moved since.
//
// Records are treated as records: metadata and statements of the changes that
// were merged may go or stay (approvals written into metadata since do not
// matter); metadata and statements that base to head adds are left out, because
// a change of its own accounts for them. Everything else has to be the inverse,
// and taking back nothing is no inverse.
func (r *Repo) InverseOf(ctx context.Context, base, head, mergedBase, mergedHead string) (bool, error) {
	base, head, err := r.pair(ctx, base, head)
	if err != nil {
		return false, err
	}
	mergedBase, mergedHead, err = r.pair(ctx, mergedBase, mergedHead)
	if err != nil {
		return false, err
	}
	merged, err := r.diff(ctx, mergedBase, mergedHead)
	if err != nil {
		return false, err
	}
	taken, err := r.diff(ctx, base, head)
	if err != nil {
		return false, err
	}
	for _, deltas := range [][]delta{merged, taken} {
		for _, d := range deltas {
			if err := checkComponents(d.path); err != nil {
				return false, err
			}
		}
	}
	c, err := r.readStatements(ctx, merged, taken)
	if err != nil {
		return false, err
	}
	return inverse(taken, merged, c), nil
}

func inverse(taken, merged []delta, c contents) bool {
	brought := map[gov.ChangeID]bool{} // changes whose metadata the merge added
	for _, d := range merged {
		if id, ok := metadataID(d.path); ok && d.oldMode == absentMode {
			brought[id] = true
		}
	}
	record := func(d delta) bool {
		if id, ok := metadataID(d.path); ok {
			return brought[id] && plainOrAbsent(d)
		}
		id, _, ok := statementID(d.path)
		return ok && brought[id] && c.omits(d)
	}
	want, may := map[string]delta{}, map[string]delta{}
	for _, d := range merged {
		back := delta{oldMode: d.newMode, newMode: d.oldMode, oldID: d.newID, newID: d.oldID, path: d.path}
		if record(d) || c.addsRecord(d) {
			may[d.path] = back
			continue
		}
		want[d.path] = back
	}
	if len(want) == 0 {
		return false
	}
	for _, d := range taken {
		if record(d) && d.newMode == absentMode || c.addsRecord(d) || may[d.path] == d {
			continue
		}
		if want[d.path] != d {
			return false
		}
		delete(want, d.path)
	}
	return len(want) == 0
}

// addsRecord tells whether d adds a metadata or statement file.
func (c contents) addsRecord(d delta) bool {
	_, metadata := metadataID(d.path)
	return metadata && d.oldMode == absentMode && d.newMode == regularMode || c.addsStatement(d)
}

func plainOrAbsent(d delta) bool {
	plain := func(mode string) bool { return mode == absentMode || mode == regularMode }
	return plain(d.oldMode) && plain(d.newMode)
}

var revertLine = regexp.MustCompile(`(?m)^This reverts commit ([0-9a-f]{64}|[0-9a-f]{40})\b`)

// RevertedCommits gives the commit ids that a message made by "git revert"
// names, in order, each once. It is a claim; InverseOf is the proof.
func RevertedCommits(message string) []string {
	var ids []string
	for _, m := range revertLine.FindAllStringSubmatch(message, -1) {
		if !slices.Contains(ids, m[1]) {
			ids = append(ids, m[1])
		}
	}
	return ids
}

// FindReverted gives the commits that the messages between base and head claim
// to revert, newest commit first, each once.
func (r *Repo) FindReverted(ctx context.Context, base, head string) ([]string, error) {
	var ids []string
	err := r.commits(ctx, base, head, func(c commitObject) {
		for _, id := range RevertedCommits(c.message) {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	})
	return ids, err
}
