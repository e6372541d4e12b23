package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/policy"
)

// Withdraw closes an open change for one of its authors or its owner.
func (e *Engine) Withdraw(ctx context.Context, actor gov.Principal, id gov.ChangeID) (Receipt, error) {
	receipt, _, err := e.do(ctx, request{Actor: actor, Name: "change.withdraw"}, func(ctx context.Context, t *tx) error {
		st, err := t.change(ctx, id)
		if err != nil {
			return err
		}
		evs, err := change.Decide(st, change.Withdraw{By: actor.Handle}, change.Known{}, t.now)
		if err != nil {
			return err
		}
		if err := t.emit(ctx, evs...); err != nil {
			return err
		}
		return e.abandon(ctx, t, id)
	})
	return receipt, err
}

// abandon takes back the rollouts of a change that is no longer wanted.
func (e *Engine) abandon(ctx context.Context, t *tx, id gov.ChangeID) error {
	subjects, err := e.view.Subjects(ctx, targetQuery())
	if err != nil {
		return err
	}
	for _, s := range subjects {
		st, err := t.target(ctx, s.ID)
		if err != nil {
			return err
		}
		waits := slices.ContainsFunc(st.Queue, func(q canary.Request) bool { return q.Change == id })
		if !waits && (st.Run == nil || st.Run.Change != id || st.Run.Kind != canary.Rollout) {
			continue
		}
		if _, err := t.command(ctx, s.ID, canary.Command{Type: canary.CmdAbort, Change: id, By: "govern", Reason: "withdrawn"}); err != nil {
			return err
		}
	}
	return nil
}

// Wait answers when a change reaches a state: a status (merged), an answer
// (allowed), or a stage that is open now (canary) or passed ("canary:done").
// When ctx ends first, the error is wait_timeout.
func (e *Engine) Wait(ctx context.Context, id gov.ChangeID, state string) (ChangeAnswer, error) {
	if !waitable(state) {
		return ChangeAnswer{}, gov.Errorf(gov.KindInvalid, "wait_state_unknown", "nothing can be waited for under the name %q", state).
			WithHint("wait for open, merged, reverted, withdrawn, allowed, pending, refused, or a stage such as canary")
	}
	for {
		a, err := e.waited(ctx, id)
		if err != nil && ctx.Err() == nil {
			return a, err
		}
		if err == nil && reached(a, state) {
			return a, nil
		}
		// Another process may be the writer: the log's size is looked at again.
		select {
		case <-ctx.Done():
			return a, gov.Errorf(gov.KindTimeout, "wait_timeout", "%s did not become %q in time; it is %s", id, state, describe(a)).WithHint("govern status %s", id)
		case <-time.After(waitPoll):
		}
	}
}

const waitPoll = 200 * time.Millisecond

func waitable(state string) bool {
	words := []string{"open", "merged", "reverted", "withdrawn", string(gov.Allowed), string(gov.Pending), string(gov.Refused)}
	for _, k := range policy.StageKinds {
		words = append(words, string(k), string(k)+":done")
	}
	return slices.Contains(words, state)
}

func (e *Engine) waited(ctx context.Context, id gov.ChangeID) (ChangeAnswer, error) {
	if err := e.catch(ctx); err != nil {
		return ChangeAnswer{}, err
	}
	st, err := e.stateOf(ctx, id)
	if err != nil || st.Status != change.Open {
		return ChangeAnswer{State: st, Local: e.identity.Local}, err
	}
	return e.Look(ctx, id)
}

func reached(a ChangeAnswer, state string) bool {
	if string(a.State.Status) == state || string(a.Verdict.Answer) == state {
		return true
	}
	if a.Verdict.Stage != "" && a.Verdict.Stage == state {
		return true
	}
	return slices.ContainsFunc(a.State.Stages, func(p change.Passed) bool { return p.Stage+":done" == state })
}

func describe(a ChangeAnswer) string {
	if a.Verdict.Answer == "" {
		return string(a.State.Status)
	}
	return string(a.Verdict.Answer) + " at stage " + a.Verdict.Stage
}

