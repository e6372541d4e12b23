package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Words that presence takes besides the four risks.
const (
	presenceModels = "models"
	presenceAgents = "agents"
)

var presenceWords = []string{
	string(gov.RiskLow), string(gov.RiskMedium), string(gov.RiskHigh), string(gov.RiskCritical),
	presenceModels, presenceAgents,
}

// normalise gives everything that can be written in several ways one form:
// empty lists are nil, branches have no refs/heads/, handles no "@", presence
// its fixed order.
func (p *Policy) normalise() {
	for i, b := range p.Branches {
		p.Branches[i] = strings.TrimPrefix(b, "refs/heads/")
	}
	for i := range p.Owners.Rules {
		r := &p.Owners.Rules[i]
		for j, o := range r.Owners {
			r.Owners[j] = strings.TrimPrefix(o, "@")
		}
		r.Owners = none(r.Owners)
	}
	slices.SortStableFunc(p.Presence, func(a, b string) int {
		return cmp.Compare(slices.Index(presenceWords, a), slices.Index(presenceWords, b))
	})
	p.Branches, p.Presence = none(p.Branches), none(p.Presence)
	p.Owners.Rules, p.Agents.Roles = none(p.Owners.Rules), none(p.Agents.Roles)
	p.Raise, p.Require, p.NotApplicable = none(p.Raise), none(p.Require), none(p.NotApplicable)
	for i := range p.Require {
		p.Require[i].Roles, p.Require[i].Checks = none(p.Require[i].Roles), none(p.Require[i].Checks)
	}
	for _, row := range []*[]Stage{&p.Workflows.Low, &p.Workflows.Medium, &p.Workflows.High, &p.Workflows.Critical} {
		for i := range *row {
			s := &(*row)[i]
			s.Roles, s.Checks, s.Steps = none(s.Roles), none(s.Checks), none(s.Steps)
		}
	}
	for kind, r := range p.Evidence {
		r.By, r.Finding = none(r.By), none(r.Finding)
		p.Evidence[kind] = r
	}
	if len(p.Targets) == 0 {
		p.Targets = nil
	}
	for name, t := range p.Targets {
		t.Paths, t.Deploy, t.Undeploy = none(t.Paths), none(t.Deploy), none(t.Undeploy)
		t.Health.Argv, t.Identify.Argv = none(t.Health.Argv), none(t.Identify.Argv)
		if len(t.Signals) == 0 {
			t.Signals = nil
		}
		if t.Environment == Production && t.Baseline == "" {
			t.Baseline = BaselineStable
		}
		p.Targets[name] = t
	}
}

// none turns an empty list into nil.
func none[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// Digest names a policy by its normal form: SHA-256 of its JSON with
// sorted keys. Comments, order and spelling of the file do
// not count; the digest of the file is the business of whoever read it.
func (p Policy) Digest() gov.Digest { return gov.DigestOf(canonical(p)) }
