package policy

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/governhq/govern/internal/gov"
)

// stages turns the row of the risk into wants, adds what require rules and the
// agents' row demand, and applies the exemptions.
func (pl *planner) stages(production []string) {
	row := slices.Clone(pl.p.Workflows.Row(pl.a.Risk))
	roles, checks := pl.required()
	if _, ok := find(row, StageValidate); !ok && len(checks) > 0 {
		row = slices.Insert(row, 1, Stage{Stage: StageValidate})
	}
	exempt := pl.exemptions()
	for _, s := range row {
		w := StageWant{Stage: s.Stage, NotApplicable: exempt.stage(s.Stage)}
		if w.NotApplicable == "" {
			switch s.Stage {
			case StageReview:
				pl.review(&w, s.Roles, roles)
			case StageFinal:
				pl.review(&w, s.Roles, nil)
				w.Within, w.Targets = pl.p.within(s), production
			case StageValidate:
				pl.validate(&w, s.Checks, checks, exempt)
			case StageIntegration:
				pl.validate(&w, []string{CheckIntegration}, nil, exempt)
				w.Targets = pl.staging(row)
			case StageStaging:
				w.Targets = pl.staging(row)
				pl.needTarget(w, Staging)
			case StageCanary:
				w.Percent, w.Targets = s.Percent, production
				w.BaselineUnhealthy = pl.p.Rollback.BaselineUnhealthy
				w.Strategy = pl.strategy(row)
				pl.needTarget(w, Production)
			case StageMonitor:
				w.For, w.Targets = s.For, production
			case StageRollout:
				w.Steps, w.Bake, w.Targets = s.Steps, s.Bake, production
			case StagePredeploy:
				pl.problem("policy_checklists", "add predeploy to not_applicable with a reason, or leave the stage out",
					"the stage predeploy asks for checklists, which this version cannot judge")
			}
		}
		pl.a.Stages = append(pl.a.Stages, w)
	}
}

// demand is a role or check that a rule adds, with the reasons.
type demand struct {
	name string
	why  []string
}

func add(ds []demand, name, why string) []demand {
	i := slices.IndexFunc(ds, func(d demand) bool { return d.name == name })
	if i < 0 {
		return append(ds, demand{name, []string{why}})
	}
	ds[i].why = append(ds[i].why, why)
	return ds
}

// required gives what require rules and the agents' row add. A rule that cannot
// be evaluated demands what it guards.
func (pl *planner) required() (roles, checks []demand) {
	for i, r := range pl.p.Require {
		yes, failed := pl.cond.require[i].holds(pl.vars)
		why := r.Because
		if failed != "" {
			why += " (the rule could not be evaluated, so it holds: " + failed + ")"
		} else if !yes {
			continue
		}
		for _, x := range r.Roles {
			roles = add(roles, x, why)
		}
		for _, x := range r.Checks {
			checks = add(checks, x, why)
		}
	}
	if pl.f.Agent != nil {
		for _, x := range pl.p.Agents.Roles {
			roles = add(roles, x, "an agent had a hand in it")
		}
	}
	return roles, checks
}

func (pl *planner) review(w *StageWant, roles []string, more []demand) {
	put := func(role string, why []string) {
		w.Roles = append(w.Roles, RoleWant{
			Role: role, Presence: pl.presence(), Assessment: pl.a.Touches.Model,
			AuthorMay: role == RoleOwner && pl.a.Solo, Why: why,
		})
	}
	for _, r := range roles {
		put(r, reasons(more, r))
	}
	for _, d := range more {
		if !slices.Contains(roles, d.name) {
			put(d.name, d.why)
		}
	}
}

func reasons(ds []demand, name string) []string {
	for _, d := range ds {
		if d.name == name {
			return d.why
		}
	}
	return nil
}

// presence tells whether approvals must prove that a person was there.
func (pl *planner) presence() bool {
	return demandsPresence(pl.p.Presence, pl.a.Risk, pl.a.Touches.Model, pl.f.Agent != nil)
}

func demandsPresence(words []string, r gov.Risk, model, agent bool) bool {
	return slices.Contains(words, string(r)) ||
		(model && slices.Contains(words, presenceModels)) ||
		(agent && slices.Contains(words, presenceAgents))
}

