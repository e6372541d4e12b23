package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	pathpkg "path"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// planner carries what the parts of one plan share.
type planner struct {
	f    Facts
	p    Policy
	cond conditions
	vars map[string]any
	a    Answer
}

// Plan answers what a change needs. It always answers: what is wrong with the
// facts is a Problem, and a plan with a Problem cannot be allowed.
func Plan(f Facts) Answer {
	f.Paths, f.Branch = readable(f.Paths), printable(f.Branch)
	pl := &planner{f: f, p: f.Policy}
	if bad := pl.start(); bad != nil {
		return unusable(f, bad)
	}
	pl.a = Answer{
		Policy:   pl.p.Digest(),
		Governed: governed(pl.p.Branches, f.Branch, f.DefaultBranch),
		Enforced: pl.p.Mode == Enforce,
		Declared: f.Declared,
		Touches:  pl.touches(),
		Changes:  pl.p.Changes.Dir,
		Reviews:  pl.p.Reviews,
	}
	production := pl.targets()
	pl.vars = pl.variables()
	pl.risk()
	pl.a.Solo = pl.p.Solo && pl.a.Risk.Rank() <= gov.RiskMedium.Rank()
	pl.owners()
	pl.stages(production)
	pl.say()
	return pl.a
}

// printable puts U+FFFD in the place of every byte that is not UTF-8, as JSON
// would: git allows any bytes in a name, and a decision must be the same when it
// is made again from its recorded facts.
func printable(s string) string { return string([]rune(s)) }

func readable(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = printable(s)
	}
	return out
}

// start checks the policy, which may come from anywhere, and compiles it.
func (pl *planner) start() *fault {
	if f := pl.p.checkShape(); f != nil {
		return f
	}
	var f *fault
	pl.cond, f = pl.p.conditions()
	return f
}

// unusable is the plan under a policy that is none: what Default would ask for,
// and a Problem.
func unusable(f Facts, bad *fault) Answer {
	f.Policy = Default()
	if own := f.Policy.check(); own != nil {
		panic("policy: the built-in policy is none: " + own.msg) // would never end otherwise
	}
	a := Plan(f)
	a.Policy, a.Enforced, a.Governed, a.Solo = "", true, true, false
	a.Problems = append(a.Problems, Problem{
		Code: "policy_invalid", Text: "the policy of the target branch cannot be used: " + bad.msg, Hint: hintCheck,
	})
	return a
}

func (pl *planner) problem(code, hint, format string, args ...any) {
	pl.a.Problems = append(pl.a.Problems, Problem{Code: code, Text: fmt.Sprintf(format, args...), Hint: hint})
}

func (pl *planner) note(format string, args ...any) {
	pl.a.Notes = append(pl.a.Notes, fmt.Sprintf(format, args...))
}

// governed tells whether a branch is one that needs a change. Where the branch
// or the default branch is not known the answer is yes.
func governed(patterns []string, branch, def string) bool {
	branch = strings.TrimPrefix(branch, "refs/heads/")
	def = strings.TrimPrefix(def, "refs/heads/")
	if branch == "" {
		return true
	}
	if len(patterns) == 0 {
		return def == "" || branch == def
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := pathpkg.Match(p, branch)
		return ok || err != nil
	})
}

// GovernancePaths lists the files that decide about others: policy, registry
// and, where it is used, CODEOWNERS.
func (p Policy) GovernancePaths() []string {
	return slices.DeleteFunc([]string{Path, p.People, p.Owners.Codeowners}, func(s string) bool { return s == "" })
}

// touches adds to the engine's findings what the paths alone show.
func (pl *planner) touches() Touches {
	t := pl.f.Touches
	t.Contract = t.Contract || t.ContractBreaking
	for _, path := range pl.f.Paths {
		t.Policy = t.Policy || path == Path || (path == pl.p.Owners.Codeowners && path != "")
		t.Registry = t.Registry || path == pl.p.People
	}
	return t
}

