package canary

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/governhq/govern/internal/gov"
)

const designWindow = `{"seq":1,"seconds":15,"weight":5,"canary":{"requests":100,"errors":1,"dispatched":101,"completed":100,"slow":{"500":4,"1000":1}},"baseline":{"requests":1900,"errors":2,"slow":{"500":60,"1000":3}},"satisfaction":0.97,"model_change":true,"drift":0.1,"critical_alerts":0,"state":"fresh"}`

func TestParseWindows(t *testing.T) {
	ws, err := ParseWindows([]byte(designWindow + "\n\n" + strings.Replace(designWindow, `"seq":1`, `"seq":7`, 1) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(ws) != 2 || ws[1].Seq != 7 || *ws[0].Canary.Dispatched != 101 || ws[0].Baseline.Slow["500"] != 60 {
		t.Errorf("got %+v", ws)
	}
}

func TestParseWindowRefuses(t *testing.T) {
	edit := func(old, now string) string {
		if !strings.Contains(designWindow, old) {
			t.Fatalf("%s is not in the window", old)
		}
		return strings.Replace(designWindow, old, now, 1)
	}
	for name, line := range map[string]string{
		"unknown key":         edit(`"seq":1`, `"seq":1,"x":1`),
		"duplicate key":       edit(`"seq":1`, `"seq":1,"seq":2`),
		"no seq":              edit(`"seq":1,`, ``),
		"seq 0":               edit(`"seq":1`, `"seq":0`),
		"no seconds":          edit(`"seconds":15,`, ``),
		"seconds 0":           edit(`"seconds":15`, `"seconds":0`),
		"no weight":           edit(`"weight":5,`, ``),
		"weight 101":          edit(`"weight":5`, `"weight":101`),
		"negative errors":     edit(`"errors":1`, `"errors":-1`),
		"errors over all":     edit(`"errors":1`, `"errors":101`),
		"slow over all":       edit(`"500":4`, `"500":101`),
		"slow not falling":    edit(`"500":4`, `"500":0`),
		"slow key":            edit(`"500":4`, `"half":4`),
		"slow key twice":      edit(`"500":4`, `"500":4,"500.0":5`),
		"one of dispatched":   edit(`"dispatched":101,`, ``),
		"state":               edit(`"fresh"`, `"great"`),
		"empty with traffic":  edit(`"fresh"`, `"empty"`),
		"negative drift":      edit(`"drift":0.1`, `"drift":-0.1`),
		"negative alerts":     edit(`"critical_alerts":0`, `"critical_alerts":-1`),
		"null canary":         edit(`"satisfaction":0.97`, `"satisfaction":null`),
		"requests as text":    edit(`"requests":100`, `"requests":"100"`),
		"requests fractional": edit(`"requests":100`, `"requests":100.5`),
		"requests huge":       edit(`"requests":100`, `"requests":9007199254740993`),
	} {
		if w, err := ParseWindow([]byte(line)); gov.KindOf(err) != gov.KindInvalid {
			t.Errorf("%s: got %+v, %v", name, w, err)
		}
	}
	_, err := ParseWindows([]byte(designWindow + "\n" + designWindow))
	if gov.CodeOf(err) != "canary_window_invalid" || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a repeated seq: %v", err)
	}
}

func TestBoundsEncloseUncountedLimits(t *testing.T) {
	c := Counts{Requests: 100, Slow: map[string]int64{"250": 40, "1000": 10}}
	for ms, want := range map[float64]Tail{100: {40, 100}, 250: {40, 40}, 500: {10, 40}, 1000: {10, 10}, 2000: {0, 10}} {
		if got := c.bounds(ms); got != want {
			t.Errorf("over %v ms: got %+v, want %+v", ms, got, want)
		}
	}
}

func FuzzWindow(f *testing.F) {
	f.Add([]byte(designWindow))
	f.Add([]byte(`{"seq":2,"seconds":0.5,"weight":100,"canary":{"requests":0,"errors":0},"state":"stale"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		w, err := ParseWindow(line)
		if err != nil {
			if gov.KindOf(err) != gov.KindInvalid {
				t.Fatalf("%q: %v", line, err)
			}
			return
		}
		printed, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseWindow(printed)
		if err != nil || cmp.Diff(w, again) != "" {
			t.Fatalf("%q prints %s: %v %s", line, printed, err, cmp.Diff(w, again))
		}
		if _, err := Judge(Config{Strategy: Default()}, []Window{w}); err != nil {
			t.Fatalf("a window that parses cannot be judged: %v", err)
		}
	})
}
