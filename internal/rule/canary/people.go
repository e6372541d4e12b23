package canary

import (
	"fmt"
	"slices"

	"github.com/governhq/govern/internal/gov"
)

func (d *decision) notRunning() *gov.Error {
	return gov.Errorf(gov.KindConflict, "no_rollout", "nothing is rolling out on %s", d.s.Target).WithHint("govern rollout status")
}

// forward is the running rollout when it is still on its way forward.
func (d *decision) forward() (*Run, *gov.Error) {
	r := d.s.Run
	switch {
	case r == nil:
		return nil, d.notRunning()
	case r.Phase == Reverting:
		return nil, gov.Errorf(gov.KindConflict, "rolling_back", "attempt %d is rolling back: %s", r.Attempt, r.Ending.Reason).WithHint("govern rollout status")
	case r.Phase == Settling:
		return nil, gov.Errorf(gov.KindConflict, "already_stable", "%s is merged and stable on %s already", r.Change, d.s.Target).WithHint("govern rollout status")
	}
	return r, nil
}

func (d *decision) pause(c Command) error {
	r, err := d.forward()
	if err != nil {
		return err
	}
	if r.Paused {
		return gov.Errorf(gov.KindConflict, "rollout_paused", "the rollout is paused already").WithHint("govern rollout resume %s -m WHY", d.s.Target)
	}
	d.say(EvPaused, c.By, cut(c.Reason, maxReason))
	return nil
}

func (d *decision) resume(c Command) error {
	r, err := d.forward()
	if err != nil {
		return err
	}
	if !r.Paused {
		return gov.Errorf(gov.KindConflict, "rollout_not_paused", "the rollout is not paused").WithHint("govern rollout status")
	}
	d.say(EvResumed, c.By, "")
	return nil
}

// abort stops and goes back to stable; the digest stays free. What waits in
// the queue leaves it.
func (d *decision) abort(c Command) error {
	if c.Change != "" && (d.s.Run == nil || d.s.Run.Change != c.Change) {
		if d.leaveQueue(c.Change, "aborted", "aborted while it waited") {
			return nil
		}
		return d.notRunning()
	}
	switch r := d.s.Run; {
	case r == nil:
		return d.notRunning()
	case r.Phase == Settling:
		return gov.Errorf(gov.KindConflict, "already_stable", "%s is merged and stable on %s already", r.Change, d.s.Target).
			WithHint("govern change revert %s", r.Change)
	case r.Phase == Reverting:
		d.repeat()
		return nil
	}
	d.revert(ByAbort, reasonOr(c.Reason, "aborted"), c.By)
	return nil
}

// repeat orders again what a way back still waits for.
func (d *decision) repeat() { d.effects = append(d.effects, Pending(d.s)...) }

func reasonOr(reason, otherwise string) string {
	if reason == "" {
		return otherwise
	}
	return cut(reason, maxReason)
}

// rollback undoes: a running rollout goes back to stable; after the merge the
// previously stable artifact is restored.
func (d *decision) rollback(c Command) error {
	r := d.s.Run
	reason := reasonOr(c.Reason, "a person asked for it")
	switch {
	case r == nil:
		return d.restore(c, reason)
	case r.Phase == Settling && r.Kind == Rollout:
		d.say(EvFinished, c.By, "interrupted by a rollback")
		return d.restore(c, reason)
	case r.Phase == Reverting || r.Phase == Settling:
		d.repeat()
		return nil
	}
	d.revert(ByPerson, reason, c.By)
	return nil
}

// promote lets a person promote what is held: neither good enough for the
// criteria nor bad enough for the thresholds. Never against a rollback, never
// while nothing fresh is measured, never by anything but a human who explains.
func (d *decision) promote(c Command) error {
	st := c.Statement
	if st == nil {
		return missing(c, "a signed statement")
	}
	r, err := d.forward()
	if err != nil {
		return err
	}
	if r.Phase != Held {
		return gov.Errorf(gov.KindConflict, "rollout_not_held", "attempt %d is not held; only what the judge could not decide is promoted by a person", r.Attempt).
			WithHint("govern rollout status")
	}
	if r.Frozen != "" {
		return gov.Errorf(gov.KindConflict, "rollout_frozen", "nothing is promoted blind: the rollout is frozen (%s)", r.Frozen).WithHint("govern rollout status")
	}
	if err := d.checkStatement(*st, gov.DecidePromote); err != nil {
		return err
	}
	outcome := d.s.Outcome()
	if st.Change != r.Change || st.Revision.Change != r.Revision.Change {
		return notCounted("other_revision", "it is about another change or revision")
	}
	if st.Outcome == nil || *st.Outcome != *outcome {
		return notCounted("other_outcome", fmt.Sprintf("it does not name attempt %d and its verdict %s", outcome.Attempt, outcome.Verdict.Short()))
	}
	v := r.Latched.Verdict
	v.Verdict, v.Evidence.Code = Promote, CodeStatement
	v.Reason = "promoted by a person where the judge held: " + v.Reason
	d.latch(v, st)
	return nil
}

