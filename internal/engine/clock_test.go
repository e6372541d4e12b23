package engine_test

import (
	"testing"
	"time"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/sign"
)

// mark records something and tells with which code that was refused.
func (h *house) mark() string {
	h.t.Helper()
	_, err := h.e.Do(h.ctx, "", "test.mark", func(ctx ctx, x engine.Tx) error {
		if _, err := x.Load(ctx, "test/clock"); err != nil {
			return err
		}
		return x.Emit(ctx, gov.NewEvent("test/clock", "marked", struct{}{}))
	})
	if err != nil && gov.CodeOf(err) == "" {
		h.t.Fatal(err)
	}
	return gov.CodeOf(err)
}

func (h *house) reopen() {
	h.t.Helper()
	h.e.Close()
	h.open()
}

// forward fails when records run backwards in time.
func (h *house) forward() {
	h.t.Helper()
	var last time.Time
	for i := range h.e.Reader().Size() {
		rec, err := h.e.Record(i)
		if err != nil {
			h.t.Fatal(err)
		}
		if rec.Time.Before(last) {
			h.t.Errorf("record %d is of %s, the one before of %s", i, rec.Time, last)
		}
		last = rec.Time
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, code string
		do         func(h *house)
	}{
		{"a little back", "", func(h *house) { h.clock.wall = h.clock.wall.Add(-2 * time.Minute) }},
		{"just five minutes back", "", func(h *house) { h.clock.wall = h.clock.wall.Add(-5 * time.Minute) }},
		{"more than five minutes back", "clock_jumped", func(h *house) { h.clock.wall = h.clock.wall.Add(-5*time.Minute - time.Second) }},
		{"just five minutes forward", "", func(h *house) { h.clock.wall = h.clock.wall.Add(5 * time.Minute) }},
		{"more than five minutes forward", "clock_jumped", func(h *house) { h.clock.wall = h.clock.wall.Add(5*time.Minute + time.Second) }},
		{"forward, seen by another process", "clock_jumped", func(h *house) { h.clock.wall = h.clock.wall.Add(time.Hour); h.reopen() }},
		{"time passed", "", func(h *house) { h.clock.advance(300 * time.Hour) }},
		{"time passed, another process", "", func(h *house) { h.clock.advance(300 * time.Hour); h.reopen() }},
		{"rebooted days later", "", func(h *house) {
			h.clock.wall, h.clock.uptime, h.clock.boot = h.clock.wall.Add(72*time.Hour), time.Minute, "-2"
			h.reopen()
		}},
		{"rebooted into the past", "clock_jumped", func(h *house) {
			h.clock.wall, h.clock.uptime, h.clock.boot = h.clock.wall.Add(-72*time.Hour), time.Minute, "-2"
			h.reopen()
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, testPolicy, one)
			if code := h.mark(); code != "" {
				t.Fatal(code)
			}
			tc.do(h)
			size := h.e.Reader().Size()
			if code := h.mark(); code != tc.code {
				t.Fatalf("code %q, want %q", code, tc.code)
			}
			if grown := h.e.Reader().Size() > size; grown != (tc.code == "") {
				t.Errorf("recorded: %t", grown)
			}
			h.forward()
			if tc.code == "" {
				return
			}
			// It stays so until a person accepts it, by a statement that is used once.
			h.clock.advance(time.Hour)
			if code := h.mark(); code != tc.code {
				t.Fatalf("it healed by itself: %q", code)
			}
			h.accept()
			if code := h.mark(); code != "" {
				t.Fatalf("after it was accepted: %q", code)
			}
			h.reopen()
			if code := h.mark(); code != "" {
				t.Fatalf("accepted, and forgotten by the next process: %q", code)
			}
		})
	}
}

func (h *house) envelope(who string, st gov.Statement) []byte {
	h.t.Helper()
	if st.Rationale == "" {
		st.Rationale = "ntp was off"
	}
	st.Issued = h.clock.Now()
	env, err := sign.Seal(h.ctx, st, h.keys[who])
	if err != nil {
		h.t.Fatal(err)
	}
	return env
}

// accept accepts the clock, after everything that must not.
func (h *house) accept() {
	h.t.Helper()
	law, err := h.e.Law(h.ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	good := gov.Statement{Decision: gov.DecideAttest, Stage: engine.StageClock, Subject: digest("clock")}
	other := good
	other.Stage = "validate"
	reject := good
	reject.Decision = gov.DecideReject
	for _, tc := range []struct {
		name, code string
		env        []byte
	}{
		{"a service", "clock_statement_invalid", h.envelope("ci", good)},
		{"an agent", "clock_statement_invalid", h.envelope("bot", good)},
		{"another stage", "clock_statement_invalid", h.envelope("bo", other)},
		{"another decision", "clock_statement_invalid", h.envelope("bo", reject)},
		{"no envelope", "", []byte(`{}`)},
	} {
		_, err := h.e.AcceptClock(h.ctx, gov.Principal{Handle: "bo"}, law.Registry, tc.env)
		if err == nil || tc.code != "" && gov.CodeOf(err) != tc.code {
			h.t.Errorf("%s: %v", tc.name, err)
		}
	}
	if code := h.mark(); code != "clock_jumped" {
		h.t.Fatalf("a statement that does not count was enough: %q", code)
	}
	env := h.envelope("ed", good)
	if _, err := h.e.AcceptClock(h.ctx, gov.Principal{Handle: "ed"}, law.Registry, env); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.e.AcceptClock(h.ctx, gov.Principal{Handle: "ed"}, law.Registry, env); gov.CodeOf(err) != "statement_used" {
		h.t.Errorf("used twice: %v", err)
	}
}

// TestTimeFollowsOtherProcesses: one engine stays open while another records.
func TestTimeFollowsOtherProcesses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, one)
	first := h.e
	h.clock.advance(10 * time.Minute)
	h.open()
	if code := h.mark(); code != "" {
		t.Fatal(code)
	}
	h.e.Close()
	h.e = first
	h.clock.wall = h.clock.wall.Add(-3 * time.Minute)
	if code := h.mark(); code != "" {
		t.Fatal(code)
	}
	h.forward()
}

// TestTakingBackDoesNotAcceptTheClock: an abort goes through, and what comes
// after it is refused as before.
func TestTakingBackDoesNotAcceptTheClock(t *testing.T) {
	t.Parallel()
	h, w, v := newRollout(t)
	w.turn()
	h.clock.wall = h.clock.wall.Add(time.Hour)
	h.clock.advance(2 * time.Second) // long enough for the next mark
	h.mustSign("ed", gov.Statement{Decision: gov.DecideAbort, Target: "prod", Change: v.Change, Revision: v.Revision})
	if code := h.mark(); code != "clock_jumped" {
		t.Fatalf("an abort made the clock right: %q", code)
	}
	rec, err := h.e.Record(h.e.Reader().Size() - 1)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Time.After(h.clock.wall.Add(-50 * time.Minute)) {
		t.Errorf("recorded under the clock that jumped: %s", rec.Time)
	}
	h.forward()
}
