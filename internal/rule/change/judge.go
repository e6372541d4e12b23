package change

import (
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Judge assembles the verdict over a change from the requirements of all its
// stages. Allowed means: every stage before the merge is done and nothing holds
// the merge. Refused means: something failed, is unknown or is malformed, and
// must change first. Pending means: only people or time are missing. The answer
// is the same in mode observe; the notes say that it does not bind.
func Judge(f Facts) gov.Verdict {
	v := gov.Verdict{
		Change: f.Change, Risk: f.Risk, RiskWhy: slices.Clone(f.RiskWhy),
		Policy: f.Policy, Revision: f.Revision,
		NotCounted: slices.Clone(f.NotCounted), Notes: slices.Clone(f.Notes),
	}
	if f.Revert != nil {
		v.Risk = gov.RiskCritical
		v.RiskWhy = append(v.RiskWhy, "it takes back a merged change without the usual stages")
		v.Notes = append(v.Notes, "takes back "+string(f.Revert.Of)+" exactly: one owner signs, no canary, review due")
	}
	if f.Mode == ModeObserve {
		v.Notes = append(v.Notes, "the policy only observes: this answer is recorded and does not bind")
	}
	if len(f.OverdueReviews) > 0 {
		v.Notes = append(v.Notes, "overdue reviews block break-glass: "+strings.Join(f.OverdueReviews, ", "))
	}
	v.Stages = tree(f)
	v.Stage, v.Answer = answer(v.Stages)
	return v
}

// tree puts metadata first, merge last, and between them the workflow.
func tree(f Facts) []gov.Requirement {
	stages := []gov.Requirement{metadata(f)}
	if ps := problems(f); len(ps) > 0 {
		stages = append(stages, group(gov.Requirement{ID: "policy", Kind: "stage", Text: "the policy can judge this change"}, ps))
	}
	merge := gov.Requirement{ID: StageMerge, Kind: "stage", Text: "the change may be merged"}
	var holds []gov.Requirement
	for _, s := range f.Stages {
		if s.Name == StageMerge {
			holds = append(holds, override(s.Requirements, f)...)
			continue
		}
		stages = append(stages, stage(s, f))
	}
	for _, l := range f.Locks {
		holds = append(holds, gov.Requirement{
			ID: "merge/lock/" + l.Target, Kind: "lock", State: gov.Waiting,
			Text:    "no other rollout holds the paths of " + l.Target,
			Why:     string(l.Holder) + " holds them until it is merged or rolled back",
			Command: "govern rollout status " + l.Target,
		})
	}
	open := ""
	for i := range stages {
		s := &stages[i]
		switch {
		case s.State.Done():
		case open == "":
			open = s.ID
			if s.State == gov.Waiting && s.Kind == "stage" && len(s.Children) == 0 && s.Why == "" {
				s.State, s.Why = gov.Unknown, "nothing shows that this stage was done"
			}
		case s.Why == "":
			s.Why = "after " + open
		}
	}
	merge = group(merge, holds)
	switch {
	case len(holds) == 0 && open == "":
		merge.State = gov.Satisfied
	case open != "":
		if merge.State == gov.Waiting || merge.State.Done() {
			merge.State = gov.Waiting
		}
		merge.Why = "after " + open
	}
	return append(stages, merge)
}

func metadata(f Facts) gov.Requirement {
	r := gov.Requirement{ID: StageMetadata, Kind: "stage", State: gov.Satisfied, Text: "the change describes itself in " + MetadataFile}
	for i, e := range f.MetadataErrors {
		r.Children = append(r.Children, gov.Requirement{
			ID: "metadata/" + number(i+1), Kind: "metadata", State: gov.Failed,
			Text: MetadataFile + " is valid", Why: e, Command: "govern change edit " + string(f.Change),
		})
	}
	if f.Unproposed != "" {
		r.Children = append(r.Children, gov.Requirement{
			ID: RequirementProposal, Kind: "proposal", State: gov.Missing, Who: []string{f.Unproposed},
			Text: "its author has signed a proposal of this content",
			Why:  "nobody has signed a proposal of this content as " + f.Unproposed, Command: "govern submit -m WHY",
		})
	}
	if len(r.Children) > 0 {
		r.State = gov.Failed
		if len(f.MetadataErrors) == 0 {
			r.State = gov.Missing
		}
	}
	return r
}

// RequirementProposal is open for content that nobody has proposed in its
// author's name. No break-glass lifts it.
const RequirementProposal = StageMetadata + "/proposal"

// problems lists what refuses before any stage is looked at.
func problems(f Facts) []gov.Requirement {
	var out []gov.Requirement
	add := func(code, why, command string) {
		out = append(out, gov.Requirement{ID: "policy/" + code, Kind: "policy", State: gov.Failed, Text: "the policy can judge this change", Why: why, Command: command})
	}
	if f.Policy == "" {
		add("no_policy", "the target branch has no policy", "govern init")
	}
	if f.Revision.Change == "" || f.Revision.Tree == "" {
		add("no_revision", "the content of the change could not be determined", "govern doctor")
	}
	if f.Risk.Rank() >= len(gov.Risks) {
		add("no_risk", "the risk of the change is unknown", "govern explain risk_invalid")
	}
	for _, p := range f.Problems {
		add(p.Code, p.Text, p.Hint)
	}
	if f.Revert != nil {
		revertProblems(f, add)
		return out
	}
	if !slices.ContainsFunc(f.Stages, func(s StageFact) bool { return s.Name != StageMerge }) {
		add("no_stages", "the workflow has no stage before the merge", "govern policy show")
	}
	return out
}

func revertProblems(f Facts, add func(code, why, command string)) {
	if !f.Revert.Merged {
		add("revert_not_merged", string(f.Revert.Of)+" is not merged, so there is nothing to take back", "govern status "+string(f.Revert.Of))
	}
	if !f.Revert.Exact {
		add("revert_not_exact", "the range is not the exact inverse of "+string(f.Revert.Of), "govern change revert "+string(f.Revert.Of))
	}
	n := 0
	for _, s := range f.Stages {
		if s.Name == StageRevert && s.NotApplicable == "" && len(s.Requirements) > 0 {
			n++
		}
	}
	if n != 1 || len(f.Stages) != 1 {
		add("revert_stages", "taking back a merged change has the one stage "+StageRevert, "govern change revert "+string(f.Revert.Of))
	}
}

// stage is one stage of the workflow. Without requirements it waits; Judge's
// caller turns that into unknown when the stage's turn has come.
func stage(s StageFact, f Facts) gov.Requirement {
	r := gov.Requirement{ID: s.Name, Kind: "stage", Text: s.Text}
	if r.Text == "" {
		r.Text = "stage " + s.Name
	}
	if s.NotApplicable != "" {
		r.State, r.Why = gov.NotApplicable, s.NotApplicable
		return r
	}
	if f.Revert != nil {
		return group(r, s.Requirements)
	}
	r = group(r, override(s.Requirements, f))
	if lifted := override([]gov.Requirement{r}, f); len(lifted) == 1 {
		r = lifted[0]
	}
	return r
}

// override puts break-glass in force. Requirements of people are left alone:
// package approval has judged those, rejections included.
func override(reqs []gov.Requirement, f Facts) []gov.Requirement {
	out := make([]gov.Requirement, 0, len(reqs))
	for _, r := range reqs {
		if len(r.Children) > 0 {
			r = group(r, override(r.Children, f))
		}
		if r.State == gov.Overridden && len(f.OverdueReviews) > 0 {
			r.State, r.Why = gov.Missing, "a review is overdue, so break-glass does not count"
		}
		i := slices.IndexFunc(f.Overrides, func(o Override) bool { return o.Requirement == r.ID })
		if i >= 0 && !r.State.Done() && len(f.OverdueReviews) == 0 && !ofPeople(r) {
			o := f.Overrides[i]
			r.State, r.By, r.Evidence = gov.Overridden, slices.Clone(o.By), slices.Clone(o.Statements)
			r.Why = "break-glass; review due " + o.Due.UTC().Format(time.RFC3339)
			r.Who, r.Command, r.Children = nil, "", nil
		}
		out = append(out, r)
	}
	return out
}

func ofPeople(r gov.Requirement) bool {
	return r.Kind == "approval" || slices.ContainsFunc(r.Children, ofPeople)
}

// group gives r the state of its children: the worst of them, and for no
// children Waiting. A state that is not one of gov's counts as unknown.
func group(r gov.Requirement, children []gov.Requirement) gov.Requirement {
	r.Children = slices.Clone(children)
	if len(children) == 0 {
		r.State = gov.Waiting
		return r
	}
	worst, all := -1, true
	for i := range r.Children {
		rank := slices.Index(badness, r.Children[i].State)
		if rank < 0 {
			r.Children[i].State, rank = gov.Unknown, slices.Index(badness, gov.Unknown)
		}
		worst = max(worst, rank)
		all = all && r.Children[i].State == gov.NotApplicable
	}
	r.State = badness[worst]
	if r.State == gov.NotApplicable && !all {
		r.State = gov.Satisfied
	}
	return r
}

// badness orders states from best to worst.
var badness = []gov.State{
	gov.NotApplicable, gov.Satisfied, gov.Overridden, gov.Waiting, gov.Missing, gov.Unknown, gov.Failed,
}

// answer reads the tree: the first stage that is not done, and the one word.
func answer(stages []gov.Requirement) (string, gov.Answer) {
	first := ""
	for _, s := range stages {
		if !s.State.Done() {
			first = s.ID
			break
		}
	}
	switch {
	case first == "":
		return "", gov.Allowed
	case slices.ContainsFunc(stages, blocked):
		return first, gov.Refused
	default:
		return first, gov.Pending
	}
}

func blocked(r gov.Requirement) bool {
	return r.State == gov.Failed || r.State == gov.Unknown || slices.ContainsFunc(r.Children, blocked)
}