func (pl *planner) validate(w *StageWant, checks []string, more []demand, ex exempt) {
	put := func(check string, why []string) {
		row := pl.p.Evidence[check]
		c := CheckWant{Check: check, By: row.By, Finding: row.Finding, NotApplicable: ex.checks[check], Why: why}
		if check == CheckCoverage {
			minimum := pl.p.Coverage.Minimum
			c.Minimum = &minimum
		}
		w.Checks = append(w.Checks, c)
	}
	for _, c := range checks {
		put(c, reasons(more, c))
	}
	for _, d := range more {
		if !slices.Contains(checks, d.name) {
			put(d.name, d.why)
		}
	}
}

// staging gives the staging targets: the one the row names, or those of the
// touched paths.
func (pl *planner) staging(row []Stage) []string {
	if s, _ := find(row, StageStaging); s.Target != "" {
		named := slices.ContainsFunc(pl.a.Targets, func(t TargetWant) bool { return t.Name == s.Target })
		if !named {
			pl.a.Targets = append(pl.a.Targets, TargetWant{Name: s.Target, Target: pl.p.Targets[s.Target]})
			slices.SortFunc(pl.a.Targets, func(a, b TargetWant) int { return compare(a.Name, b.Name) })
		}
		return []string{s.Target}
	}
	var out []string
	for _, t := range pl.a.Targets {
		if t.Environment == Staging {
			out = append(out, t.Name)
		}
	}
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// needTarget makes a stage without a target a problem: skipped never satisfies.
func (pl *planner) needTarget(w StageWant, env Environment) {
	if len(w.Targets) > 0 {
		return
	}
	pl.problem("policy_no_target",
		fmt.Sprintf("give a %s target these paths in %s, or say in not_applicable why there is none", env, Path),
		"the stage %s has nowhere to go: no %s target has the touched paths", w.Stage, env)
}

// strategy completes the policy's canary object with what the stages say, so
// that it is the specification's object.
func (pl *planner) strategy(row []Stage) json.RawMessage {
	m := map[string]json.RawMessage{}
	if err := json.Unmarshal(pl.p.Canary.Strategy, &m); err != nil {
		panic("policy: a checked strategy does not parse: " + err.Error())
	}
	canary, _ := find(row, StageCanary)
	monitor, _ := find(row, StageMonitor)
	m["enabled"] = canonical(true)
	m["traffic_percentage"] = canonical(canary.Percent)
	m["monitoring_duration_minutes"] = canonical(monitor.For.Std().Minutes())
	return canonical(m)
}

// exempt holds the reasons of what is not applicable.
type exempt struct {
	stages map[StageKind]string
	checks map[string]string
}

// exemptions evaluates not_applicable. A row that cannot be evaluated exempts
// nothing. Of several rows for one thing the first gives the reason.
func (pl *planner) exemptions() exempt {
	ex := exempt{map[StageKind]string{}, map[string]string{}}
	for i, x := range pl.p.NotApplicable {
		yes, failed := pl.cond.exempt[i].holds(pl.vars)
		if failed != "" {
			pl.note("not_applicable[%d] could not be evaluated and exempts nothing: %s", i, failed)
			continue
		}
		if !yes {
			continue
		}
		for _, what := range x.What {
			if !slices.Contains(exemptStages, what) {
				first(ex.checks, what, x.Because)
				continue
			}
			for _, kind := range covers(StageKind(what)) {
				first(ex.stages, kind, x.Because)
			}
		}
	}
	return ex
}

func first[K comparable](m map[K]string, k K, v string) {
	if _, ok := m[k]; !ok {
		m[k] = v
	}
}

// covers lists the stages that go with one.
func covers(s StageKind) []StageKind {
	switch s {
	case StageStaging:
		return []StageKind{StageStaging, StageIntegration}
	case StageCanary:
		return []StageKind{StageCanary, StageMonitor, StageRollout}
	}
	return []StageKind{s}
}

func (e exempt) stage(k StageKind) string { return e.stages[k] }

// IDs lists the ids of everything demanded, in order: a stage, or its roles and
// checks. What is not applicable is left out.
func (a Answer) IDs() []string {
	var out []string
	for _, s := range a.Stages {
		if s.NotApplicable != "" {
			continue
		}
		n := len(out)
		for _, r := range s.Roles {
			out = append(out, string(s.Stage)+"/"+r.Role)
		}
		for _, c := range s.Checks {
			if c.NotApplicable == "" {
				out = append(out, string(s.Stage)+"/"+c.Check)
			}
		}
		if n == len(out) && len(s.Checks) == 0 {
			out = append(out, string(s.Stage))
		}
	}
	return out
}
