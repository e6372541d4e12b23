package change

import (
	"slices"
	"time"

	"github.com/governhq/govern/internal/gov"
)

func pass(s State, c Pass, k Known, now time.Time) ([]gov.Event, error) {
	if s.Status != Open {
		return nil, closed(s, "taken further")
	}
	if err := needVerdict(s, k, false); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(s.Stages, func(p Passed) bool { return p.Stage == c.Stage }) {
		return nil, nil
	}
	for _, st := range k.Verdict.Stages {
		if !st.State.Done() {
			return nil, gov.Errorf(gov.KindPending, "stage_open", "stage %s of %s is not done", st.ID, s.ID).WithHint("govern change missing %s", s.ID)
		}
		if st.ID == c.Stage {
			out := events(s.ID, EventPassed, Passed{Stage: c.Stage, Revision: s.Revision.Change, At: now})
			return append(out, reviewsDue(s, k, st.Children, now)...), nil
		}
	}
	return nil, gov.Errorf(gov.KindInvalid, "stage_unknown", "the workflow of %s has no stage %q", s.ID, c.Stage).WithHint("govern status %s", s.ID)
}

func gate(s State, c Gate, k Known, now time.Time) ([]gov.Event, error) {
	switch {
	case c.Revert && s.Status != Merge:
		return nil, closed(s, "taken back")
	case !c.Revert && s.Status != Open:
		return nil, closed(s, "merged")
	}
	if err := needVerdict(s, k, c.Revert); err != nil {
		return nil, err
	}
	v := k.Verdict
	if v.Answer != gov.Allowed {
		no := MergeRefused{Revision: v.Revision, Ref: c.Ref, Answer: v.Answer, Stage: v.Stage, Missing: missing(v), At: now}
		if !k.Observe {
			return refuse(s, no), nil
		}
	}
	yes := MergeAllowed{
		Revision: v.Revision, Ref: c.Ref, Policy: v.Policy, Risk: v.Risk,
		Revert: c.Revert, Observe: v.Answer != gov.Allowed, At: now,
	}
	old := s.Allowed
	if c.Revert {
		old = s.RevertOK
	}
	var out []gov.Event
	if old == nil || !sameAllowed(*old, yes) {
		out = events(s.ID, EventAllowed, yes)
	}
	out = append(out, reviewsDue(s, k, v.Stages, now)...)
	if c.Revert && v.Answer == gov.Allowed {
		out = append(out, revertReview(s, k, now)...)
	}
	return out, nil
}

func refuse(s State, no MergeRefused) []gov.Event {
	if r := s.Refused; r != nil && r.Revision == no.Revision && r.Ref == no.Ref && r.Answer == no.Answer && r.Stage == no.Stage && slices.Equal(r.Missing, no.Missing) {
		return nil
	}
	return events(s.ID, EventRefused, no)
}

func sameAllowed(a, b MergeAllowed) bool {
	a.At = b.At
	return a == b
}

// needVerdict checks that the verdict is about this change and, unless it is
// about its inverse, about the revision the change has now.
func needVerdict(s State, k Known, revert bool) error {
	v := k.Verdict
	if v == nil || v.Change != s.ID {
		return gov.Errorf(gov.KindInternal, "verdict_missing", "the verdict on %s was not given", s.ID)
	}
	isRevert := slices.ContainsFunc(v.Stages, func(r gov.Requirement) bool { return r.ID == StageRevert })
	if isRevert != revert || !revert && v.Revision.Change != s.Revision.Change {
		return gov.Errorf(gov.KindConflict, "revision_moved", "%s has other content by now than the verdict was about", s.ID).WithHint("govern status %s", s.ID)
	}
	return nil
}

func missing(v *gov.Verdict) []string {
	var out []string
	for r := range v.Leaves {
		if !r.State.Done() && !slices.Contains(out, r.ID) {
			out = append(out, r.ID)
		}
	}
	return out
}

