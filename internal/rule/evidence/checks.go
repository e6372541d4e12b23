package evidence

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// texts says what each kind of check demands.
var texts = map[string]string{
	KindTests:              "the tests passed",
	KindCoverage:           "enough of the code is covered by tests",
	KindContracts:          "no declared contract changed",
	KindSecurityScan:       "the security scan found no error",
	KindArchitectureReview: "the architecture was reviewed",
	KindIntegration:        "the integration tests passed",
	KindBuild:              "the artifacts were built from this tree",
}

// check answers one Want.
func (j *judge) check(w Want) gov.Requirement {
	r := gov.Requirement{ID: w.ID, Kind: w.Kind, Text: texts[w.Kind]}
	if r.Text == "" {
		r.Text = words(w.Kind) + " is shown"
	}
	if w.NotApplicable != "" {
		r.State, r.Why = gov.NotApplicable, w.NotApplicable
		return r
	}
	if w.Kind == KindContracts {
		r.State = gov.Satisfied
		if n := len(w.ContractsTouched); n > 0 {
			r.State = gov.Unknown
			r.Why = "whether these contracts stay compatible is unknown: " + list(w.ContractsTouched)
			r.Command = "govern change diff " + string(j.f.Change)
		}
	} else {
		j.judgeReports(w, &r)
	}
	if len(w.findingRoles()) == 0 {
		return r
	}
	tool, person := r, j.findingRequirement(w)
	tool.ID += "/tool"
	return gov.Requirement{ID: w.ID, Kind: w.Kind, Text: r.Text, State: worse(tool.State, person.State), Children: []gov.Requirement{tool, person}}
}

// worse is the state of two things that must both be done.
func worse(a, b gov.State) gov.State {
	order := []gov.State{gov.Failed, gov.Unknown, gov.Missing, gov.Waiting}
	for _, s := range order {
		if a == s || b == s {
			return s
		}
	}
	return gov.Satisfied
}

func (j *judge) judgeReports(w Want, r *gov.Requirement) {
	reports := j.reports(w)
	if len(reports) == 0 {
		j.missing(w, r)
		return
	}
	for _, s := range reports {
		r.Evidence = append(r.Evidence, s.Digest)
		if !slices.Contains(r.By, s.Signer) {
			r.By = append(r.By, s.Signer)
		}
	}
	switch w.Kind {
	case KindTests, KindIntegration:
		r.State, r.Why = judgeTests(reports, w.TestsRun)
	case KindCoverage:
		r.State, r.Why = eachTool(reports, func(e gov.Evidence) (gov.State, string) { return judgeCoverage(e, w.Minimum) })
	case KindSecurityScan, KindArchitectureReview:
		r.State, r.Why = eachTool(reports, judgeScan)
	case KindBuild:
		r.State, r.Why = j.judgeBuild(reports, w.Artifacts)
	default:
		r.State, r.Why = gov.Unknown, "no rule reads evidence of the kind "+strconv.Quote(w.Kind)
	}
	if !r.State.Done() {
		r.Command = "govern evidence show " + string(j.f.Change)
	}
}

// missing says who can bring the report.
func (j *judge) missing(w Want, r *gov.Requirement) {
	for _, p := range j.f.People {
		if allowed(p, w) && !j.authors[j.ids.Of(p.Handle)] && slices.ContainsFunc(p.Keys, func(k gov.Key) bool { return k.ValidAt(j.f.Now) }) {
			r.Who = append(r.Who, p.Handle)
		}
	}
	slices.Sort(r.Who)
	if len(r.Who) == 0 {
		r.State = gov.Failed
		r.Why = "nobody in the registry may sign " + words(w.Kind) + "; that takes " + strings.Join(w.roles(), " or ")
		r.Command = "govern people list --role " + w.roles()[0]
		return
	}
	r.State, r.Why = gov.Missing, "no report of this tree that counts"
	r.Command = "govern evidence add " + string(j.f.Change) + " --kind " + w.Kind
}

