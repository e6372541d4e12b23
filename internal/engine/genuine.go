package engine

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/sign"
)

// genuine proves a statement file: named by its bytes, signed by a key that the
// law in force knows and that may sign at the time at, about this change. On an
// error, the facts are those that were proved before it.
func (c *content) genuine(f statementFile, at time.Time) (gov.Recorded, error) {
	if f.astray {
		return gov.Recorded{}, gov.Errorf(gov.KindIntegrity, "statement_name_mismatch", "%s is not named by the digest of its content", path.Base(f.path))
	}
	rec, _, err := sign.Verify(f.bytes, c.law.registry, at)
	if err == nil && rec.Change != c.id {
		err = gov.Errorf(gov.KindRefused, "statement_other_change", "it is about %s", rec.Change)
	}
	return rec, err
}

// notGenuine names the statement files that a push adds, that no digest counts,
// and that nobody known signed: an envelope can hold anything, so what nobody
// reviews has to be proved. What the log has taken in was proved then.
func (e *Engine) notGenuine(ctx context.Context, repo Repo, ready []prepared) ([]Problem, error) {
	now, _ := e.keeper.now() // a clock that is not to be trusted is refused where something is recorded
	var out []Problem
	for _, p := range ready {
		added, err := p.added(ctx, repo)
		if err != nil {
			return nil, err
		}
		for _, f := range added {
			if _, known, err := e.view.HasStatement(ctx, f.digest); err != nil {
				return nil, err
			} else if known {
				continue
			}
			if _, err := p.c.about(f).genuine(f, now); err != nil {
				out = append(out, Problem{
					Code:    "statement_not_genuine",
					Message: f.path + " would land unreviewed, and is no genuine statement: " + asError(err).Message,
					Hint:    "git rm " + f.path,
				})
			}
		}
	}
	return out, nil
}

// about is the content as the change sees it in whose folder a file lies.
func (c *content) about(f statementFile) *content {
	id := gov.ChangeID(path.Base(path.Dir(path.Dir(f.path))))
	return &content{law: c.law, id: id}
}

// added lists the statement files that a landing adds and no digest counts. The
// inverse of a change may bring statements in any change's folder; there all of
// them are listed.
func (p prepared) added(ctx context.Context, repo Repo) ([]statementFile, error) {
	dir := path.Join(p.c.law.policy.Changes.Dir, string(p.c.id), "statements")
	before, err := repo.ListFiles(ctx, p.c.revision.Base, dir)
	if err != nil {
		return nil, err
	}
	var out []statementFile
	for _, f := range p.c.statements {
		counts := slices.ContainsFunc(p.c.paths, func(t gov.PathChange) bool { return t.Path == f.path })
		if !counts && !slices.Contains(before, f.path) {
			out = append(out, f)
		}
	}
	if p.revert == nil {
		return out, nil
	}
	for _, t := range p.c.paths {
		inFolder := strings.HasPrefix(t.Path, p.c.law.policy.Changes.Dir+"/") && path.Base(path.Dir(t.Path)) == "statements"
		if !inFolder || strings.Trim(t.OldMode, "0") != "" || t.NewMode != "100644" {
			continue // another mode is never taken for a statement: it makes the inverse inexact
		}
		b, err := repo.ReadFile(ctx, p.c.head, t.Path)
		if err != nil {
			return nil, err
		}
		d := gov.DigestOf(b)
		out = append(out, statementFile{path: t.Path, digest: d, bytes: b, astray: path.Base(t.Path) != d.Hex()+".json"})
	}
	return out, nil
}