// ownFile tells whether a path is the change's own metadata or one of its
// statements: these need no owner, every change has them.
func (pl *planner) ownFile(path string) bool {
	if pl.f.Change == "" {
		return false
	}
	rest, ok := strings.CutPrefix(path, pl.p.Changes.Dir+"/"+string(pl.f.Change)+"/")
	return ok && (rest == "change_metadata.json" ||
		(strings.HasPrefix(rest, "statements/") && strings.HasSuffix(rest, ".json") && strings.Count(rest, "/") == 1))
}

// subject gives the touched paths without the change's own files.
func (pl *planner) subject() []string {
	return slices.DeleteFunc(slices.Clone(pl.f.Paths), pl.ownFile)
}

// governanceOnly tells whether nothing that could be deployed is touched.
func (pl *planner) governanceOnly() bool {
	paths := pl.subject()
	return len(paths) > 0 && has(pl.p.GovernancePaths(), paths)
}

// targets finds the targets of the change: those whose paths it touches, and
// those it names besides. It never leaves one off.
func (pl *planner) targets() (production []string) {
	names := slices.Sorted(maps.Keys(pl.p.Targets))
	for _, want := range uniq(pl.f.Targets) {
		if !slices.Contains(names, want) {
			hint := "name a target of " + Path
			if s := strict.Suggest(want, names); s != "" {
				hint = fmt.Sprintf("did you mean %q?", s)
			}
			pl.problem("policy_target_unknown", hint, "the change names the target %q, which the policy does not have", want)
		}
	}
	paths := pl.subject()
	for _, name := range names {
		t := pl.p.Targets[name]
		if !slices.Contains(pl.f.Targets, name) && !touchesAny(t.Paths, paths) {
			continue
		}
		pl.a.Targets = append(pl.a.Targets, TargetWant{Name: name, Target: t})
		if t.Environment == Production {
			production = append(production, name)
		}
	}
	return production
}

func touchesAny(patterns, paths []string) bool {
	for _, s := range patterns {
		p, err := CompilePattern(s)
		if err != nil || slices.ContainsFunc(paths, p.Match) {
			return true // an unreadable pattern cannot be here; if it is, it matches
		}
	}
	return false
}

func (pl *planner) variables() map[string]any {
	names := make([]string, len(pl.a.Targets))
	for i, t := range pl.a.Targets {
		names[i] = t.Name
	}
	var agent Agent
	if pl.f.Agent != nil {
		agent = *pl.f.Agent
	}
	t := pl.a.Touches
	return map[string]any{
		"change.id": string(pl.f.Change), "change.risk": string(pl.f.Declared), "change.type": pl.f.Type,
		"change.author": pl.f.Author, "change.owner": pl.f.Owner, "branch": pl.f.Branch,
		"paths": none(uniq(pl.f.Paths)), "targets": names, "governance_only": pl.governanceOnly(),
		"touches.contract": t.Contract, "touches.contract_breaking": t.ContractBreaking,
		"touches.model": t.Model, "touches.policy": t.Policy, "touches.registry": t.Registry,
		"agent.involved": pl.f.Agent != nil, "agent.name": agent.Name, "agent.sponsor": agent.Sponsor,
	}
}

// risk takes the highest of what is declared, the floors, the agents' row and
// the raise rules. Each rule sees the declared risk alone.
func (pl *planner) risk() {
	pl.a.Risk = gov.RiskLow.Max(pl.f.Declared)
	if _, err := gov.ParseRisk(string(pl.f.Declared)); err != nil {
		pl.a.Risk = gov.RiskCritical
		pl.problem("policy_risk", "set risk_level in the change metadata", "the declared risk %q is none of low, medium, high, critical", short(string(pl.f.Declared)))
	}
	raise := func(r gov.Risk, source, because string) {
		if r.Rank() > pl.f.Declared.Rank() {
			pl.a.RiskWhy = append(pl.a.RiskWhy, RiskReason{r, source, because})
		}
		pl.a.Risk = pl.a.Risk.Max(r)
	}
	t := pl.a.Touches
	for _, floor := range []struct {
		holds   bool
		because string
	}{
		{t.Model, "it touches a model"},
		{t.ContractBreaking, "it breaks a contract, or cannot be shown not to"},
		{t.Policy, "it touches the policy or the owners"},
		{t.Registry, "it touches the registry of people"},
	} {
		if floor.holds {
			raise(gov.RiskHigh, "floor", floor.because)
		}
	}
	if pl.f.Agent != nil && pl.p.Agents.Risk != gov.RiskLow {
		raise(pl.p.Agents.Risk, "agents", "an agent had a hand in it")
	}
	for i, r := range pl.p.Raise {
		source := fmt.Sprintf("raise[%d]", i)
		switch yes, failed := pl.cond.raise[i].holds(pl.vars); {
		case failed != "":
			raise(gov.RiskCritical, source, r.Because+" (the rule could not be evaluated, which counts as critical: "+failed+")")
		case yes:
			raise(r.Risk, source, r.Because)
		}
	}
}

