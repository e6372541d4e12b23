package traffic

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWindowIsALineOfTheJudge(t *testing.T) {
	m, clock := testMeter(t, Config{})
	must(t, m.set(100, "a/1/1"))
	u, _ := m.dispatch()
	m.record(u, outcome{settled: true})
	m.record(u, outcome{known: true, failed: true, ended: true, latency: timedOut})
	clock.advance(15 * time.Second)
	ws, err := m.windows(0)
	must(t, err)
	got, err := json.Marshal(ws[0])
	must(t, err)
	want := `{"seq":1,"seconds":15,"weight":100,` +
		`"canary":{"requests":1,"errors":1,"dispatched":1,"completed":1,"slow":{"1000":1,"500":1}},` +
		`"baseline":{"requests":0,"errors":0,"dispatched":0,"completed":0,"slow":{"1000":0,"500":0}},"state":"fresh"}`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Fatal(d)
	}
}
