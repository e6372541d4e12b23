package canary

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/governhq/govern/internal/gov"
)

func TestApplyMarksWhatItCannotRead(t *testing.T) {
	good := gov.NewEvent("target/prod", EvStable, StableSet{Deployed: Deployed{Artifact: art("v1"), At: t0}})
	s := Apply(State{Target: "prod"}, good)
	newer := good
	newer.V = 2
	broken := good
	broken.Data = json.RawMessage(`{"artifact":7}`)
	for name, e := range map[string]gov.Event{
		"newer version": newer, "broken data": broken,
		"attempt not running": gov.NewEvent("target/prod", EvPaused, Attempted{Attempt: 3}),
		"step out of range":   gov.NewEvent("target/prod", EvEntered, Entered{Attempt: 3, Step: 9}),
	} {
		bad := Apply(s, e)
		if bad.Corrupt == "" {
			t.Errorf("%s was folded", name)
		}
		if _, _, err := Decide(bad, Command{Type: CmdAbort}, t0); gov.KindOf(err) != gov.KindIntegrity {
			t.Errorf("%s: decided with %v", name, err)
		}
	}
	elsewhere := good
	elsewhere.Stream = "target/other"
	unknown := good
	unknown.Type = "target.painted"
	for _, e := range []gov.Event{elsewhere, unknown} {
		if diff := cmp.Diff(s, Apply(s, e)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestCanonicalJSON(t *testing.T) {
	// the strings of RFC 8785, section 3.2.2, and the sorting of 3.2.3
	in := map[string]any{
		"\u20ac": "\u20ac$\u000f\nA'B\"\\\"/", "\r": 1, "\ufb33": 2, "1": 3, "\U0001f600": 4, "\u0080": 5, "\u00f6": 6,
		"n": []any{333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001, true, nil},
	}
	want := `{"\r":1,"1":3,"n":[333333333.3333333,1e+30,4.5,0.002,1e-27,true,null],"` + "\u0080" + `":5,"` + "\u00f6" + `":6,"` +
		"\u20ac" + `":"` + "\u20ac" + `$\u000f\nA'B\"\\\"/","` + "\U0001f600" + `":4,"` + "\ufb33" + `":2}`
	if got := string(canonical(in)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestReplayRefusesWhatWasTamperedWith(t *testing.T) {
	facts, answer, err := Record(State{Target: "prod"}, Command{Type: CmdAdopt, Artifact: art("v1")}, t0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Replay(facts)
	if err != nil || string(got) != string(answer) {
		t.Fatalf("got %s, %v", got, err)
	}
	other, err := Replay(json.RawMessage(strings.Replace(string(facts), "studio", "studia", 1)))
	if err != nil || string(other) == string(answer) {
		t.Errorf("another artifact, the same answer: %v", err)
	}
	for _, bad := range []string{``, `{}x`, `{"state":{"traget":"x"}}`, `{"now":1}`} {
		if _, err := Replay(json.RawMessage(bad)); gov.KindOf(err) != gov.KindInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