// owners groups the touched paths. A change that touches nothing but its own
// files is owned as those files are.
func (pl *planner) owners() {
	paths := pl.subject()
	if len(paths) == 0 {
		paths = pl.f.Paths
	}
	if len(paths) == 0 {
		pl.problem("policy_nothing_touched", "", "the change touches no path, so nobody could own it")
		return
	}
	rules := pl.p.Owners.Rules
	if len(rules) == 0 {
		rules = pl.f.Codeowners
	}
	g, err := Owners(rules, pl.f.People, paths)
	if err != nil {
		pl.problem("policy_codeowners", hintCheck, "the owners of the target branch cannot be read: %s", message(err))
		return
	}
	pl.a.Owners = g.Groups
	for _, u := range g.Unknown {
		pl.note("owner %q is nobody in the registry and cannot approve", u)
	}
	if len(g.Unowned) > 0 {
		where := pl.p.Owners.Codeowners
		if where == "" {
			where = "owners.rules of " + Path
		}
		pl.a.Problems = append(pl.a.Problems, Problem{
			Code: "policy_path_unowned", Paths: g.Unowned,
			Text: fmt.Sprintf("nobody in the registry owns %s", some(g.Unowned)),
			Hint: "give it an owner in " + where + " on the target branch, and the owner an entry in " + pl.p.People,
		})
	}
	pl.metadataOwner(g)
}

// metadataOwner refuses a declared owner who owns nothing that is touched.
func (pl *planner) metadataOwner(g Grouped) {
	if pl.f.Owner == "" || len(g.Groups) == 0 {
		return
	}
	handles, _ := resolve([]string{strings.TrimPrefix(pl.f.Owner, "@")}, pl.f.People)
	var all []string
	for _, grp := range g.Groups {
		all = append(all, grp.Owners...)
	}
	if !slices.ContainsFunc(handles, func(h string) bool { return slices.Contains(all, h) }) {
		pl.problem("policy_owner_mismatch", "set owner in the change metadata to one of "+some(uniq(all)),
			"the change names %q as its owner, who owns none of the touched paths", short(pl.f.Owner))
	}
}

// some names a few of many.
func some(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// say adds the notes that every rendering shows.
func (pl *planner) say() {
	if !pl.a.Enforced {
		pl.note("mode observe: this is recorded and nothing is refused")
	}
	switch {
	case pl.a.Solo:
		pl.note("solo: the author may approve as owner at this risk")
	case pl.p.Solo:
		pl.note("solo does not reach %s: somebody else must approve", pl.a.Risk)
	}
	if !pl.a.Governed {
		pl.note("the branch %q is not governed", pl.f.Branch)
	}
}

// Replay decides again. Facts must be what was recorded: an unknown key in them
// is an error. The answer is canonical JSON.
func Replay(facts json.RawMessage) (json.RawMessage, error) {
	var f Facts
	if err := strict.Unmarshal(facts, &f, strict.Options{MaxBytes: maxFacts}); err != nil {
		return nil, gov.Errorf(gov.KindIntegrity, "policy_facts", "the recorded facts of a policy decision cannot be read: %w", err)
	}
	return canonical(Plan(f)), nil
}

// maxFacts bounds recorded facts: a policy, and as many paths as git has.
const maxFacts = 64 << 20

// Governs tells whether changes to a branch need a change; def is the default
// branch, which alone is governed when the policy names none.
func (p Policy) Governs(branch, def string) bool { return governed(p.Branches, branch, def) }