// reviewsDue opens a review for each break-glass statement that stands in reqs.
func reviewsDue(s State, k Known, reqs []gov.Requirement, now time.Time) []gov.Event {
	used := map[string]bool{}
	for r := range (gov.Verdict{Stages: reqs}).Leaves {
		if r.State == gov.Overridden {
			used[r.ID] = true
		}
	}
	var due []ReviewDue
	for _, o := range k.Overrides {
		if !used[o.Requirement] {
			continue
		}
		for _, d := range o.Statements {
			i := slices.IndexFunc(due, func(r ReviewDue) bool { return r.Subject == d })
			if i < 0 {
				i, due = len(due), append(due, ReviewDue{Subject: d, Reason: ReviewOverride, Due: o.Due, At: now})
			}
			due[i].Requirements = append(due[i].Requirements, o.Requirement)
			if o.Due.Before(due[i].Due) {
				due[i].Due = o.Due
			}
		}
	}
	return openReviews(s, due)
}

// revertReview opens the review of the owner's statement that let an inverse
// pass.
func revertReview(s State, k Known, now time.Time) []gov.Event {
	var due []ReviewDue
	for _, st := range k.Verdict.Stages {
		if st.ID != StageRevert {
			continue
		}
		for r := range (gov.Verdict{Stages: st.Children}).Leaves {
			for _, d := range r.Evidence {
				due = append(due, ReviewDue{Subject: d, Reason: ReviewRevert, Due: now.Add(k.RevertDue), At: now})
			}
		}
	}
	return openReviews(s, due)
}

// openReviews leaves out what is open or closed already.
func openReviews(s State, due []ReviewDue) []gov.Event {
	var out []gov.Event
	seen := map[gov.Digest]bool{}
	for _, d := range s.Reviews {
		seen[d.Subject] = true
	}
	for _, d := range s.Reviewed {
		seen[d.Subject] = true
	}
	for _, d := range due {
		if !seen[d.Subject] {
			seen[d.Subject] = true
			out = append(out, events(s.ID, EventReviewDue, d)...)
		}
	}
	return out
}

// confirmMerge records what stands on a branch, permitted or not: the log does
// not deny facts.
func confirmMerge(s State, c ConfirmMerge, k Known, now time.Time) ([]gov.Event, error) {
	if err := needRevision(c.Revision); err != nil {
		return nil, err
	}
	if s.Merged != nil {
		if s.Merged.Revision.Change == c.Revision.Change {
			return nil, nil
		}
		return nil, closed(s, "merged again with other content")
	}
	ok := s.Status == Open && s.Allowed != nil && s.Allowed.Ref == c.Ref &&
		s.Allowed.Revision.Change == c.Revision.Change && s.Allowed.Revision.Tree == c.Revision.Tree
	out := events(s.ID, EventMerged, Merged{Revision: c.Revision, Commit: c.Commit, Ref: c.Ref, Bypassed: !ok, At: now})
	if !ok {
		out = append(out, openReviews(s, []ReviewDue{{Subject: c.Revision.Change, Reason: ReviewBypass, Due: now.Add(k.BypassDue), At: now}})...)
	}
	return out, nil
}

func confirmRevert(s State, c ConfirmRevert, k Known, now time.Time) ([]gov.Event, error) {
	if err := needRevision(c.Revision); err != nil {
		return nil, err
	}
	switch {
	case s.Status == Revert && s.Reverted.Revision.Change == c.Revision.Change:
		return nil, nil
	case s.Status != Merge:
		return nil, closed(s, "taken back")
	}
	ok := s.RevertOK != nil && s.RevertOK.Revision.Change == c.Revision.Change && s.RevertOK.Revision.Tree == c.Revision.Tree
	out := events(s.ID, EventReverted, Reverted{Revision: c.Revision, Commit: c.Commit, By: c.By, Bypassed: !ok, At: now})
	if !ok {
		out = append(out, openReviews(s, []ReviewDue{{Subject: c.Revision.Change, Reason: ReviewBypass, Due: now.Add(k.BypassDue), At: now}})...)
	}
	return out, nil
}
