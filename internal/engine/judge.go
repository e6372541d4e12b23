package engine

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/approval"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/evidence"
	"github.com/governhq/govern/internal/rule/policy"
)

// judgement is one pass through all rules about one change. This is the one
// place where rules meet: each gets flat facts of its own.
type judgement struct {
	plan      policy.Answer
	approvals approval.Answer
	checks    evidence.Answer
	verdict   gov.Verdict

	planFacts     policy.Facts
	approvalFacts approval.Facts
	evidenceFacts evidence.Facts
	changeFacts   change.Facts
}

// judge asks every rule about a change. proposer is its signer as far as known.
// unread are statement files that could not be verified: they are shown.
func (e *Engine) judge(ctx context.Context, t *tx, c *content, st change.State, unread []gov.NotCounted, revert *change.RevertFact) (*judgement, error) {
	j := &judgement{}
	j.planFacts = c.planFacts()
	j.plan = policy.Plan(j.planFacts)
	rollouts, err := e.rollouts(ctx, t, c, j.plan)
	if err != nil {
		return nil, err
	}
	overdue, err := e.overdueReviews(ctx, t)
	if err != nil {
		return nil, err
	}
	authors := c.authorsOf(st, st.Proposer)
	people := withoutAddresses(c.law.registry.People)
	j.approvalFacts = approval.Facts{
		Now: t.now, Change: c.id, Risk: j.plan.Risk, Revision: c.revision.Change, Authors: authors, People: people,
		Statements: st.Statements, Wants: approvalWants(j.plan, rollouts, revert), Solo: j.plan.Solo, AgentHand: c.agentHand(authors),
		OverrideRoles: overrideRoles, OverridePeople: overridePeople(j.plan.Risk),
		OverrideDue: time.Duration(j.plan.Reviews.OverrideDue), OverdueReviews: overdue,
	}
	j.approvals = approval.Judge(j.approvalFacts)
	j.evidenceFacts = evidence.Facts{
		Now: t.now, Change: c.id, Tree: c.revision.Tree, Revision: c.revision.Change, Authors: authors, People: people,
		Checks: c.evidenceWants(j.plan), Statements: st.Statements,
	}
	j.checks = evidence.Judge(j.evidenceFacts)
	j.changeFacts = c.changeFacts(t.now, j, rollouts, unread, revert, overdue)
	if c.landing && revert == nil {
		if p, closed := closedProblem(c, st); closed {
			j.changeFacts.Problems = append(j.changeFacts.Problems, p)
		}
	}
	if c.nextLaw != nil {
		ge := asError(c.nextLaw)
		j.changeFacts.Problems = append(j.changeFacts.Problems, change.Problem{Code: ge.Code, Text: "it leaves a law that cannot be used: " + ge.Message, Hint: ge.Hint})
	}
	j.verdict = change.Judge(j.changeFacts)
	return j, nil
}

// keep records the judgement's decisions in the transaction.
func (j *judgement) keep(t *tx) error {
	p := j.plan.Policy
	if err := t.record(policy.Rule, policy.Version, p, j.planFacts, j.plan); err != nil {
		return err
	}
	if err := t.record(approval.Rule, approval.Version, p, j.approvalFacts, j.approvals); err != nil {
		return err
	}
	if err := t.record(evidence.Rule, evidence.Version, p, j.evidenceFacts, j.checks); err != nil {
		return err
	}
	return t.record(change.Rule, change.Version, p, j.changeFacts, j.verdict)
}

// overridePeople: break-glass on what high and critical changes demand takes
// two people.
func overridePeople(r gov.Risk) int {
	if r.Rank() >= gov.RiskHigh.Rank() {
		return 2
	}
	return 1
}

// planFacts are what policy.Plan sees. E-mail addresses become handles here, so
// that no address enters the log.
func (c *content) planFacts() policy.Facts {
	f := policy.Facts{
		Policy: c.law.policy, Change: c.id, Paths: c.touchedPaths(), Branch: c.branch, DefaultBranch: c.branch,
		People: c.members(), Codeowners: c.ownerRules(c.law.codeowners),
	}
	f.Policy.Owners.Rules = c.ownerRules(c.law.policy.Owners.Rules)
	f.Touches = c.touches()
	if c.metadataErr != nil {
		f.Declared = gov.RiskCritical
		return f
	}
	m := c.metadata
	f.Declared, f.Type, f.Author, f.Owner, f.Targets = m.RiskLevel, m.Type, c.handle(m.Author), c.handle(m.Owner), m.Targets
	if m.Agent != nil {
		f.Agent = &policy.Agent{Name: m.Agent.Name, Session: m.Agent.Session, Sponsor: c.handle(m.Agent.Sponsor)}
	} else if hands := c.agentHands(c.authors("")); len(hands) > 0 {
		f.Agent = &policy.Agent{Name: hands[0]}
	}
	return f
}