// findingRequirement is the part of a check that a person gives. The newest
// finding that counts stands.
func (j *judge) findingRequirement(w Want) gov.Requirement {
	role := strings.Join(w.findingRoles(), " or ")
	r := gov.Requirement{ID: w.ID + "/finding", Kind: w.Kind, State: gov.Missing, Text: words(role) + " signs a finding"}
	var newest *gov.Recorded
	for i, s := range j.f.Statements {
		if s.Decision == gov.DecideAttest && s.Change == j.f.Change && s.Stage == w.Kind && j.finding(s, w) == nil {
			newest = &j.f.Statements[i]
		}
	}
	if newest != nil {
		r.State, r.By, r.Evidence = gov.Satisfied, []string{newest.Signer}, []gov.Digest{newest.Digest}
		if e := newest.Evidence; e != nil && (e.Failed > 0 || e.Findings > 0 || len(e.Unread) > 0) {
			r.State, r.Why = gov.Failed, newest.Signer+" found something that speaks against it"
		}
		return r
	}
	for _, p := range j.f.People {
		holds := slices.ContainsFunc(w.findingRoles(), func(role string) bool { return slices.Contains(p.Roles, role) })
		able := slices.ContainsFunc(p.Keys, func(k gov.Key) bool { return k.ValidAt(j.f.Now) && (k.Presence || !w.Presence) })
		if p.Kind == gov.Human && holds && able && !j.authors[j.ids.Of(p.Handle)] {
			r.Who = append(r.Who, p.Handle)
		}
	}
	slices.Sort(r.Who)
	r.Command = "govern checklist attest " + string(j.f.Change) + " " + w.Kind
	if len(r.Who) == 0 {
		r.State, r.Why = gov.Failed, "nobody in the registry can give it: no "+words(role)+" who had no hand in the change"
		r.Command = "govern people list --role " + w.findingRoles()[0]
	}
	return r
}

// eachTool judges the newest report of every tool; all must pass.
func eachTool(reports []gov.Recorded, judge func(gov.Evidence) (gov.State, string)) (gov.State, string) {
	newest := map[string]gov.Evidence{}
	var tools []string
	for _, s := range reports {
		if !slices.Contains(tools, s.Evidence.Tool) {
			tools = append(tools, s.Evidence.Tool)
		}
		newest[s.Evidence.Tool] = *s.Evidence
	}
	state, whys := gov.Satisfied, []string(nil)
	for _, t := range tools {
		e := newest[t]
		st, why := judge(e)
		if len(e.Unread) > 0 && st == gov.Satisfied {
			st, why = gov.Unknown, "parts of the report could not be read: "+list(e.Unread)
		}
		if why != "" {
			whys = append(whys, strings.TrimPrefix(t+": "+why, ": "))
		}
		state = worse(state, st)
	}
	return state, strings.Join(whys, "; ")
}

func judgeCoverage(e gov.Evidence, minimum float64) (gov.State, string) {
	switch {
	case e.Coverage == nil:
		return gov.Unknown, "the report holds no coverage"
	case !(*e.Coverage >= 0 && *e.Coverage <= 1) || !(minimum >= 0 && minimum <= 1):
		return gov.Unknown, "coverage is a share between 0 and 1"
	case *e.Coverage < minimum:
		return gov.Failed, percent(*e.Coverage) + " is covered; at least " + percent(minimum) + " is demanded"
	}
	return gov.Satisfied, percent(*e.Coverage) + " is covered"
}

// percent rounds down, so that 79.99 % does not look like 80 %.
func percent(x float64) string {
	return strconv.FormatFloat(math.Floor(x*10000+1e-6)/100, 'f', -1, 64) + " %"
}

// judgeScan judges a scanner's report: no error-level finding, and proof that a
// tool ran at all.
func judgeScan(e gov.Evidence) (gov.State, string) {
	failed := count(e.Results, "failed")
	switch {
	case strings.TrimSpace(e.Tool) == "":
		return gov.Failed, "the report names no tool, so nothing shows that anything ran"
	case e.Findings > 0 || e.Failed > 0 || failed > 0:
		return gov.Failed, plural(max(e.Findings, e.Failed, failed), "finding") + " at error level" + examples(e.Results)
	case e.Findings < 0 || e.Failed < 0:
		return gov.Unknown, "the report counts less than nothing"
	}
	return gov.Satisfied, ""
}

func (j *judge) judgeBuild(reports []gov.Recorded, wanted []string) (gov.State, string) {
	have := j.built()
	for _, name := range wanted {
		if !slices.ContainsFunc(have, func(a gov.Artifact) bool { return a.Name == name }) {
			return gov.Failed, "no counted build of " + name + " from this tree"
		}
	}
	last := reports[len(reports)-1].Evidence
	switch {
	case last.Failed > 0:
		return gov.Failed, "the newest build failed"
	case len(last.Unread) > 0:
		return gov.Unknown, "parts of the report could not be read: " + list(last.Unread)
	case len(have) == 0:
		return gov.Failed, "the build names no artifact with a digest"
	}
	return gov.Satisfied, ""
}

func count(rs []gov.Result, status string) int {
	n := 0
	for _, r := range rs {
		if r.Status == status {
			n++
		}
	}
	return n
}

func examples(rs []gov.Result) string {
	var ids []string
	for _, r := range rs {
		if r.Status == "failed" {
			ids = append(ids, r.ID)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return ": " + list(ids)
}

// list names at most three things.
func list(xs []string) string {
	if len(xs) <= 3 {
		return strings.Join(xs, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(xs[:3], ", "), len(xs)-3)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
