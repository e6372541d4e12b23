package canary

import (
	"fmt"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Types of effects. page and wake are not confirmed.
const (
	DoDeploy      = "deploy"       // Candidate runs at Target, beside what is there
	DoCheckHealth = "check_health" // it answers its health check
	DoIdentify    = "identify"     // it says which digest it is
	DoSetWeight   = "set_weight"   // Candidate has Weight per cent of the traffic, Stable the rest
	DoUndeploy    = "undeploy"     // Candidate does not run at Target any more
	DoWake        = "wake"         // send CmdTick, or CmdStart when a change is named, at At
	DoPage        = "page"         // call a person
)

// tries is how often an action is tried before it counts as failed for good.
// set_weight on the way back, and everything that restores, never gives up.
var tries = map[string]int{DoDeploy: 3, DoCheckHealth: 8, DoIdentify: 3, DoSetWeight: 5, DoUndeploy: 5}

// unconfirmedSeconds after which an effect without an outcome is ordered again.
const unconfirmedSeconds = 60

// key names an action within an attempt: stream/step.action@place/attempt.
func key(s State, a Action, attempt int) string {
	place := ""
	if a.Place != "" {
		place = "@" + a.Place
	}
	return fmt.Sprintf("%s/%s.%s%s/%d", s.stream(), a.Step, a.Do, place, attempt)
}

// effect is an action as the engine gets it.
func effect(s State, a Action) gov.Effect {
	target := s.Target
	if a.Place != "" {
		target = a.Place
	}
	return gov.Effect{
		Key: key(s, a, s.Run.Attempt), Type: a.Do, Target: target,
		Data: canonical(Work{Attempt: s.Run.Attempt, Change: s.Run.Change, Candidate: a.Candidate, Stable: a.Stable, Weight: a.Weight}),
	}
}

// intend orders the first action of the list.
func (d *decision) intend(try int) {
	r := d.s.Run
	a := r.Todo[0]
	d.emit(EvIntended, Intended{r.Attempt, key(d.s, a, r.Attempt), a, try, d.now})
	d.effects = append(d.effects, effect(d.s, a))
}

func (d *decision) confirm(c Command) error {
	if c.Confirm == nil {
		return missing(c, "confirm")
	}
	r := d.s.Run
	if r == nil || r.Intent == nil || r.Intent.Key != c.Confirm.Key {
		d.stray(*c.Confirm)
		return nil
	}
	a := r.Todo[0]
	if why := refuted(a, *c.Confirm); why != "" {
		d.failed(a, why)
		return nil
	}
	d.emit(EvConfirmed, Confirmed{r.Attempt, c.Confirm.Key, a, c.Confirm.Digest, "", d.now})
	return nil
}

// refuted says why a confirmation does not confirm the action, or "".
func refuted(a Action, c Confirm) string {
	switch {
	case !c.OK && c.Reason == "":
		return "it failed without a reason"
	case !c.OK:
		return cut(c.Reason, maxReason)
	case a.Do == DoSetWeight && c.Weight == nil:
		return "the weight was not read back"
	case a.Do == DoSetWeight && *c.Weight != a.Weight:
		return fmt.Sprintf("the weight reads %d, not %d", *c.Weight, a.Weight)
	case a.Do == DoIdentify && c.Digest != a.Candidate.Digest:
		return fmt.Sprintf("what answers says it is %q, not %s", cut(string(c.Digest), 80), a.Candidate.Digest)
	}
	return ""
}

// stray handles the outcome of something that is not being waited for: when it
// left the candidate with more traffic than is planned, the level is set again.
func (d *decision) stray(c Confirm) {
	if c.Weight != nil && *c.Weight > PlannedWeight(d.s) {
		d.relevel()
	}
}

// relevel orders the planned weight again. It is no new step and no event: the
// level is what was last intended.
func (d *decision) relevel() {
	if e, ok := level(d.s); ok {
		d.effects = append(d.effects, e)
	}
}

// failed records a failure and tries again later, or draws the consequence.
func (d *decision) failed(a Action, why string) {
	r := d.s.Run
	try := r.Intent.Try
	final := try >= tries[a.Do]
	wait := time.Duration(min(30, 1<<min(try-1, 5))) * time.Second
	d.emit(EvFailed, ActionFailed{r.Attempt, r.Intent.Key, try, why, d.now.Add(wait), d.now})
	if !final {
		return
	}
	stuck := fmt.Sprintf("%s failed %d times: %s", a.Do, try, why)
	switch {
	case a.Do == DoUndeploy: // it has no traffic any more: leave it and say so
		d.page("undeploy", stuck)
		d.emit(EvConfirmed, Confirmed{r.Attempt, key(d.s, a, r.Attempt), a, "", stuck, d.now})
	case r.Phase == Reverting || r.Phase == Settling || r.Kind == Restore:
		if try%tries[a.Do] == 0 {
			d.page("stuck", stuck)
		}
	default:
		d.revert(ByFailure, stuck, "")
	}
}

func (d *decision) page(what, reason string) {
	r := d.s.Run
	d.effects = append(d.effects, gov.Effect{
		Key: fmt.Sprintf("%s/page.%s/%d", d.s.stream(), what, r.Attempt), Type: DoPage, Target: d.s.Target,
		Data: canonical(Work{Attempt: r.Attempt, Change: r.Change, Candidate: r.Artifact, Stable: d.stable(), Weight: r.Weight, Reason: reason}),
	})
}

// missing is the error for a command without the facts it needs.
func missing(c Command, field string) error {
	return gov.Errorf(gov.KindInvalid, "canary_command_invalid", "the command %s needs %s", c.Type, field)
}
