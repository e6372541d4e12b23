package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	pathpkg "path"
	"regexp"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// Baselines of a target.
const (
	BaselineStable   = "stable"   // the candidate is compared with the stable version beside it
	BaselineAbsolute = "absolute" // only absolute limits are judged
)

// Checks lists the kinds of evidence that a validate stage can demand without a
// row under evidence; integration has a stage of its own.
var Checks = []string{
	CheckTests, CheckContracts, CheckCoverage, CheckSecurityScan, CheckArchitecture, CheckBuild,
}

var (
	roleWord   = regexp.MustCompile(`^[a-z][a-z0-9_]*(/[a-z0-9][a-z0-9_-]*)?$`)
	targetWord = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	checkWord  = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// fault is something wrong with the content of a policy: the path of the value,
// a code, and what is wrong.
type fault struct{ path, code, msg string }

func faultf(path, code, format string, args ...any) *fault {
	return &fault{path, code, fmt.Sprintf(format, args...)}
}

func (f *fault) text() string { return f.msg }

// Validate checks a policy that did not come from Parse. Its error names the
// key, and has the codes of Parse from policy_value on.
func (p Policy) Validate() error {
	if f := p.check(); f != nil {
		return gov.Errorf(gov.KindInvalid, f.code, "%s: %s", Path, f.text()).WithHint(hintCheck)
	}
	return nil
}

func (p Policy) check() *fault {
	if f := p.checkShape(); f != nil {
		return f
	}
	_, f := p.conditions()
	return f
}

// checkShape checks everything but the expressions.
func (p Policy) checkShape() *fault {
	for _, f := range []func() *fault{
		p.checkHead, p.checkOwners, p.checkEvidence, p.checkTargets, p.checkRows, p.checkOrder,
		p.checkPresence, p.checkRules, p.checkExempt, p.checkRest,
	} {
		if bad := f(); bad != nil {
			return bad
		}
	}
	return nil
}

// oneOf refuses a word that is not in the list, and suggests one that is.
func oneOf(path, word string, list []string) *fault {
	if slices.Contains(list, word) {
		return nil
	}
	if s := strict.Suggest(word, list); s != "" {
		return faultf(path, "policy_value", "%s: unknown word %q; did you mean %q?", path, short(word), s)
	}
	return faultf(path, "policy_value", "%s: unknown word %q; there are %s", path, short(word), strings.Join(list, ", "))
}

// cleanPath refuses paths that git would not have.
func cleanPath(path, s string) *fault {
	if s == "" || s != pathpkg.Clean(s) || strings.HasPrefix(s, "/") || s == "." || s == ".." || strings.HasPrefix(s, "../") || strings.Contains(s, "\\") {
		return faultf(path, "policy_value", "%s: %q is not a path inside the repository, such as docs/people", path, short(s))
	}
	return nil
}

func (p Policy) checkHead() *fault {
	if p.Version != 1 {
		return faultf("version", "policy_value", "version: %d is not known to this program, which reads version 1", p.Version)
	}
	if f := oneOf("mode", string(p.Mode), []string{string(Enforce), string(Observe)}); f != nil {
		return f
	}
	for i, b := range p.Branches {
		if _, err := pathpkg.Match(b, ""); err != nil || b == "" {
			return faultf(fmt.Sprintf("branches[%d]", i), "policy_value", "branches[%d]: %q is not a branch or a pattern such as release/*", i, short(b))
		}
	}
	if f := cleanPath("people", p.People); f != nil {
		return f
	}
	if f := cleanPath("changes.dir", p.Changes.Dir); f != nil {
		return f
	}
	if p.Coverage.Minimum < 0 || p.Coverage.Minimum > 1 || p.Coverage.Minimum != p.Coverage.Minimum {
		return faultf("coverage.minimum", "policy_value", "coverage.minimum: %v is not a share between 0 and 1; write 0.8 for 80 %%", p.Coverage.Minimum)
	}
	return nil
}

func (p Policy) checkOwners() *fault {
	o := p.Owners
	switch {
	case o.Codeowners == "" && len(o.Rules) == 0:
		return faultf("owners", "policy_value", "owners: nobody owns anything; name a codeowners file or write rules")
	case o.Codeowners != "" && len(o.Rules) > 0:
		return faultf("owners.rules", "policy_value", "owners: rules and a codeowners file at once; keep one of them")
	case o.Codeowners != "":
		return cleanPath("owners.codeowners", o.Codeowners)
	}
	for i, r := range o.Rules {
		at := fmt.Sprintf("owners.rules[%d]", i)
		if _, err := CompilePattern(r.Path); err != nil {
			return faultf(at+".path", "policy_value", "%s.path: %s", at, message(err))
		}
		for j, who := range r.Owners {
			if !ownerWord.MatchString(who) {
				return faultf(fmt.Sprintf("%s.owners[%d]", at, j), "policy_value", "%s: %q is not an owner; write a handle, an e-mail address or org/team", at, short(who))
			}
		}
	}
	return nil
}

// message is the sentence of an error, without its code.
func message(err error) string {
	if e, ok := errors.AsType[*gov.Error](err); ok {
		return e.Message
	}
	return err.Error()
}

func (p Policy) checkEvidence() *fault {
	for _, kind := range slices.Sorted(maps.Keys(p.Evidence)) {
		at := "evidence." + kind
		r := p.Evidence[kind]
		if !checkWord.MatchString(kind) {
			return faultf(at, "policy_value", "%s: %q is not a kind of evidence; write a word such as license_scan", at, short(kind))
		}
		if len(r.By) == 0 {
			return faultf(at, "policy_value", "%s: names no role, so nobody could ever show it", at)
		}
		for _, role := range slices.Concat(r.By, r.Finding) {
			if f := checkRole(at, role, false); f != nil {
				return f
			}
		}
	}
	return nil
}

func checkRole(path, role string, owner bool) *fault {
	if role == RoleOwner && !owner {
		return faultf(path, "policy_value", "%s: owner is not a role of the registry and has no place here", path)
	}
	if !roleWord.MatchString(role) {
		return faultf(path, "policy_value", "%s: %q is not a role; write a word such as security_lead", path, short(role))
	}
	return nil
}

// checkList refuses repeated entries, and entries that f refuses.
func checkList(path string, list []string, f func(path, s string) *fault) *fault {
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if slices.Contains(list[:i], s) {
			return faultf(at, "policy_value", "%s: %q stands there twice", at, short(s))
		}
		if bad := f(at, s); bad != nil {
			return bad
		}
	}
	return nil
}

