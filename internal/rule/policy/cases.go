package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Case is one entry of a policy test file: a change, what has been given for
// it, and what must come out. Package policy judges the part of Want that the
// plan decides (Risk, Requires, NotApplicable, Problems); Answer and Missing
// need approvals and are judged by the engine.
//
//   - name: a change to the bass contract needs the security lead
//     change: {risk: low, paths: [contracts/bass.json], touches: {contract_breaking: true}}
//     approvals: [{by: olga, role: owner}]
//     evidence: [tests, coverage, contracts, security_scan]
//     want: {risk: high, answer: pending, missing: [review/security_lead]}
type Case struct {
	Name      string         `json:"name"`
	Change    CaseChange     `json:"change"`
	Approvals []CaseApproval `json:"approvals,omitempty"`
	Evidence  []string       `json:"evidence,omitempty"` // kinds of evidence that pass
	Want      Want           `json:"want"`
}

// CaseChange is a change as a test writes it.
type CaseChange struct {
	ID      gov.ChangeID `json:"id,omitempty"`
	Risk    gov.Risk     `json:"risk"`
	Type    string       `json:"type,omitempty"`
	Author  string       `json:"author,omitempty"`
	Owner   string       `json:"owner,omitempty"`
	Agent   *Agent       `json:"agent,omitempty"`
	Paths   []string     `json:"paths"`
	Touches Touches      `json:"touches,omitzero"`
	Targets []string     `json:"targets,omitempty"`
	Branch  string       `json:"branch,omitempty"`
}

// CaseApproval is one statement: who, in which role, at which stage (review
// unless named), what (approve unless named), with which key.
type CaseApproval struct {
	By       string       `json:"by"`
	Role     string       `json:"role"`
	Stage    StageKind    `json:"stage,omitempty"`
	Decision gov.Decision `json:"decision,omitempty"`
	Presence bool         `json:"presence,omitempty"`
}

// Want is what must come out; what is left out is not looked at. Requires and
// NotApplicable name requirement ids that must be demanded, and must not;
// Problems the codes of all problems.
type Want struct {
	Answer        gov.Answer `json:"answer,omitempty"`
	Risk          gov.Risk   `json:"risk,omitempty"`
	Missing       []string   `json:"missing,omitempty"`
	Requires      []string   `json:"requires,omitempty"`
	NotApplicable []string   `json:"not_applicable,omitempty"`
	Problems      []string   `json:"problems,omitempty"`
}

// caseFile is the file: one key, so that it can grow.
type caseFile struct {
	Cases []Case `json:"cases"`
}

// ParseCases reads a policy test file, as strictly as Parse reads a policy. name
// is the file's name, for errors.
func ParseCases(name string, data []byte) ([]Case, error) {
	d := &decoder{file: name, at: map[string]pos{}}
	var f caseFile
	if err := d.read(data, &f); err != nil {
		return nil, err
	}
	if len(f.Cases) == 0 {
		return nil, d.fail(pos{1, 1}, "policy_empty", "the file has no cases, so it tests nothing")
	}
	for i, c := range f.Cases {
		if bad := c.check(fmt.Sprintf("cases[%d]", i), f.Cases[:i]); bad != nil {
			return nil, d.fault(bad)
		}
	}
	return f.Cases, nil
}

func (c Case) check(at string, before []Case) *fault {
	switch {
	case strings.TrimSpace(c.Name) == "":
		return faultf(at, "policy_value", "%s: name is missing", at)
	case slices.ContainsFunc(before, func(o Case) bool { return o.Name == c.Name }):
		return faultf(at+".name", "policy_value", "%s: another case is called %q", at, short(c.Name))
	case len(c.Change.Paths) == 0:
		return faultf(at, "policy_value", "%s: change.paths is missing", at)
	case c.Want.empty():
		return faultf(at, "policy_value", "%s: want is missing, so the case tests nothing", at)
	}
	risks := presenceWords[:4]
	if f := oneOf(at+".change.risk", string(c.Change.Risk), risks); f != nil {
		return f
	}
	if c.Want.Risk != "" {
		if f := oneOf(at+".want.risk", string(c.Want.Risk), risks); f != nil {
			return f
		}
	}
	if c.Want.Answer != "" {
		if f := oneOf(at+".want.answer", string(c.Want.Answer), []string{string(gov.Allowed), string(gov.Pending), string(gov.Refused)}); f != nil {
			return f
		}
	}
	for i, a := range c.Approvals {
		p := fmt.Sprintf("%s.approvals[%d]", at, i)
		if a.By == "" || a.Role == "" {
			return faultf(p, "policy_value", "%s: by and role are needed", p)
		}
		if a.Decision != "" && !slices.Contains(gov.Decisions, a.Decision) {
			return faultf(p+".decision", "policy_value", "%s: %q is not a decision", p, short(string(a.Decision)))
		}
		if a.Stage != "" && !slices.Contains(StageKinds, a.Stage) {
			return faultf(p+".stage", "policy_value", "%s: %q is not a stage", p, short(string(a.Stage)))
		}
	}
	return nil
}

func (w Want) empty() bool {
	return w.Answer == "" && w.Risk == "" && len(w.Missing)+len(w.Requires)+len(w.NotApplicable)+len(w.Problems) == 0
}

// Facts puts the change of a case under a policy. rules and people are those of
// the repository.
func (c Case) Facts(p Policy, rules []OwnerRule, people []Member) Facts {
	return Facts{
		Policy: p, Change: c.Change.ID, Declared: c.Change.Risk, Type: c.Change.Type,
		Author: c.Change.Author, Owner: c.Change.Owner, Agent: c.Change.Agent,
		Paths: c.Change.Paths, Touches: c.Change.Touches, Targets: c.Change.Targets, Branch: c.Change.Branch,
		Codeowners: rules, People: people,
	}
}

// Mismatch is one way in which an answer is not what a case wants.
type Mismatch struct {
	Case string `json:"case"`
	What string `json:"what"` // risk, requires, not_applicable, problems
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Judge compares the plan's part of what a case wants.
func (c Case) Judge(a Answer) []Mismatch {
	var out []Mismatch
	miss := func(what, want, got string) { out = append(out, Mismatch{c.Name, what, want, got}) }
	if c.Want.Risk != "" && c.Want.Risk != a.Risk {
		miss("risk", string(c.Want.Risk), string(a.Risk))
	}
	ids := a.IDs()
	for _, id := range c.Want.Requires {
		if !slices.Contains(ids, id) {
			miss("requires", id, strings.Join(ids, ", "))
		}
	}
	for _, id := range c.Want.NotApplicable {
		if slices.Contains(ids, id) {
			miss("not_applicable", id, "demanded")
		}
	}
	if len(c.Want.Problems) > 0 {
		var codes []string
		for _, p := range a.Problems {
			codes = append(codes, p.Code)
		}
		if want, got := uniq(c.Want.Problems), uniq(codes); !slices.Equal(want, got) {
			miss("problems", strings.Join(want, ", "), strings.Join(got, ", "))
		}
	}
	return out
}
