package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/face/cli"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/sign"
	"github.com/governhq/govern/internal/rule/canary"
)

// stage is a server that plays a target's states, one a request, the last for
// ever, and keeps what it is sent.
type stage struct {
	states []canary.State
	at     int
	events []client.Event
	taken  [][]byte
	calls  []string
}

func (s *stage) RoundTrip(r *http.Request) (*http.Response, error) {
	s.calls = append(s.calls, r.Method+" "+r.URL.Path)
	w := httptest.NewRecorder()
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	switch path := r.URL.Path; {
	case path == "/v1/targets":
		answer(w, client.TargetList{Targets: []client.Target{s.target(s.at)}})
	case path == "/v1/targets/prod":
		answer(w, s.target(s.at))
		s.at = min(s.at+1, len(s.states)-1)
	case path == "/v1/targets/prod/events":
		answer(w, client.EventList{Events: s.events})
	case path == "/v1/changes/CHANGE-1":
		answer(w, client.Change{ID: "CHANGE-1", Status: "open", State: []byte("{}"), Verdict: &gov.Verdict{Change: "CHANGE-1", Risk: gov.RiskHigh}})
	case path == "/v1/statements":
		s.taken = append(s.taken, body)
		answer(w, client.StatementAnswer{})
	case path == "/log/checkpoint":
		io.WriteString(w, "test/village\n1\nroot\n")
	case strings.HasPrefix(path, "/v1/targets/prod/"):
		answer(w, client.Receipt{Index: 7, ID: "x", Recorded: true})
	default:
		w.WriteHeader(http.StatusNotFound)
		answer(w, client.Problem{Kind: gov.KindNotFound, Code: "target_unknown", Detail: "there is no such target"})
	}
	return w.Result(), nil
}

func answer(w io.Writer, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		panic(err)
	}
}

func (s *stage) target(i int) client.Target {
	st := s.states[i]
	raw, err := json.Marshal(st)
	if err != nil {
		panic(err)
	}
	t := client.Target{Name: "prod", State: raw, Summary: engine.Summary(st), Outcome: st.Outcome()}
	if st.Run != nil {
		t.Weight = st.Run.Live
	}
	return t
}

type played struct{ c *client.Client }

func (p played) Client() *client.Client { return p.c }
func (p played) Engine() *engine.Engine { return nil }
func (p played) Where() string          { return "a stage" }
func (p played) Close() error           { return nil }

// on makes the village's commands talk to a stage.
func (v *village) on(s *stage) {
	v.deps.OpenSession = func(context.Context, cli.Workbench, string, string) (cli.Session, error) {
		return played{client.New("http://stage", s)}, nil
	}
}

func (v *village) asWho(handle string) {
	v.deps.Env = func(name string) string {
		if name == "GOVERN_KEY" {
			return v.keys[handle]
		}
		return ""
	}
}

var (
	artifactDigest = gov.DigestOf([]byte("candidate"))
	verdictDigest  = gov.DigestOf([]byte("verdict"))
	changeDigest   = gov.DigestOf([]byte("change"))
)

// running is a target with a rollout in a phase.
func running(phase canary.Phase, change func(*canary.Run)) canary.State {
	r := &canary.Run{
		Kind: canary.Rollout, Attempt: 2, Change: "CHANGE-1", Revision: gov.Revision{Change: changeDigest},
		Artifact: gov.Artifact{Name: "app", Digest: artifactDigest}, Phase: phase, Weight: 5, Live: 5,
		Plan: canary.Plan{
			Steps: []canary.Step{{Name: "canary", Kind: canary.StepTraffic, Weight: 5, Seconds: 3600}, {Name: "full", Kind: canary.StepTraffic, Weight: 100}},
			Judge: canary.Config{Strategy: canary.Default()},
		},
		Watch: canary.Watch{Observed: 1470, Whole: canary.Pair{
			Canary: canary.Side{Requests: 1000, Errors: 7, Over: canary.Tail{AtLeast: 10, AtMost: 20}}, Baseline: canary.Side{Requests: 19000, Errors: 19},
		}},
	}
	if change != nil {
		change(r)
	}
	return canary.State{Target: "prod", Run: r, Attempts: 2}
}

func held() canary.State {
	return running(canary.Held, func(r *canary.Run) {
		r.Latched = &canary.Latched{Target: "prod", Attempt: 2, Step: "canary", Verdict: canary.Verdict{Verdict: canary.Hold, Reason: "neither"}}
		r.Verdict = verdictDigest
	})
}

