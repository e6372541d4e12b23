package canary

import (
	"fmt"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// silent is the freeze that no window at all brings about.
const silent = "silent"

// report takes an awaited report: passed goes on, failed goes back.
func (d *decision) report(c Command) error {
	if c.Report == nil {
		return missing(c, "a report")
	}
	r, err := d.forward()
	if err != nil {
		return err
	}
	if r.Phase != Waiting || r.step().Name != c.Report.Step {
		return gov.Errorf(gov.KindConflict, "report_not_awaited", "attempt %d does not wait for a report %q", r.Attempt, clip(c.Report.Step)).
			WithHint("govern rollout status")
	}
	if _, err := gov.ParseDigest(string(c.Report.Evidence)); err != nil {
		return missing(c, "the digest of the statement that carries the report")
	}
	rep := *c.Report
	rep.Reason = cut(rep.Reason, maxReason)
	d.emit(EvReported, Reported{r.Attempt, rep})
	if !rep.Passed {
		d.revert(ByReport, reasonOr(rep.Reason, rep.Step+" did not pass"), c.By)
	}
	return nil
}

// window judges what was measured. Windows count only while the clock of a
// step runs; at every other time with traffic on the candidate they can still
// roll it back.
func (d *decision) window(c Command) error {
	if c.Window == nil {
		return missing(c, "a window")
	}
	if err := c.Window.Validate(); err != nil {
		return err
	}
	r := d.s.Run
	if r == nil || r.Live == 0 || r.Phase == Reverting || r.Phase == Settling || c.Window.Seq <= r.Watch.Seq {
		return nil
	}
	w, strayed := *c.Window, false
	if w.Weight != float64(r.Live) {
		w.State = Ambiguous // measured at another weight than this step's
		strayed = r.Live == r.Weight || w.Weight > float64(r.Weight)
	}
	cfg := r.Plan.config(r.Step)
	watch, v := cfg.Fold(r.Watch, w, r.Phase != Watching || r.Paused)
	d.emit(EvObserved, Observed{r.Attempt, watch, d.now})
	d.freeze(v.Evidence.Frozen)
	d.act(v)
	d.clock()
	if strayed && d.s.Run.Phase != Reverting { // whose own order is 0
		d.relevel()
	}
	return nil
}

// freeze records that the clock stopped or runs again.
func (d *decision) freeze(why string) {
	r := d.s.Run
	switch {
	case why == r.Frozen:
	case why == "":
		d.say(EvThawed, "", "")
	case r.Frozen != "" && (why == "baseline") == (r.Frozen == "baseline"):
		// another shape of the same silence: its clock runs on
	default:
		d.emit(EvFrozen, Frozen{r.Attempt, why, d.now})
	}
}

// act draws the consequence of a verdict.
func (d *decision) act(v Verdict) {
	r := d.s.Run
	switch {
	case v.Verdict == Rollback && r.Kind == Restore:
		d.hold(v) // there is nowhere left to go back to: a person decides
	case v.Verdict == Rollback:
		d.revertByVerdict(v)
	case r.Phase != Watching || r.Paused || !v.Evidence.Ended:
	case v.Verdict == Promote || r.Kind == Restore && v.Verdict == Hold && v.Evidence.Code != CodeSample:
		v.Verdict = Promote
		d.latch(v, nil)
	case !r.Watch.Extended:
		d.say(EvExtended, "", v.Reason)
	default:
		d.hold(v)
	}
}

// hold latches that neither promotion nor rollback was decided and asks for a
// person.
func (d *decision) hold(v Verdict) {
	if d.s.Run.Phase == Held {
		return
	}
	v.Verdict = Hold
	d.latch(v, nil)
	d.say(EvHeld, "", v.Reason)
	d.page("held", v.Reason)
}

// tick does what time alone makes due.
func (d *decision) tick(Command) error {
	r := d.s.Run
	if r == nil {
		if len(d.s.Queue) > 0 {
			d.effects = append(d.effects, nextInQueue(d.s, d.now))
		}
		return nil
	}
	switch {
	case r.Retry != nil && !d.now.Before(r.Retry.At):
		if !r.Paused {
			d.intend(r.Retry.Try)
		}
	case r.Intent != nil && !d.now.Before(r.Intent.At.Add(unconfirmedSeconds*time.Second)):
		d.effects = append(d.effects, effect(d.s, r.Todo[0])) // level-triggered: asking twice is asking once
	}
	d.clock()
	return nil
}

// clock does what the wall clock decides: silence freezes, a freeze that lasts
// calls somebody and may roll back, a final approval that does not come rolls
// back. The step's own clock is not the wall's.
func (d *decision) clock() {
	r := d.s.Run
	if r == nil || r.Phase == Reverting || r.Phase == Settling {
		return
	}
	if r.listening() && r.Frozen == "" && !d.now.Before(r.Heard.Add(seconds(r.Plan.SilentSeconds))) {
		d.emit(EvFrozen, Frozen{r.Attempt, silent, d.now})
	}
	if r = d.s.Run; r.Frozen != "" {
		d.frozen()
	}
	if r = d.s.Run; r.Phase == Final && !r.Approved && !d.now.Before(r.Deadline) {
		d.revert(ByTimeout, fmt.Sprintf("no final approval came within %s minutes", minutes(r.Plan.FinalSeconds)), "")
	}
}

// listening tells whether windows are expected.
func (r *Run) listening() bool {
	return r.Live > 0 && (r.Phase == Watching || r.Phase == Held || r.Phase == Final)
}

func (d *decision) frozen() {
	r := d.s.Run
	cfg := r.Plan.config(r.Step)
	baseline := r.Frozen == "baseline"
	if !r.Paged && (baseline || !d.now.Before(r.FrozenAt.Add(seconds(r.Plan.PageSeconds)))) {
		why := "the rollout is frozen: " + frozenWords(r.Frozen)
		d.say(EvPaged, "", why)
		d.page("frozen", why)
	}
	limit, code := cfg.MissingRollbackSeconds, CodeMissing
	if baseline {
		limit, code = cfg.UnhealthySeconds, CodeBaseline
	}
	if limit == 0 || d.now.Before(r.FrozenAt.Add(seconds(limit))) {
		return
	}
	reason := fmt.Sprintf("%s for %s minutes", frozenWords(r.Frozen), minutes(limit))
	d.act(r.Watch.verdict(Rollback, code, reason))
}

func frozenWords(why string) string {
	switch why {
	case "baseline":
		return "the baseline itself is over the limits"
	case silent:
		return "no window of measurements came"
	}
	return Signal(why).words()
}
