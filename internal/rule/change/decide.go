package change

import (
	"slices"
	"strconv"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Command is something that somebody wants to do to a change: one of Propose,
// Revise, Record, Pass, Gate, ConfirmMerge, ConfirmRevert and Withdraw.
type Command interface{ isCommand() }

// Propose opens a change. At is filled by Decide.
type Propose struct{ Proposed }

// Revise brings a change to another revision. Where only the commit, base or
// tree differ, the change is carried over; where nothing differs, nothing
// happens. From and At are filled by Decide.
type Revise struct{ Revised }

// Record takes in a verified statement. With a DecideReview statement that
// Known.Reviews names, it also closes the review.
type Record struct{ Statement gov.Recorded }

// Pass latches a stage that Known.Verdict shows done, all before it included.
type Pass struct{ Stage string }

// Gate asks for permission to merge. The answer is the event: merge.allowed or
// merge.refused. A repeated equal answer is no new event.
type Gate struct {
	Ref    string
	Revert bool // the range is the inverse of this change; Known.Verdict judges the inverse
}

// ConfirmMerge tells that the change was seen on a branch.
type ConfirmMerge struct {
	Revision gov.Revision
	Commit   string
	Ref      string
}

// ConfirmRevert tells that the inverse was seen on a branch.
type ConfirmRevert struct {
	Revision gov.Revision // of the inverse
	Commit   string
	By       gov.ChangeID // "" when the inverse is no change of its own
}

// Withdraw closes an open change.
type Withdraw struct{ By string }

func (Propose) isCommand()       {}
func (Revise) isCommand()        {}
func (Record) isCommand()        {}
func (Pass) isCommand()          {}
func (Gate) isCommand()          {}
func (ConfirmMerge) isCommand()  {}
func (ConfirmRevert) isCommand() {}
func (Withdraw) isCommand()      {}

// Known is what the engine has looked up for a command.
type Known struct {
	Verdict   *gov.Verdict  // Pass, Gate: the present one
	Observe   bool          // Gate: the policy only observes
	Overrides []Override    // Pass, Gate: break-glass in force
	Reviews   []Reviewed    // Record: reviews that count
	RevertDue time.Duration // Gate: until the review of a revert
	BypassDue time.Duration // ConfirmMerge, ConfirmRevert: until the review of a merge without permission
}

// Reviewed is a review statement that counts, as package approval found.
type Reviewed struct {
	Subject   gov.Digest
	Statement gov.Digest
	By        string
}

// Decide answers a command with the events that follow from it, or with the
// error that says why not. No events and no error means: already so.
func Decide(s State, c Command, k Known, now time.Time) ([]gov.Event, error) {
	if p, ok := c.(Propose); ok {
		return propose(s, p, now)
	}
	if s.Status == Absent {
		return nil, gov.Errorf(gov.KindNotFound, "change_unknown", "there is no such change").WithHint("govern change list")
	}
	switch c := c.(type) {
	case Revise:
		return revise(s, c, now)
	case Record:
		return record(s, c, k, now)
	case Pass:
		return pass(s, c, k, now)
	case Gate:
		return gate(s, c, k, now)
	case ConfirmMerge:
		return confirmMerge(s, c, k, now)
	case ConfirmRevert:
		return confirmRevert(s, c, k, now)
	case Withdraw:
		return withdraw(s, c, now)
	default:
		return nil, gov.Errorf(gov.KindInternal, "command_unknown", "%T is not a command of a change", c)
	}
}

func propose(s State, c Propose, now time.Time) ([]gov.Event, error) {
	p := c.Proposed
	if s.Status != Absent {
		return nil, gov.Errorf(gov.KindConflict, "change_exists", "%s was already proposed; the later proposal takes the next number", s.ID).
			WithHint("govern submit --renumber")
	}
	if _, err := gov.ParseChangeID(string(p.Change)); err != nil {
		return nil, err
	}
	if err := needRevision(p.Revision); err != nil {
		return nil, err
	}
	if p.Author == "" || p.Owner == "" || p.Proposer == "" {
		return nil, gov.Errorf(gov.KindInvalid, "change_incomplete", "a proposal names an author, an owner and a proposer").WithHint("govern change edit %s", p.Change)
	}
	if p.Declared.Rank() >= len(gov.Risks) {
		_, err := gov.ParseRisk(string(p.Declared))
		return nil, err
	}
	p.At = now
	return events(p.Change, EventProposed, p), nil
}

func revise(s State, c Revise, now time.Time) ([]gov.Event, error) {
	if s.Status != Open {
		return nil, closed(s, "revised")
	}
	r := c.Revised
	if err := needRevision(r.Revision); err != nil {
		return nil, err
	}
	r.From, r.At = s.Revision, now
	switch {
	case r.Revision == s.Revision && r.Metadata == s.Metadata && subset(r.Authors, s.Authors):
		return nil, nil
	case r.Revision.Change == s.Revision.Change:
		return events(s.ID, EventCarried, Carried{From: s.Revision, To: r.Revision, Metadata: r.Metadata, Authors: union(s.Authors, r.Authors), By: r.By, At: now}), nil
	default:
		return events(s.ID, EventRevised, r), nil
	}
}

func withdraw(s State, c Withdraw, now time.Time) ([]gov.Event, error) {
	switch {
	case s.Status == Closed:
		return nil, nil
	case s.Status != Open:
		return nil, closed(s, "withdrawn")
	case c.By == "" || c.By != s.Author && c.By != s.Owner && c.By != s.Proposer && c.By != s.Sponsor && !slices.Contains(s.Authors, c.By):
		return nil, gov.Errorf(gov.KindDenied, "not_yours", "%s can be withdrawn by its authors and its owner", s.ID).WithHint("govern reject %s", s.ID)
	}
	return events(s.ID, EventWithdrawn, Withdrawn{By: c.By, At: now}), nil
}

// record lets a statement into the log. Which of them count is not its matter;
// it only keeps out what can never count any more.
func record(s State, c Record, k Known, now time.Time) ([]gov.Event, error) {
	st := c.Statement
	switch {
	case st.Digest == "" || st.Signer == "":
		return nil, gov.Errorf(gov.KindInvalid, "statement_incomplete", "a recorded statement has a digest and a signer")
	case st.Change != s.ID:
		return nil, gov.Errorf(gov.KindInvalid, "statement_other_change", "the statement is about %q, not about %s", st.Change, s.ID)
	case slices.ContainsFunc(s.Statements, func(o gov.Recorded) bool { return o.Digest == st.Digest }):
		return nil, nil
	case !takes(s.Status, st):
		return nil, closed(s, "given a statement to "+string(st.Decision))
	}
	out := events(s.ID, EventRecorded, st)
	if st.Decision != gov.DecideReview {
		return out, nil
	}
	for _, r := range k.Reviews {
		if r.Statement == st.Digest && r.Subject == st.Subject && slices.ContainsFunc(s.Reviews, func(d ReviewDue) bool { return d.Subject == r.Subject }) {
			out = append(out, events(s.ID, EventReviewed, ReviewClosed{Subject: r.Subject, Statement: r.Statement, By: r.By, At: now})...)
		}
	}
	return out, nil
}

// takes tells which statements a change still takes. After the merge: those
// about its revert, its rollout and its reviews. After a withdrawal: reviews
// and revocations.
func takes(status Status, st gov.Recorded) bool {
	switch status {
	case Open:
		return true
	case Merge, Revert:
		switch st.Decision {
		case gov.DecidePropose, gov.DecideOverride:
			return false
		case gov.DecideApprove:
			return st.Stage == StageRevert
		}
		return true
	default:
		return st.Decision == gov.DecideReview || st.Decision == gov.DecideRevoke
	}
}

func needRevision(r gov.Revision) error {
	for _, d := range []gov.Digest{r.Change, r.Tree} {
		if _, err := gov.ParseDigest(string(d)); err != nil {
			return err
		}
	}
	return nil
}

func closed(s State, done string) error {
	return gov.Errorf(gov.KindConflict, "change_closed", "%s is %s and cannot be %s", s.ID, s.Status, done).WithHint("govern status %s", s.ID)
}

func events(id gov.ChangeID, typ string, data any) []gov.Event {
	return []gov.Event{gov.NewEvent(gov.StreamChange(id), typ, data)}
}

func number(n int) string { return strconv.Itoa(n) }

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(x string) bool { return !slices.Contains(b, x) })
}

// union is the sorted set of both.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
