package change

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Apply folds one event of a change's stream into its state. It never judges:
// whatever the log holds happened. An event of another rule on the same stream
// changes nothing; a payload that cannot be read, or a version that this rule
// does not know, is an error, because guessing would be a wrong state.
func Apply(s State, e gov.Event) (State, error) {
	fold, ok := folds[e.Type]
	if !ok {
		return s, nil
	}
	if e.V != 1 {
		return s, gov.Errorf(gov.KindIntegrity, "event_version", "%s has version %d, which this program does not know", e.Type, e.V).WithHint("install a newer govern")
	}
	next, err := fold(s.clone(), e.Data)
	if err != nil {
		return s, &gov.Error{Kind: gov.KindIntegrity, Code: "event_unreadable", Op: "apply " + e.Type, Message: "the payload of " + e.Type + " on " + string(e.Stream) + " is unreadable", Err: err}
	}
	if next.ID == "" {
		next.ID = gov.ChangeID(strings.TrimPrefix(string(e.Stream), "change/"))
	}
	return next, nil
}

// Overdue lists the open reviews whose time has come.
func (s State) Overdue(now time.Time) []ReviewDue {
	var out []ReviewDue
	for _, r := range s.Reviews {
		if !now.Before(r.Due) {
			out = append(out, r)
		}
	}
	return out
}

// NextReview is when the earliest open review falls due, zero for none.
func (s State) NextReview() time.Time {
	if len(s.Reviews) == 0 {
		return time.Time{}
	}
	return s.Reviews[0].Due
}

func (s State) clone() State {
	s.Statements = slices.Clone(s.Statements)
	s.Stages = slices.Clone(s.Stages)
	s.Reviews = slices.Clone(s.Reviews)
	s.Reviewed = slices.Clone(s.Reviewed)
	return s
}

var folds = map[string]func(State, json.RawMessage) (State, error){
	EventProposed:  foldAs(applyProposed),
	EventRevised:   foldAs(applyRevised),
	EventCarried:   foldAs(applyCarried),
	EventRecorded:  foldAs(applyRecorded),
	EventPassed:    foldAs(applyPassed),
	EventAllowed:   foldAs(applyAllowed),
	EventRefused:   foldAs(applyRefused),
	EventMerged:    foldAs(applyMerged),
	EventReverted:  foldAs(applyReverted),
	EventWithdrawn: foldAs(applyWithdrawn),
	EventReviewDue: foldAs(applyReviewDue),
	EventReviewed:  foldAs(applyReviewed),
}

func foldAs[T any](f func(State, T) State) func(State, json.RawMessage) (State, error) {
	return func(s State, data json.RawMessage) (State, error) {
		var t T
		if err := json.Unmarshal(data, &t); err != nil {
			return s, err
		}
		return f(s, t), nil
	}
}

func applyProposed(s State, p Proposed) State {
	s.ID, s.Status, s.Author, s.Owner, s.Proposer = p.Change, Open, p.Author, p.Owner, p.Proposer
	s.Authors, s.Agent, s.Sponsor = p.Authors, p.Agent, p.Sponsor
	s.Type, s.Targets, s.Declared, s.Metadata = p.Type, p.Targets, p.Declared, p.Metadata
	s.Branch, s.Revision, s.ProposedAt, s.ChangedAt = p.Branch, p.Revision, p.At, p.At
	return s
}

// applyRevised voids what was latched for the old content. Statements stay: they
// name the digest they were signed for.
func applyRevised(s State, r Revised) State {
	s.Revision, s.Authors, s.Owner, s.Agent, s.Sponsor = r.Revision, r.Authors, r.Owner, r.Agent, r.Sponsor
	s.Type, s.Targets, s.Declared, s.Metadata = r.Type, r.Targets, r.Declared, r.Metadata
	s.Stages, s.Allowed, s.Refused = nil, nil, nil
	s.Revised++
	s.ChangedAt = r.At
	return s
}

// applyCarried keeps what people said. A permission was for one tree.
func applyCarried(s State, c Carried) State {
	if s.Allowed != nil && s.Allowed.Revision.Tree != c.To.Tree {
		s.Allowed = nil
	}
	s.Revision, s.Authors, s.Metadata, s.ChangedAt = c.To, c.Authors, c.Metadata, c.At
	return s
}

// applyRecorded takes back permission and passed stages when somebody rejects or
// revokes: they must be shown again.
func applyRecorded(s State, r gov.Recorded) State {
	s.Statements = append(s.Statements, r)
	if r.Decision == gov.DecideReject || r.Decision == gov.DecideRevoke {
		s.Stages, s.Allowed, s.RevertOK = nil, nil, nil
	}
	s.ChangedAt = r.Time
	return s
}

func applyPassed(s State, p Passed) State {
	s.Stages, s.ChangedAt = append(s.Stages, p), p.At
	return s
}

func applyAllowed(s State, a MergeAllowed) State {
	if a.Revert {
		s.RevertOK = &a
	} else {
		s.Allowed = &a
	}
	s.Refused, s.ChangedAt = nil, a.At
	return s
}

func applyRefused(s State, r MergeRefused) State {
	s.Refused, s.Allowed, s.ChangedAt = &r, nil, r.At
	return s
}

func applyMerged(s State, m Merged) State {
	s.Status, s.Merged, s.Refused, s.ChangedAt = Merge, &m, nil, m.At
	return s
}

func applyReverted(s State, r Reverted) State {
	s.Status, s.Reverted, s.Refused, s.ChangedAt = Revert, &r, nil, r.At
	return s
}

func applyWithdrawn(s State, w Withdrawn) State {
	s.Status, s.Allowed, s.Refused, s.ChangedAt = Closed, nil, nil, w.At
	return s
}

func applyReviewDue(s State, r ReviewDue) State {
	s.Reviews, s.ChangedAt = append(s.Reviews, r), r.At
	slices.SortStableFunc(s.Reviews, func(a, b ReviewDue) int { return a.Due.Compare(b.Due) })
	return s
}

func applyReviewed(s State, r ReviewClosed) State {
	s.Reviews = slices.DeleteFunc(s.Reviews, func(d ReviewDue) bool { return d.Subject == r.Subject })
	s.Reviewed, s.ChangedAt = append(s.Reviewed, r), r.At
	return s
}