// TestPromoteNamesWhatItIsAbout: the statement binds to the attempt, the verdict,
// the revision and the artifact, and only a person's key may make it.
func TestPromoteNamesWhatItIsAbout(t *testing.T) {
	v := newVillage(t, villagePolicy)
	s := &stage{states: []canary.State{held()}}
	v.on(s)
	v.asWho("bo")
	v.wants(cli.ExitUsage, []string{"rollout", "promote", "prod"}, "reason_missing")
	v.wants(cli.ExitOK, []string{"rollout", "promote", "prod", "-m", "looked at the errors", "--role", "owner"}, "signed by bo: promote")
	if len(s.taken) != 1 {
		t.Fatalf("%d statements taken", len(s.taken))
	}
	reg := v.peopleOnMain()
	rec, st, err := sign.Verify(s.taken[0], reg, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := gov.Statement{
		Decision: gov.DecidePromote, Stage: "monitor", Change: "CHANGE-1", Target: "prod", Role: "owner", Risk: gov.RiskHigh,
		Revision: gov.Revision{Change: changeDigest}, Artifacts: []gov.Artifact{{Name: "app", Digest: artifactDigest}},
		Outcome: &gov.Outcome{Target: "prod", Attempt: 2, Verdict: verdictDigest}, Rationale: "looked at the errors",
		Policy: st.Policy, Issued: st.Issued, Nonce: st.Nonce, Checkpoint: "test/village\n1\nroot\n",
	}
	if diff := cmp.Diff(want, st); diff != "" || rec.Signer != "bo" {
		t.Errorf("signer %s, statement (-want +got):\n%s", rec.Signer, diff)
	}
	for _, tc := range []struct {
		name, who string
		state     canary.State
		code      int
		says      string
	}{
		{"an agent", "bot", held(), cli.ExitDenied, "not_human"},
		{"a service", "ci", held(), cli.ExitDenied, "not_human"},
		{"not held", "bo", running(canary.Watching, nil), cli.ExitConflict, "rollout_not_held"},
		{"going back", "bo", running(canary.Reverting, func(r *canary.Run) { r.Ending = &canary.Ending{Reason: "bad"} }), cli.ExitConflict, "rollout_not_held"},
		{"nothing there", "bo", canary.State{Target: "prod"}, cli.ExitConflict, "no_rollout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.states, s.at = []canary.State{tc.state}, 0
			v.asWho(tc.who)
			v.wants(tc.code, []string{"rollout", "promote", "prod", "-m", "go on"}, tc.says)
		})
	}
	if len(s.taken) != 1 {
		t.Errorf("%d statements taken", len(s.taken))
	}
}

// TestUnblockNamesTheBlock: it binds to the verdict that blocked the digest.
func TestUnblockNamesTheBlock(t *testing.T) {
	v := newVillage(t, villagePolicy)
	s := &stage{states: []canary.State{{Target: "prod", Blocked: map[gov.Digest]canary.Block{artifactDigest: {Attempt: 4, Change: "CHANGE-1", Verdict: verdictDigest, Reason: "errors"}}}}}
	v.on(s)
	v.asWho("bo")
	v.wants(cli.ExitConflict, []string{"rollout", "unblock", "prod", "--artifact", string(changeDigest), "-m", "fixed"}, "digest_not_blocked")
	v.wants(cli.ExitOK, []string{"rollout", "unblock", "prod", "--artifact", string(artifactDigest), "-m", "the load was bad"}, "signed by bo: unblock")
	_, st, err := sign.Verify(s.taken[0], v.peopleOnMain(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&gov.Outcome{Target: "prod", Attempt: 4, Verdict: verdictDigest}, st.Outcome); diff != "" || st.Artifacts[0].Digest != artifactDigest || st.Target != "prod" {
		t.Errorf("%+v\n%s", st, diff)
	}
	out := v.wants(cli.ExitOK, []string{"rollout", "status", "prod"}, "blocked", "govern rollout unblock prod --artifact "+string(artifactDigest))
	_ = out
}

// TestWatch says each change once, and how it ended.
func TestWatch(t *testing.T) {
	idle := canary.State{Target: "prod", Stable: &canary.Deployed{Artifact: gov.Artifact{Name: "app", Digest: artifactDigest}}}
	gone := idle
	gone.Ended = []canary.Ended{{Change: "CHANGE-1", Attempt: 2, How: "rolled_back", Cause: canary.ByVerdict}}
	done := idle
	done.Ended = []canary.Ended{{Change: "CHANGE-1", Attempt: 2, How: "finished"}}
	back := running(canary.Reverting, func(r *canary.Run) {
		r.Live, r.Ending = 0, &canary.Ending{Cause: canary.ByVerdict, Reason: "error rate 2 % > 1 %"}
	})
	frozen := running(canary.Watching, func(r *canary.Run) { r.Frozen = "stale" })
	for _, tc := range []struct {
		name   string
		states []canary.State
		code   int
		lines  []string
	}{
		{"nothing rolls out", []canary.State{idle}, cli.ExitOK, []string{"prod: " + engine.Summary(idle)}},
		{
			"taken back",
			[]canary.State{running(canary.Watching, nil), running(canary.Watching, nil), frozen, back, gone},
			cli.ExitRefused,
			[]string{
				"prod: CHANGE-1 attempt 2, step 1 of 2 (canary), 5 % live, watching, 24 of 60 min",
				"prod: CHANGE-1 attempt 2, step 1 of 2 (canary), 5 % live, watching, 24 of 60 min, frozen: stale",
				"prod: CHANGE-1 attempt 2, step 1 of 2 (canary), 0 % live, reverting: error rate 2 % > 1 %",
				"prod: " + engine.Summary(gone),
			},
		},
		{
			"all traffic",
			[]canary.State{running(canary.Final, func(r *canary.Run) { r.Step, r.Live = 1, 100 }), done},
			cli.ExitOK,
			[]string{"prod: CHANGE-1 attempt 2, step 2 of 2 (full), 100 % live, final", "prod: " + engine.Summary(done)},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v := newVillage(t, villagePolicy)
			v.on(&stage{states: tc.states})
			got := v.govern("rollout", "watch", "prod")
			if diff := cmp.Diff(tc.lines, strings.Split(strings.TrimSpace(got.out), "\n")); diff != "" || got.code != tc.code {
				t.Errorf("exit code %d, want %d; lines (-want +got):\n%s\n%s", got.code, tc.code, diff, got.errors)
			}
		})
	}
}