func (c *content) touches() policy.Touches {
	t := policy.Touches{Contract: len(c.contracts) > 0, ContractBreaking: len(c.contracts) > 0}
	for _, p := range c.paths {
		t.Policy = t.Policy || p.Path == policy.Path
		t.Registry = t.Registry || p.Path == c.law.policy.People
		t.Model = t.Model || c.isModelPath(p.Path)
	}
	t.Model = t.Model || (c.metadataErr == nil && c.metadata.Model != "")
	return t
}

// isModelPath: the configuration of an adaptive module, and everything in
// models/.
func (c *content) isModelPath(p string) bool {
	if strings.HasPrefix(p, "models/") {
		return true
	}
	return slices.ContainsFunc(c.law.manifest.Modules, func(m gov.Module) bool { return m.Type == "adaptive" && m.Config == p })
}

func (c *content) members() []policy.Member {
	ms := make([]policy.Member, len(c.law.registry.People))
	for i, p := range c.law.registry.People {
		ms[i] = policy.Member{Handle: p.Handle, Kind: p.Kind, Roles: p.Roles}
	}
	return ms
}

func (c *content) ownerRules(rules []policy.OwnerRule) []policy.OwnerRule {
	out := slices.Clone(rules)
	for i := range out {
		out[i].Owners = slices.Clone(out[i].Owners)
		for k, o := range out[i].Owners {
			if strings.Contains(o, "@") && !strings.HasPrefix(o, "@") {
				out[i].Owners[k] = c.handle(o)
			}
		}
	}
	return out
}

func (c *content) agentHands(authors []string) []string {
	var out []string
	for _, h := range authors {
		if p, ok := c.law.registry.Person(h); ok && p.Kind == gov.Agent {
			out = append(out, h)
		}
	}
	return out
}

func (c *content) agentHand(authors []string) bool {
	return len(c.agents) > 0 || (c.metadataErr == nil && c.metadata.Agent != nil) || len(c.agentHands(authors)) > 0
}

func withoutAddresses(people []gov.Person) []gov.Person {
	out := slices.Clone(people)
	for i := range out {
		out[i].Emails = nil
	}
	return out
}

// approvalWants turns the roles of all stages into wants. The owner's role is
// one want for each group of paths with the same owners; at the final stage
// each target's outcome is approved on its own.
func approvalWants(plan policy.Answer, rollouts map[string]rolloutFacts, revert *change.RevertFact) []approval.Want {
	if revert != nil {
		return ownerWants(plan, approval.Want{Stage: approval.StageRevert, Role: approval.RoleOwner}, "")
	}
	var out []approval.Want
	for _, s := range plan.Stages {
		if s.NotApplicable != "" || (s.Stage != policy.StageReview && s.Stage != policy.StageFinal) {
			continue
		}
		targets := []string{""}
		if s.Stage == policy.StageFinal {
			targets = s.Targets
		}
		for _, r := range s.Roles {
			for _, target := range targets {
				w := approval.Want{Stage: string(s.Stage), Role: r.Role, Presence: r.Presence, Assessment: r.Assessment}
				suffix := ""
				if s.Stage == policy.StageFinal {
					w.Final, w.Outcome = true, rollouts[target].outcome
					if len(targets) > 1 {
						suffix = "@" + target
					}
				}
				if r.Role == approval.RoleOwner {
					out = append(out, ownerWants(plan, w, suffix)...)
					continue
				}
				w.ID = w.Stage + "/" + w.Role + suffix
				out = append(out, w)
			}
		}
	}
	return out
}

func ownerWants(plan policy.Answer, w approval.Want, suffix string) []approval.Want {
	var out []approval.Want
	for i, g := range plan.Owners {
		w.ID = w.Stage + "/" + w.Role
		if len(plan.Owners) > 1 {
			w.ID += fmt.Sprintf("%d", i+1)
		}
		w.ID += suffix
		w.Eligible, w.Paths = g.Owners, g.Paths
		out = append(out, w)
	}
	return out
}