func notCounted(code, why string) *gov.Error {
	return gov.Errorf(gov.KindRefused, code, "the statement does not count: %s", why).WithHint("govern rollout status shows what to sign")
}

func (d *decision) checkStatement(st gov.Recorded, want gov.Decision) *gov.Error {
	switch {
	case st.Decision != want:
		return notCounted("other_decision", fmt.Sprintf("it says %q, not %q", st.Decision, want))
	case st.Target != d.s.Target:
		return notCounted("other_target", fmt.Sprintf("it is about target %q, not %q", clip(st.Target), d.s.Target))
	case st.SignerKind != gov.Human:
		return notCounted("not_human", "only a person can do this")
	case !st.Explained:
		return notCounted("no_rationale", "it gives no rationale")
	case !st.Expires.IsZero() && !d.now.Before(st.Expires):
		return notCounted("statement_expired", "it has expired")
	}
	return nil
}

// unblock lifts the block of a digest on this target.
func (d *decision) unblock(c Command) error {
	if c.Statement == nil {
		return missing(c, "a signed statement")
	}
	if err := d.checkStatement(*c.Statement, gov.DecideUnblock); err != nil {
		return err
	}
	lifted := 0
	for _, a := range c.Statement.Artifacts {
		if _, ok := d.s.Blocked[a.Digest]; ok {
			d.emit(EvUnblocked, Unblocked{a.Digest, c.Statement.Digest, c.Statement.Signer, d.now})
			lifted++
		}
	}
	if lifted == 0 {
		return gov.Errorf(gov.KindConflict, "digest_not_blocked", "no artifact the statement names is blocked on %s", d.s.Target).
			WithHint("govern rollout status")
	}
	return nil
}

// revision goes back when the change that rolls out is not what it was.
func (d *decision) revision(c Command) error {
	if r := d.s.Run; r != nil && r.Kind == Rollout && r.Change == c.Change && r.Revision.Change != c.Revision.Change {
		d.revert(ByRevision, string(c.Change)+" has a new revision", c.By)
	}
	i := slices.IndexFunc(d.s.Queue, func(q Request) bool { return q.Change == c.Change })
	if i >= 0 && d.s.Queue[i].Revision.Change != c.Revision.Change {
		d.leaveQueue(c.Change, "new_revision", string(c.Change)+" has a new revision")
	}
	return nil
}

func (d *decision) rejected(c Command) error {
	reason := reasonOr(c.Reason, string(c.Change)+" was rejected")
	if r := d.s.Run; r != nil && r.Kind == Rollout && r.Change == c.Change {
		d.revert(ByReject, reason, c.By)
	}
	d.leaveQueue(c.Change, "rejected", reason)
	return nil
}

func (d *decision) leaveQueue(id gov.ChangeID, code, reason string) bool {
	if !slices.ContainsFunc(d.s.Queue, func(q Request) bool { return q.Change == id }) {
		return false
	}
	d.emit(EvRefused, Refused{id, code, reason})
	return true
}

func (d *decision) lost(c Command) error {
	if d.s.Run == nil {
		return d.notRunning()
	}
	d.revert(ByLost, reasonOr(c.Reason, "infrastructure was lost"), c.By)
	return nil
}

// approved records that the final approval of this very outcome is complete.
func (d *decision) approved(c Command) error {
	r, err := d.forward()
	if err != nil {
		return err
	}
	switch {
	case c.Outcome == nil:
		return missing(c, "an outcome")
	case r.Phase != Final || r.Change != c.Change:
		return gov.Errorf(gov.KindConflict, "not_final", "%s does not wait for its final approval on %s", c.Change, d.s.Target).WithHint("govern rollout status")
	case *c.Outcome != *d.s.Outcome():
		return notCounted("other_outcome", fmt.Sprintf("it is about attempt %d, not %d, or about another verdict", c.Outcome.Attempt, r.Attempt))
	case r.Approved:
		return nil
	}
	d.say(EvApproved, c.By, "")
	return nil
}

// merged makes a candidate with all traffic the stable one. A merge that came
// early (an override) is remembered and counts when all traffic is reached.
func (d *decision) merged(c Command) error {
	r := d.s.Run
	if r == nil || r.Kind != Rollout || r.Change != c.Change || r.Phase == Reverting || r.Phase == Settling || r.Merged {
		return nil
	}
	d.say(EvMerged, c.By, "")
	if r.Phase == Final {
		d.settle(d.deployed(), "merged")
	}
	return nil
}
