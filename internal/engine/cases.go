package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/approval"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/evidence"
	"github.com/governhq/govern/internal/rule/policy"
)

// caseTime is when every case of a policy test happens: the answer must not
// depend on the day.
var caseTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// JudgeCase judges one case of a policy test under a law as a real change is
// judged, but for rollouts, which have not begun. Who signs, and with which key,
// is made up: a person of the case whom the registry does not know has the role
// that the case lets him wear.
func JudgeCase(l Law, c policy.Case) (gov.Verdict, []policy.Mismatch) {
	s := staged(l, c)
	plan := policy.Plan(c.Facts(l.Policy, l.Owners, policy.Members(s.c.law.registry)))
	rollouts := map[string]rolloutFacts{}
	for _, t := range plan.Targets {
		rollouts[t.Name] = rolloutFacts{target: t.Name, change: s.c.id}
	}
	j := &judgement{plan: plan}
	authors := s.authors(c)
	wants := approvalWants(plan, rollouts, nil)
	statements := s.statements(c, plan)
	people := withoutAddresses(s.c.law.registry.People) // with those made up for the case
	j.approvals = approval.Judge(approval.Facts{
		Now: caseTime, Change: s.c.id, Risk: plan.Risk, Revision: s.c.revision.Change, Authors: authors, People: people,
		Statements: statements, Wants: wants, Solo: plan.Solo, AgentHand: c.Change.Agent != nil || s.c.agentHand(authors),
		OverrideRoles: overrideRoles, OverridePeople: overridePeople(plan.Risk), OverrideDue: time.Duration(plan.Reviews.OverrideDue),
	})
	j.checks = evidence.Judge(evidence.Facts{
		Now: caseTime, Change: s.c.id, Tree: s.c.revision.Tree, Revision: s.c.revision.Change, Authors: authors, People: people,
		Checks: s.c.evidenceWants(plan), Statements: statements,
	})
	v := change.Judge(s.c.changeFacts(caseTime, j, rollouts, nil, nil, nil))
	return v, append(c.Judge(plan), outcome(c, v)...)
}

// outcome compares the part of a case that needs a verdict.
func outcome(c policy.Case, v gov.Verdict) []policy.Mismatch {
	var out []policy.Mismatch
	if c.Want.Answer != "" && c.Want.Answer != v.Answer {
		out = append(out, policy.Mismatch{Case: c.Name, What: "answer", Want: string(c.Want.Answer), Got: string(v.Answer)})
	}
	var open []string
	for r := range v.Leaves {
		if !r.State.Done() {
			open = append(open, r.ID)
		}
	}
	for _, id := range c.Want.Missing {
		if !slices.Contains(open, id) {
			out = append(out, policy.Mismatch{Case: c.Name, What: "missing", Want: id, Got: strings.Join(open, ", ")})
		}
	}
	return out
}

// scene is a case as content: what git would have said.
type scene struct {
	c *content
	n int // statements made up so far
}

func staged(l Law, c policy.Case) *scene {
	id := c.Change.ID
	if id == "" {
		id = "CHANGE-1"
	}
	s := &scene{c: &content{
		law:    law{policy: l.Policy, digest: l.Digest, registry: l.Registry, codeowners: l.Owners, manifest: l.Manifest},
		branch: l.Branch, id: id,
		revision: gov.Revision{Change: gov.DigestOf([]byte("change " + c.Name)), Tree: gov.DigestOf([]byte("tree " + c.Name))},
		metadata: change.Metadata{ChangeID: id, RiskLevel: c.Change.Risk, TestsRun: []string{"case/test"}},
	}}
	if c.Change.Touches.Contract || c.Change.Touches.ContractBreaking {
		s.c.contracts = c.Change.Paths
	}
	people := slices.Clone(l.Registry.People)
	for i := range people {
		people[i].Keys = append(slices.Clone(people[i].Keys), caseKey(people[i].Handle))
	}
	for _, a := range c.Approvals {
		if !slices.ContainsFunc(people, func(p gov.Person) bool { return p.Handle == a.By }) {
			people = append(people, gov.Person{Handle: a.By, Kind: gov.Human, Roles: []string{a.Role}, Keys: []gov.Key{caseKey(a.By)}})
		}
	}
	s.c.law.registry.People = people
	return s
}

// caseKey is the made-up key that a principal signs with in cases.
func caseKey(handle string) gov.Key {
	return gov.Key{Fingerprint: "SHA256:case-" + handle, Type: "ssh-ed25519"}
}

func (s *scene) authors(c policy.Case) []string {
	var out []string
	for _, h := range []string{c.Change.Author} {
		if h != "" {
			out = append(out, h)
		}
	}
	if a := c.Change.Agent; a != nil {
		out = append(out, a.Name)
		if a.Sponsor != "" {
			out = append(out, a.Sponsor)
		}
	}
	return out
}

// statements makes up what the case says was given: approvals, and for each
// kind of evidence a report that passes, with its finding where one is asked
// for.
func (s *scene) statements(c policy.Case, plan policy.Answer) []gov.Recorded {
	var out []gov.Recorded
	for _, a := range c.Approvals {
		p, _ := s.c.law.registry.Person(a.By)
		r := s.recorded(p, a.Decision, string(a.Stage), a.Role)
		if r.Decision == "" {
			r.Decision = gov.DecideApprove
		}
		if r.Stage == "" {
			r.Stage = string(policy.StageReview)
		}
		r.Presence, r.Assessed, r.Risk = a.Presence, true, plan.Risk
		out = append(out, r)
	}
	full := 1.0
	for _, st := range plan.Stages {
		for _, ch := range st.Checks {
			if !slices.Contains(c.Evidence, ch.Check) {
				continue
			}
			r := s.recorded(s.wearer(ch.By, gov.Service, ch.Check), gov.DecideEvidence, string(st.Stage), "")
			r.Evidence = &gov.Evidence{
				Kind: ch.Check, Tool: "case", Report: gov.DigestOf([]byte(ch.Check)), Passed: 1, Coverage: &full,
				Results: []gov.Result{{ID: "case/test", Status: "passed"}},
			}
			out = append(out, r)
			if len(ch.Finding) > 0 {
				f := s.recorded(s.wearer(ch.Finding, gov.Human, "finding-"+ch.Check), gov.DecideAttest, ch.Check, ch.Finding[0])
				f.Presence = true
				out = append(out, f)
			}
		}
	}
	return out
}

// wearer makes up somebody who has the first of the roles.
func (s *scene) wearer(roles []string, kind gov.PrincipalKind, name string) gov.Person {
	p := gov.Person{Handle: "case-" + name, Kind: kind, Keys: []gov.Key{caseKey("case-" + name)}}
	if len(roles) > 0 {
		p.Roles = roles[:1]
	}
	if _, known := s.c.law.registry.Person(p.Handle); !known {
		s.c.law.registry.People = append(s.c.law.registry.People, p)
	}
	return p
}

func (s *scene) recorded(p gov.Person, d gov.Decision, stage, role string) gov.Recorded {
	s.n++
	r := gov.Recorded{
		Digest: gov.DigestOf(fmt.Appendf(nil, "statement %d", s.n)), Decision: d, Stage: stage, Change: s.c.id, Role: role,
		Revision: s.c.revision, Explained: true, Signer: p.Handle, SignerKind: p.Kind, Time: caseTime, Index: uint64(s.n),
	}
	if len(p.Keys) > 0 {
		r.Key = p.Keys[len(p.Keys)-1].Fingerprint
	}
	return r
}