func (c *content) evidenceWants(plan policy.Answer) []evidence.Want {
	var out []evidence.Want
	for _, s := range plan.Stages {
		if s.NotApplicable != "" {
			continue
		}
		for _, ch := range s.Checks {
			w := evidence.Want{
				ID: string(s.Stage) + "/" + ch.Check, Kind: ch.Check, NotApplicable: ch.NotApplicable,
				Roles: ch.By, Finding: ch.Finding, ContractsTouched: c.contracts,
			}
			if ch.Minimum != nil {
				w.Minimum = *ch.Minimum
			}
			if c.metadataErr == nil && ch.Check == evidence.KindTests {
				w.TestsRun = c.metadata.TestsRun
			}
			out = append(out, w)
		}
	}
	return out
}

func (c *content) changeFacts(now time.Time, j *judgement, rollouts map[string]rolloutFacts, unread []gov.NotCounted, revert *change.RevertFact, overdue []string) change.Facts {
	f := change.Facts{
		Now: now, Change: c.id, Revision: c.revision, Risk: j.plan.Risk, Policy: j.plan.Policy, Mode: string(c.law.policy.Mode),
		Unproposed: c.unproposed, Revert: revert, OverdueReviews: overdue,
		NotCounted: slices.Concat(j.approvals.NotCounted, j.checks.NotCounted, unread, c.claims()),
		Notes:      slices.Concat(j.plan.Notes, j.approvals.Notes),
	}
	for _, w := range j.plan.RiskWhy {
		f.RiskWhy = append(f.RiskWhy, w.Because)
	}
	if c.metadataErr != nil {
		f.MetadataErrors = append(f.MetadataErrors, asError(c.metadataErr).Message)
	}
	for _, p := range j.plan.Problems {
		f.Problems = append(f.Problems, change.Problem{Code: p.Code, Text: p.Text, Hint: p.Hint})
	}
	for _, o := range j.approvals.Overrides {
		f.Overrides = append(f.Overrides, change.Override{Requirement: o.Requirement, Statements: o.Statements, By: o.By, Due: o.Due})
	}
	for _, r := range sorted(rollouts) {
		f.Locks = append(f.Locks, r.locks...)
	}
	if revert != nil {
		f.Stages = []change.StageFact{{Name: change.StageRevert, Requirements: j.approvals.Requirements}}
		return f
	}
	given := map[string]gov.Requirement{}
	for _, r := range slices.Concat(j.approvals.Requirements, j.checks.Requirements) {
		given[r.ID] = r
	}
	for _, s := range j.plan.Stages {
		f.Stages = append(f.Stages, stageFact(s, given, rollouts))
	}
	return f
}

// stageFact gathers the requirements whose id begins with the stage's name, and
// for stages that move traffic what the targets' rollouts say.
func stageFact(s policy.StageWant, given map[string]gov.Requirement, rollouts map[string]rolloutFacts) change.StageFact {
	f := change.StageFact{Name: string(s.Stage), NotApplicable: s.NotApplicable}
	if s.NotApplicable != "" {
		return f
	}
	for _, id := range slices.Sorted(mapKeys(given)) {
		if path.Dir(id) == f.Name {
			f.Requirements = append(f.Requirements, given[id])
		}
	}
	switch s.Stage {
	case policy.StageStaging:
		// A rollout of a production target begins on staging: it is what knows
		// whether the candidate ran there.
		for _, r := range sorted(rollouts) {
			if r.production {
				q := r.requirement(s.Stage, r.target)
				q.Text = "the candidate for " + r.target + " runs on " + strings.Join(s.Targets, ", ")
				f.Requirements = append(f.Requirements, q)
			}
		}
	case policy.StageCanary, policy.StageMonitor, policy.StageRollout:
		for _, target := range s.Targets {
			f.Requirements = append(f.Requirements, rollouts[target].requirement(s.Stage, target))
		}
	}
	return f
}

// claims are the metadata's unsigned approvals: shown, never counted.
func (c *content) claims() []gov.NotCounted {
	if c.metadataErr != nil {
		return nil
	}
	var out []gov.NotCounted
	for _, a := range c.metadata.Approvals {
		out = append(out, gov.NotCounted{
			Signer: c.handle(a.Approver), Decision: gov.DecideApprove, Code: "unsigned_claim",
			Why: "an entry of approvals in change_metadata.json is not signed",
		})
	}
	return out
}
