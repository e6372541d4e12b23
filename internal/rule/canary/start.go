package canary

import (
	"fmt"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// adopt records what runs on the target without a rollout of ours: the first
// baseline, or a deployment made around us.
func (d *decision) adopt(c Command) error {
	if err := checkArtifact(c.Artifact); err != nil {
		return err
	}
	if r := d.s.Run; r != nil {
		return gov.Errorf(gov.KindConflict, "rollout_running", "attempt %d is rolling out on %s; what is stable cannot be replaced now", r.Attempt, d.s.Target).
			WithHint("govern rollout status")
	}
	d.emit(EvStable, StableSet{Deployed: Deployed{Change: c.Change, Revision: c.Revision, Artifact: c.Artifact, At: d.now}, Cause: "adopted"})
	return nil
}

func checkArtifact(a gov.Artifact) error {
	if a.Name == "" {
		return gov.Errorf(gov.KindInvalid, "canary_command_invalid", "the artifact has no name")
	}
	_, err := gov.ParseDigest(string(a.Digest))
	return err
}

// start begins a rollout, or queues it behind the running one and those that
// came before.
func (d *decision) start(c Command) error {
	if c.Plan == nil {
		return missing(c, "a plan")
	}
	if _, err := gov.ParseChangeID(string(c.Change)); err != nil {
		return err
	}
	if err := checkArtifact(c.Artifact); err != nil {
		return err
	}
	plan := c.Plan.WithDefaults()
	if err := plan.Validate(); err != nil {
		return err
	}
	queued := slices.IndexFunc(d.s.Queue, func(q Request) bool { return q.Change == c.Change })
	if d.s.Run != nil && d.s.Run.Change == c.Change && d.s.Run.Kind == Rollout || queued > 0 || queued == 0 && d.s.Run != nil {
		return gov.Errorf(gov.KindConflict, "rollout_running", "%s is already rolling out or waiting on %s", c.Change, d.s.Target).
			WithHint("govern rollout status")
	}
	retry := c.Type == CmdRetry || queued == 0 && d.s.Queue[0].Retry
	if err := d.mayStart(c, retry); err != nil {
		if queued == 0 { // its turn, and it may not: the next one must not wait for it
			d.emit(EvRefused, Refused{c.Change, err.Code, err.Message})
			return nil
		}
		return err
	}
	if d.s.Run != nil || len(d.s.Queue) > 0 && queued != 0 {
		d.emit(EvQueued, Request{c.Change, c.Revision, c.Artifact, retry, d.now})
		return nil
	}
	d.emit(EvStarted, Started{
		Kind: Rollout, Attempt: d.s.Attempts + 1, Change: c.Change, Revision: c.Revision, Artifact: c.Artifact,
		Plan: plan, By: c.By, At: d.now,
	})
	return nil
}

// mayStart refuses by name what must not get traffic.
func (d *decision) mayStart(c Command, retry bool) *gov.Error {
	if b, ok := d.s.Blocked[c.Artifact.Digest]; ok {
		return gov.Errorf(gov.KindRefused, "digest_blocked", "%s %s was rolled back on %s by verdict in attempt %d (%s): %s",
			c.Artifact.Name, c.Artifact.Digest.Short(), d.s.Target, b.Attempt, b.Change, b.Reason).
			WithHint("build a fixed artifact, or have it unblocked by a signed statement: govern rollout unblock %s --artifact %s -m REASON", d.s.Target, c.Artifact.Digest)
	}
	i := slices.IndexFunc(d.s.Ended, func(e Ended) bool { return e.Change == c.Change })
	if retry && i < 0 {
		return gov.Errorf(gov.KindConflict, "nothing_to_retry", "%s has no ended attempt on %s", c.Change, d.s.Target).
			WithHint("govern rollout start %s", c.Change)
	}
	if s := d.s.Stable; s == nil {
		return gov.Errorf(gov.KindRefused, "no_stable", "nothing is known to be stable on %s, so there is nothing to go back to", d.s.Target).
			WithHint("deploy what is stable to %s by hand; govern serve records what answers in its stable slot", d.s.Target)
	} else if s.Artifact.Digest == c.Artifact.Digest {
		return gov.Errorf(gov.KindRefused, "candidate_is_stable", "%s %s is what is stable on %s now",
			c.Artifact.Name, c.Artifact.Digest.Short(), d.s.Target)
	}
	if len(c.TakesBack) > 0 {
		return gov.Errorf(gov.KindRefused, "takes_back_stable", "the candidate of %s was built without %s, which is stable on %s: it would be taken back",
			c.Change, strings.Join(c.TakesBack, ", "), d.s.Target).
			WithHint("rebase %s on the target branch and build again", c.Change)
	}
	if !retry && i >= 0 && d.s.Ended[i].Digest == c.Artifact.Digest {
		return gov.Errorf(gov.KindConflict, "retry_needed", "attempt %d of %s with this artifact ended: %s",
			d.s.Ended[i].Attempt, c.Change, strings.ReplaceAll(d.s.Ended[i].How, "_", " ")).
			WithHint("govern rollout start %s --retry", c.Change)
	}
	return nil
}

// restore goes back to what was stable before a merge: it is deployed, found
// healthy, identified, gets all traffic at once, and must do without exceeding
// a limit for RestoreSeconds. The command's plan, where it has one, gives the
// limits and durations.
func (d *decision) restore(c Command, reason string) error {
	prev := d.s.Previous
	if prev == nil || d.s.Stable == nil {
		return gov.Errorf(gov.KindConflict, "nothing_to_roll_back", "nothing is rolling out on %s and nothing older is known", d.s.Target).
			WithHint("govern rollout history")
	}
	plan := Plan{Judge: Config{Strategy: Default()}}
	if c.Plan != nil {
		plan = *c.Plan
	}
	plan = plan.restoring()
	if err := plan.Validate(); err != nil {
		return err
	}
	d.emit(EvStarted, Started{
		Kind: Restore, Attempt: d.s.Attempts + 1, Change: prev.Change, Revision: prev.Revision, Artifact: prev.Artifact,
		Plan: plan, Reason: reason, By: c.By, At: d.now,
	})
	d.page("restore", fmt.Sprintf("going back to %s %s: %s", prev.Artifact.Name, prev.Artifact.Digest.Short(), reason))
	return nil
}

// restoring is p with the one step of a way back after a merge. What was good
// before need not earn a promotion: only the limits stand.
func (p Plan) restoring() Plan {
	p = p.WithDefaults()
	p.Steps = []Step{{Name: "restored", Kind: StepTraffic, Weight: 100, Seconds: p.RestoreSeconds}}
	p.Judge.Strategy.Enabled = false // no canary: all traffic at once
	p.Judge.Strategy.PromotionCriteria = nil
	p.Judge.ModelChange = false
	p.Judge.Absent = map[string]string{
		Throughput: "there is no baseline beside a restored version",
		Latency:    "a restored version was fast enough before",
	}
	return p
}
