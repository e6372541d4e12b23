package git

import (
	"context"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// NextChangeID gives CHANGE-(n+1), where n is the largest number of a folder
// changes/CHANGE-n on any local or remote-tracking branch, and at least floor.
// Two people who ask at the same time get the same id; the later to propose
// renumbers. Errors: change_ids_exhausted.
func (r *Repo) NextChangeID(ctx context.Context, floor int) (gov.ChangeID, error) {
	trees, err := r.changesTrees(ctx)
	if err != nil {
		return "", err
	}
	highest := max(floor, 0)
	size := len(r.zeroID()) / 2
	err = r.objects(ctx, trees, FileLimit, func(_ int, kind string, data []byte, large bool) error {
		if kind != "tree" {
			return nil
		}
		if large {
			return gov.Errorf(gov.KindInvalid, "file_too_large", "the folder %q is larger than 16 MiB", ChangesDir)
		}
		entries, err := parseTreeObject(data, size)
		for _, e := range entries {
			highest = max(highest, gov.ChangeID(e.path).Number())
		}
		return err
	})
	if err != nil {
		return "", err
	}
	next := gov.NewChangeID(highest + 1)
	if next.Number() == 0 {
		return "", gov.Errorf(gov.KindConflict, "change_ids_exhausted", "there is no change id above CHANGE-%d", highest)
	}
	return next, nil
}

// changesTrees gives the ids of the folder "changes" at the tip of every
// branch, each once.
func (r *Repo) changesTrees(ctx context.Context) ([]string, error) {
	out, err := r.git(ctx, "for-each-ref", "--format=%(objectname)", "refs/heads/", "refs/remotes/")
	if err != nil {
		return nil, err
	}
	tips := strings.Fields(string(out))
	if head, err := r.Resolve(ctx, "HEAD"); err == nil {
		tips = append(tips, head)
	}
	slices.Sort(tips)
	tips = slices.Compact(tips)
	if len(tips) == 0 {
		return nil, nil
	}
	out, err = r.run(ctx, call{
		args:  []string{"cat-file", "--batch-check=%(objectname)", "--buffer"},
		stdin: strings.NewReader(strings.Join(tips, ":"+ChangesDir+"\n") + ":" + ChangesDir + "\n"),
	})
	if err != nil {
		return nil, err
	}
	var trees []string
	for line := range strings.SplitSeq(string(out), "\n") {
		if isObjectID(line) { // "… missing" where a branch has no such folder
			trees = append(trees, line)
		}
	}
	slices.Sort(trees)
	return slices.Compact(trees), nil
}