// TestStatusShowsNumbersAgainstLimits: 7 of 1000 are 0.7 % against 1 %.
func TestStatusShowsNumbersAgainstLimits(t *testing.T) {
	v := newVillage(t, villagePolicy)
	v.on(&stage{states: []canary.State{held()}})
	got := v.wants(
		cli.ExitOK, []string{"rollout", "status", "prod"},
		"step      1 of 2: canary, 5 % of traffic", "traffic   5 % live, 5 % planned", "time      24.5 of 60 observed minutes",
		"errors    0.7 % of 1000 requests, limit 1 %; stable 0.1 %", "slow      1 % to 2 % over 1000 ms, limit 5 % (p95)",
		"phase     held", "verdict   hold at step canary: neither", "govern rollout promote prod -m WHY",
	)
	for line := range strings.Lines(got.out) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 && !strings.HasPrefix(line, "next") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestCommandsOfATarget reach the server with their reason.
func TestCommandsOfATarget(t *testing.T) {
	v := newVillage(t, villagePolicy)
	for _, name := range []string{"pause", "resume", "abort", "rollback"} {
		s := &stage{states: []canary.State{running(canary.Watching, nil)}}
		v.on(s)
		v.wants(cli.ExitUsage, []string{"rollout", name, "prod", "-m", "  "}, "reason_missing")
		v.wants(cli.ExitOK, []string{"rollout", name, "prod", "-m", "why"}, "CHANGE-1 on prod")
		if !slices.Contains(s.calls, "POST /v1/targets/prod/"+name) {
			t.Errorf("%s: calls %v", name, s.calls)
		}
	}
}

// TestHistory: each attempt with how it ended and why.
func TestHistory(t *testing.T) {
	at := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC)
	var events []client.Event
	add := func(typ string, data any) {
		raw, err := json.Marshal(data)
		if err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Minute)
		events = append(events, client.Event{Stream: "target/prod", Version: uint64(len(events) + 1), Type: typ, Time: at, Data: raw})
	}
	start := func(n int) {
		add(canary.EvStarted, canary.Started{Kind: canary.Rollout, Attempt: n, Change: "CHANGE-1", Artifact: gov.Artifact{Name: "app", Digest: artifactDigest}})
	}
	start(1)
	add(canary.EvLatched, canary.Latch{Latched: canary.Latched{Attempt: 1, Verdict: canary.Verdict{Verdict: canary.Rollback, Reason: "error rate 2 % > 1 %"}}})
	add(canary.EvBack, canary.EndedBack{Attempt: 1, Cause: canary.ByVerdict, Reason: "error rate 2 % > 1 %"})
	start(2)
	add(canary.EvAborted, canary.EndedBack{Attempt: 2, Cause: canary.ByAbort, Reason: "not now"})
	start(3)
	add(canary.EvFinished, canary.Attempted{Attempt: 3})
	start(4)
	v := newVillage(t, villagePolicy)
	v.on(&stage{states: []canary.State{running(canary.Watching, nil)}, events: events})
	v.wants(cli.ExitOK, []string{"rollout", "history"}, "prod    1  CHANGE-1", "rolled_back (verdict)", "prod #1: error rate 2 % > 1 %", "aborted (abort)", "prod #2: not now", "finished", "running")
	got := v.govern("rollout", "history", "prod", "-o", "json")
	var out struct {
		Attempts []struct {
			Attempt int
			How     string
		}
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(got.out))).Decode(&out); err != nil {
		t.Fatal(err)
	}
	var how []string
	for _, a := range out.Attempts {
		how = append(how, fmt.Sprint(a.Attempt, a.How))
	}
	if diff := cmp.Diff([]string{"1rolled_back", "2aborted", "3finished", "4running"}, how); diff != "" {
		t.Error(diff)
	}
}

// peopleOnMain is the people file as the log would read it.
func (v *village) peopleOnMain() gov.Registry {
	v.t.Helper()
	reg, err := sign.ParseRegistry([]byte(v.git("show", "main:.govern/allowed_signers") + "\n"))
	if err != nil {
		v.t.Fatal(err)
	}
	return reg
}