// checkKind refuses a check that nobody may attest.
func (p Policy) checkKind(path, check string) *fault {
	if check == CheckIntegration {
		return faultf(path, "policy_value", "%s: integration is a stage of its own, after staging", path)
	}
	if _, ok := p.Evidence[check]; ok {
		return nil
	}
	known := slices.Sorted(maps.Keys(p.Evidence))
	if s := strict.Suggest(check, known); s != "" {
		return faultf(path, "policy_value", "%s: unknown check %q; did you mean %q?", path, short(check), s)
	}
	return faultf(path, "policy_value", "%s: unknown check %q; give it a row under evidence that says who may attest it", path, short(check))
}

func (p Policy) checkPresence() *fault {
	if f := checkList("presence", p.Presence, func(at, s string) *fault { return oneOf(at, s, presenceWords) }); f != nil {
		return f
	}
	// A raised risk must never demand less: presence holds from a level upwards.
	for i, r := range gov.Risks[:len(gov.Risks)-1] {
		above := string(gov.Risks[i+1])
		if slices.Contains(p.Presence, string(r)) && !slices.Contains(p.Presence, above) {
			return faultf("presence", "policy_weaker", "presence: %s is there but %s is not; a higher risk never demands less", r, above)
		}
	}
	return nil
}

func (p Policy) checkRules() *fault {
	for i, r := range p.Raise {
		at := fmt.Sprintf("raise[%d]", i)
		if f := checkWhy(at, r.When, r.Because); f != nil {
			return f
		}
		if f := oneOf(at+".risk", string(r.Risk), presenceWords[:4]); f != nil {
			return f
		}
	}
	for i, r := range p.Require {
		at := fmt.Sprintf("require[%d]", i)
		if f := checkWhy(at, r.When, r.Because); f != nil {
			return f
		}
		if len(r.Roles)+len(r.Checks) == 0 {
			return faultf(at, "policy_value", "%s: demands nothing; name roles or checks", at)
		}
		if f := checkList(at+".roles", r.Roles, func(at, s string) *fault { return checkRole(at, s, true) }); f != nil {
			return f
		}
		if f := checkList(at+".checks", r.Checks, p.checkKind); f != nil {
			return f
		}
	}
	return nil
}