// Admit answers whether an artifact may take all traffic on a target now: it is
// stable there, or it has passed its rollout there and waits for its merge, and
// it is not blocked. Build once, promote the same digest.
func (e *Engine) Admit(ctx context.Context, artifact gov.Digest, target string) (GateAnswer, error) {
	if err := e.catch(ctx); err != nil {
		return GateAnswer{}, err
	}
	st, err := e.Target(ctx, target)
	if err != nil {
		return GateAnswer{}, err
	}
	out := GateAnswer{Governed: true}
	refuse := func(code, hint, format string, args ...any) (GateAnswer, error) {
		out.Problems = append(out.Problems, Problem{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
		return out, nil
	}
	if b, ok := st.Blocked[artifact]; ok {
		return refuse("digest_blocked", "govern rollout unblock "+target+" --artifact "+string(artifact)+" -m REASON",
			"%s failed on %s in attempt %d (%s) and is blocked until a person unblocks it", artifact.Short(), target, b.Attempt, b.Change)
	}
	switch {
	case st.Stable != nil && st.Stable.Artifact.Digest == artifact:
	case st.Run != nil && st.Run.Artifact.Digest == artifact && st.Run.Phase == canary.Final && st.Run.Approved:
	case st.Run != nil && st.Run.Artifact.Digest == artifact:
		return refuse("rollout_running", "govern rollout status "+target, "%s is still rolling out on %s: %s", artifact.Short(), target, progress(st.Run))
	default:
		return refuse("artifact_not_promoted", "govern rollout history "+target, "%s was never promoted on %s", artifact.Short(), target)
	}
	out.Allowed = true
	return out, nil
}

// LogReport is the result of checking the log.
type LogReport struct{ ledger.Report }

// Counts are the numbers of a check, for people.
func (r LogReport) Counts() map[string]any {
	return map[string]any{
		"records": r.Records, "bytes": r.Bytes, "checkpoint": r.Checkpoint, "root": r.Root, "streams": r.Streams,
		"hashes": r.Hashes, "torn": len(r.Torn), "unchecked": r.Unchecked, "turns": r.Turns, "derived_missing": len(r.Derived) > 0,
	}
}

// VerifyLog checks every promise of the log against its pinned identity.
func (e *Engine) VerifyLog(ctx context.Context) (LogReport, error) {
	return CheckDir(ctx, e.cfg.Dir, e.identity, e.cfg.SecondPlace)
}

// CheckDir checks the governance log in a directory, which need not be open.
func CheckDir(ctx context.Context, dir string, id Identity, secondPlace string) (LogReport, error) {
	v, err := ledger.ParseVerifier(id.Key)
	if err != nil {
		return LogReport{}, err
	}
	rep, err := ledger.Check(ctx, dir, ledger.CheckOptions{
		Mode: ledger.Governance, Verifier: v, Genesis: id.Genesis, SecondPlace: secondPlace, Adds: ledger.EventAdds,
	})
	return LogReport{rep}, err
}

// CheckTail is CheckDir from the last saved state on.
func CheckTail(ctx context.Context, dir string, id Identity, secondPlace string) (LogReport, error) {
	v, err := ledger.ParseVerifier(id.Key)
	if err != nil {
		return LogReport{}, err
	}
	rep, err := ledger.CheckTail(ctx, dir, ledger.CheckOptions{
		Mode: ledger.Governance, Verifier: v, Genesis: id.Genesis, SecondPlace: secondPlace, Adds: ledger.EventAdds,
	})
	return LogReport{rep}, err
}

// Summary is a target in one sentence.
func Summary(st canary.State) string {
	switch {
	case st.Run == nil && st.Stable == nil:
		return "nothing is known to run on " + st.Target
	case st.Run == nil:
		return fmt.Sprintf("%s is stable on %s", st.Stable.Artifact.Digest.Short(), st.Target)
	}
	run := st.Run
	switch run.Phase {
	case canary.Reverting:
		return fmt.Sprintf("%s is being taken back from %s: %s", run.Change, st.Target, run.Ending.Reason)
	case canary.Settling:
		return fmt.Sprintf("%s is merged; the old version is being taken away from %s", run.Change, st.Target)
	case canary.Final:
		if run.Approved {
			return fmt.Sprintf("%s has all traffic of %s, is approved and waits for its merge", run.Change, st.Target)
		}
		return fmt.Sprintf("%s has all traffic of %s and waits for the final approval until %s", run.Change, st.Target, run.Deadline.Format(time.RFC3339))
	}
	return fmt.Sprintf("%s on %s: %s", run.Change, st.Target, progress(run))
}
