package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

// metadata describes the change: what the author says now, else what stood in
// the file, else what git, the owners and the policy say.
func (s *submission) metadata(ctx context.Context, paths []string) (change.Metadata, error) {
	m := change.Metadata{RiskLevel: gov.RiskLow}
	if s.old != nil {
		m = *s.old
	}
	m.ChangeID, m.Timestamp, m.Rationale = s.id, now(), strings.TrimSpace(s.f.why)
	var err error
	if m.Author == "" {
		if m.Author, err = s.author(ctx); err != nil {
			return m, err
		}
	}
	if m.Owner, err = s.owner(m, paths); err != nil {
		return m, err
	}
	if s.f.risk != "" {
		if m.RiskLevel, err = gov.ParseRisk(s.f.risk); err != nil {
			return m, err
		}
	}
	m.Impact = cmp.Or(s.f.impact, m.Impact, impact(paths))
	m.RollbackPlan = cmp.Or(s.f.rollback, m.RollbackPlan, fmt.Sprintf("git revert of the merge (govern change revert %s); then check the health of what runs", s.id))
	m.Type, m.Model = cmp.Or(s.f.typ, m.Type), cmp.Or(s.f.model, m.Model)
	m.TestsRun, m.Artifacts = said(s.f.tests, m.TestsRun), said(s.f.artifacts, m.Artifacts)
	m.Targets, m.Contracts = said(s.f.targets, m.Targets), said(s.f.contracts, m.Contracts)
	m.Agent, err = s.agent(m.Agent)
	return m, err
}

func said(now, before []string) []string {
	if len(now) > 0 {
		return now
	}
	return before
}

// author is the person of the registry whom git commits for.
func (s *submission) author(ctx context.Context) (string, error) {
	_, email, err := s.w.Identity(ctx)
	if err != nil {
		return "", err
	}
	if p, ok := s.law.Registry.ByEmail(email); ok {
		return p.Handle, nil
	}
	if s.me.Handle != "" {
		return s.me.Handle, nil
	}
	return "", gov.Errorf(gov.KindDenied, "author_unknown", "nobody in the registry has the address that git commits with").
		WithHint("git config user.email ADDRESS, or govern people add HANDLE --key-file FILE.pub --email ADDRESS")
}

// owner is who was named, else somebody who owns touched paths, another person
// than the author where there is one.
func (s *submission) owner(m change.Metadata, paths []string) (string, error) {
	if s.f.owner != "" {
		return s.f.owner, nil
	}
	if m.Owner != "" {
		return m.Owner, nil
	}
	g, err := s.ownerGroups(paths)
	if err != nil {
		return "", err
	}
	var first string
	for _, group := range g.Groups {
		for _, o := range group.Owners {
			if o != m.Author {
				return o, nil
			}
			first = o
		}
	}
	if first != "" {
		return first, nil
	}
	return "", gov.Errorf(gov.KindInvalid, "path_unowned", "nobody in the registry owns %s", strings.Join(head(paths, 3), ", ")).
		WithHint("give it an owner on %s first", s.law.Branch)
}

func (s *submission) agent(before *change.Agent) (*change.Agent, error) {
	name := s.f.agent
	if name == "" && s.me.Kind == gov.Agent && before == nil {
		name = s.me.Handle
	}
	if name == "" {
		return before, nil
	}
	out := change.Agent{Name: name, Session: s.f.session, Sponsor: s.f.sponsor}
	if p, ok := s.law.Registry.Person(name); ok && out.Sponsor == "" {
		out.Sponsor = p.Sponsor
	}
	if out.Sponsor == "" {
		return nil, gov.Errorf(gov.KindInvalid, "sponsor_missing", "nobody answers for the agent %s", printable(name)).WithHint("add --sponsor HANDLE")
	}
	return &out, nil
}

// impact names the touched paths.
func impact(paths []string) string {
	if len(paths) == 0 {
		return "records only"
	}
	folders := map[string]int{}
	for _, p := range paths {
		dir, _, ok := strings.Cut(p, "/")
		if !ok {
			dir = "top level"
		}
		folders[dir]++
	}
	text := fmt.Sprintf("%s: %s", count(len(paths), "file"), strings.Join(head(paths, 3), ", "))
	if n := len(paths) - 3; n > 0 {
		text += fmt.Sprintf(" and %d more, in %s", n, strings.Join(head(sortedKeys(folders), 5), ", "))
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func head(s []string, n int) []string { return s[:min(n, len(s))] }

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
