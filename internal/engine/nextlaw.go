package engine

import (
	"context"
	"slices"

	"github.com/governhq/govern/internal/gov"
)

// readNextLaw finds out whether policy and people can be read as the change
// leaves them. A law that cannot be read would decide nothing any more, not
// even its own repair, so a change that leaves one is refused.
func (c *content) readNextLaw(ctx context.Context, repo Repo) error {
	files := c.law.policy.GovernancePaths()
	if !slices.ContainsFunc(c.paths, func(p gov.PathChange) bool { return slices.Contains(files, p.Path) }) {
		return nil
	}
	_, err := readLaw(ctx, repo, c.head)
	switch gov.KindOf(err) {
	case gov.KindInvalid, gov.KindRefused, gov.KindIntegrity:
		c.nextLaw = err
		return nil
	}
	return err
}