func checkWhy(at, when, because string) *fault {
	if strings.TrimSpace(when) == "" {
		return faultf(at, "policy_value", "%s: when is missing; write a CEL expression, or \"true\"", at)
	}
	if strings.TrimSpace(because) == "" {
		return faultf(at, "policy_value", "%s: because is missing; whoever is stopped by it wants to know why", at)
	}
	return nil
}

// Stages that an exemption can name.
var exemptStages = []string{
	string(StageStaging), string(StageIntegration), string(StagePredeploy), string(StageCanary), string(StageFinal),
}

func (p Policy) checkExempt() *fault {
	for i, x := range p.NotApplicable {
		at := fmt.Sprintf("not_applicable[%d]", i)
		if strings.TrimSpace(x.Because) == "" {
			return faultf(at, "policy_value", "%s: because is missing; not applicable needs a reason that every document shows", at)
		}
		if len(x.What) == 0 {
			return faultf(at, "policy_value", "%s: what is missing; name checks or stages", at)
		}
		if f := checkList(at+".what", x.What, func(at, s string) *fault {
			if slices.Contains(exemptStages, s) {
				return nil
			}
			if s == string(StageMonitor) || s == string(StageRollout) {
				return faultf(at, "policy_value", "%s: %s is part of the canary and cannot be left out alone: name canary here", at, s)
			}
			if slices.Contains([]string{string(StageReview), string(StageValidate), string(StageMerge)}, s) {
				return faultf(at, "policy_value", "%s: %s is always applicable", at, s)
			}
			return p.checkKind(at, s)
		}); f != nil {
			return f
		}
		if slices.Contains(x.What, string(StageFinal)) && !slices.Contains(x.What, string(StageCanary)) {
			return faultf(at+".what", "policy_value", "%s: final without canary; only where there is no outcome is there nothing to approve", at)
		}
	}
	return nil
}

// Keys of the specification's canary object that the stages say.
var strategyStageKeys = map[string]string{
	"enabled":                     "the stage canary",
	"traffic_percentage":          "percent of the stage canary",
	"monitoring_duration_minutes": "for of the stage monitor",
}

func (p Policy) checkRest() *fault {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(p.Canary.Strategy, &m); err != nil || m == nil {
		return faultf("canary.strategy", "policy_type", "canary.strategy must be a mapping, the specification's canary_strategy")
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if where, ok := strategyStageKeys[k]; ok {
			return faultf("canary.strategy."+k, "policy_value", "canary.strategy: %s is said by %s, not here", k, where)
		}
	}
	for _, d := range []struct {
		path string
		d    Duration
	}{
		{"reviews.override_due", p.Reviews.OverrideDue},
		{"reviews.revert_due", p.Reviews.RevertDue},
		{"rollback.final_within", p.Rollback.FinalWithin},
		{"rollback.baseline_unhealthy", p.Rollback.BaselineUnhealthy},
	} {
		if d.d <= 0 {
			return faultf(d.path, "policy_value", "%s: must be longer than nothing", d.path)
		}
	}
	if f := oneOf("agents.risk", string(p.Agents.Risk), presenceWords[:4]); f != nil {
		return f
	}
	return checkList("agents.roles", p.Agents.Roles, func(at, s string) *fault { return checkRole(at, s, true) })
}
