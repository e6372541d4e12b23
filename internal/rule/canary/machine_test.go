package canary

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/governhq/govern/internal/gov"
	"pgregory.net/rapid"
)

// oracle follows the rules of the specification from the events and the
// windows alone; it never calls the code under test.
type oracle struct {
	blocked  map[gov.Digest]bool
	running  int  // attempt, 0 for none
	back     bool // the attempt is on its way back
	highest  int  // the most the attempt's reached step allows
	digest   gov.Digest
	stable   gov.Digest
	change   gov.ChangeID
	merged   bool
	verified map[string]bool // places where the candidate said who it is
	queue    []gov.ChangeID

	minutes, requests, errors, slow int64 // of the step, fresh and counted
	extended                        bool
}

// The plan of the machine: a report, 5 % for 4 minutes, 25 % for 3, all.
var machineWeights = []int{0, 5, 25, 100}

func machinePlan() *Plan {
	s := Default()
	s.MonitoringMinutes = 4
	delete(s.PromotionCriteria, Satisfaction)
	return &Plan{
		Judge: Config{Strategy: s},
		Steps: []Step{
			{Name: "integration", Kind: StepReport},
			{Name: "canary", Kind: StepTraffic, Weight: 5, Seconds: 240},
			{Name: "ramp", Kind: StepTraffic, Weight: 25, Seconds: 180},
			{Name: "full", Kind: StepTraffic, Weight: 100},
		},
	}
}

func fields(t tester, e gov.Event) map[string]any {
	var m map[string]any
	if err := json.Unmarshal(e.Data, &m); err != nil {
		t.Fatalf("%v", err)
	}
	return m
}

func at(m map[string]any, path ...string) any {
	var x any = m
	for _, k := range path {
		next, ok := x.(map[string]any)
		if !ok {
			return nil
		}
		x = next[k]
	}
	return x
}

// see checks one recorded event against the rules.
func (o *oracle) see(t tester, e gov.Event) {
	t.Helper()
	m := fields(t, e)
	switch e.Type {
	case "rollout.started":
		d := gov.Digest(at(m, "artifact", "digest").(string))
		if o.running != 0 {
			t.Fatalf("attempt %v starts while %d runs", m["attempt"], o.running)
		}
		kind := m["kind"].(string)
		if kind == "rollout" && (o.blocked[d] || d == o.stable) {
			t.Fatalf("%s starts though it is blocked or stable", d.Short())
		}
		id := gov.ChangeID(m["change"].(string))
		if kind == "rollout" && len(o.queue) > 0 {
			if o.queue[0] != id {
				t.Fatalf("%s overtakes %v", id, o.queue)
			}
			o.queue = o.queue[1:]
		}
		*o = oracle{blocked: o.blocked, stable: o.stable, queue: o.queue, running: int(m["attempt"].(float64)), digest: d, change: id, verified: map[string]bool{}}
		if kind == "restore" {
			o.highest = -1 // restores give all traffic at once
		}
	case "rollout.queued":
		o.queue = append(o.queue, gov.ChangeID(m["change"].(string)))
	case "rollout.refused":
		for i, id := range o.queue {
			if id == gov.ChangeID(m["change"].(string)) {
				o.queue = append(append([]gov.ChangeID(nil), o.queue[:i]...), o.queue[i+1:]...)
				break
			}
		}
	case "step.entered":
		if o.back {
			t.Fatalf("a step is entered on the way back")
		}
		if o.highest >= 0 {
			o.highest = machineWeights[int(m["step"].(float64))]
		} else {
			o.highest = -1
		}
		o.minutes, o.requests, o.errors, o.slow, o.extended = 0, 0, 0, 0, false
	case "step.confirmed":
		if at(m, "action", "do") == "identify" {
			if m["digest"] != string(o.digest) {
				t.Fatalf("identified by %v", m["digest"])
			}
			o.verified["prod"] = true
		}
	case "step.intended":
		w, _ := at(m, "action", "weight").(float64)
		o.mayHave(t, int(w))
	case "rollout.extended":
		if o.extended {
			t.Fatalf("extended twice")
		}
		o.extended = true
	case "verdict.latched":
		o.latched(t, m)
	case "rollout.rollback_started":
		o.back = true
	case "digest.blocked":
		o.blocked[gov.Digest(m["digest"].(string))] = true
	case "digest.unblocked":
		delete(o.blocked, gov.Digest(m["digest"].(string)))
	case "target.stable":
		if o.back {
			t.Fatalf("stable on the way back")
		}
		o.stable, o.merged = gov.Digest(at(m, "artifact", "digest").(string)), true
	case "rollout.rolled_back", "rollout.aborted":
		if !o.back {
			t.Fatalf("ended without going back")
		}
		o.running = 0
	case "rollout.finished":
		o.running = 0
	}
}

func (o *oracle) latched(t tester, m map[string]any) {
	switch v := at(m, "latched", "verdict", "verdict"); v {
	case "promote":
		if at(m, "latched", "statement") != nil || o.highest < 0 {
			return
		}
		need := int64(4)
		if o.highest == 25 {
			need = 3
		}
		if o.minutes < need || o.requests < 50 || o.errors*200 >= o.requests || o.slow*20 >= o.requests {
			t.Fatalf("promoted at %d %% after %d min with %d of %d failed, %d slow", o.highest, o.minutes, o.errors, o.requests, o.slow)
		}
	case "rollback":
		o.back = true
		o.blocked[gov.Digest(at(m, "latched", "candidate").(string))] = true
	}
}

// mayHave checks a weight that is ordered for the candidate.
func (o *oracle) mayHave(t tester, weight int) {
	t.Helper()
	if weight == 0 {
		return
	}
	if o.running == 0 || o.back || o.merged || o.highest >= 0 && weight > o.highest || !o.verified["prod"] {
		t.Fatalf("%d %% ordered: running %d, back %v, merged %v, step allows %d, verified %v", weight, o.running, o.back, o.merged, o.highest, o.verified)
	}
}

// machine is the rig with an oracle and a world that fails.
type machine struct {
	*rig
	o    *oracle
	seen int
}

// judge lets the oracle see what is new.
func (m *machine) judge(t *rapid.T) {
	for ; m.seen < len(m.log); m.seen++ {
		m.o.see(t, m.log[m.seen])
		reached[m.log[m.seen].Type]++
	}
	if m.s.Run == nil != (m.o.running == 0) {
		t.Fatalf("the oracle runs %d, the state %+v", m.o.running, m.s.Run)
	}
}

// send gives a command, lets refusals be, and checks what it newly orders.
func (m *machine) send(t *rapid.T, c Command) error {
	before := len(m.orders)
	err := m.try(c)
	m.judge(t)
	for _, e := range m.orders[before:] {
		if e.Type == DoSetWeight {
			m.o.mayHave(t, work(e).Weight)
		}
	}
	return err
}

func (m *machine) confirmFirst(t *rapid.T, how string) {
	if len(m.orders) == 0 {
		return
	}
	e := m.orders[0]
	m.orders = m.orders[1:]
	if e.Type == DoWake {
		if len(m.s.Queue) > 0 {
			w := work(e)
			m.send(t, Command{Type: CmdStart, Change: w.Change, Revision: rev(string(w.Change)), Artifact: w.Candidate, Plan: machinePlan()})
		}
		return
	}
	if w := work(e); e.Type == DoSetWeight && w.Weight > PlannedWeight(m.s) {
		return // the engine drops orders that a later decision overtook
	}
	c := Confirm{Key: e.Key, Reason: "broken"}
	switch how {
	case "ok":
		c = m.perform(e)
	case "done but lost": // failed and persisted
		m.perform(e)
	case "wrong":
		c = m.perform(e)
		if c.Weight != nil {
			c.Weight = ptr(*c.Weight + 1)
		}
		c.Digest = ""
	}
	m.send(t, Command{Type: CmdConfirm, Confirm: &c})
}

// crash forgets every order; recovery does what Pending says, in order.
func (m *machine) crash(t *rapid.T) {
	m.orders = nil
	var stored []gov.Event
	b, _ := json.Marshal(m.log)
	if err := json.Unmarshal(b, &stored); err != nil {
		t.Fatal(err)
	}
	s := State{Target: "prod"}
	for _, e := range stored {
		s = Apply(s, e)
	}
	if diff := cmp.Diff(s, m.s, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("the log folds to another state:\n%s", diff)
	}
	pending := Pending(s)
	first := true
	for _, e := range pending {
		if e.Type == DoWake || e.Type == DoPage {
			continue
		}
		if first && e.Type != DoSetWeight {
			t.Fatalf("recovery does %s before the traffic level", e.Type)
		}
		first = false
		if e.Type == DoSetWeight {
			if w := work(e).Weight; w > 0 {
				m.o.mayHave(t, w)
			}
			m.perform(e)
		}
	}
	if m.world.weight > PlannedWeight(m.s) {
		t.Fatalf("after recovery %d %%, planned %d %%", m.world.weight, PlannedWeight(m.s))
	}
	m.take(pending)
}

func (m *machine) window(t *rapid.T) {
	run := m.s.Run
	bad := rapid.SampledFrom([]int64{0, 0, 0, 0, 3, 8, 10, 11, 200}).Draw(t, "errors")
	late := rapid.SampledFrom([]int64{0, 0, 0, 30, 50, 51}).Draw(t, "slow")
	sig := rapid.SampledFrom([]Signal{"", "", "", "", Stale, Failed, Ambiguous}).Draw(t, "signal")
	m.seq++
	m.now = m.now.Add(time.Minute)
	w := win(m.seq, requests(1000), errorsOf(bad), slow(late, late/2), state(sig), satisfied(nil))
	scale(&w.Baseline, 19000)
	if rapid.IntRange(0, 30).Draw(t, "alert") == 0 {
		w.CriticalAlerts = 1
	}
	counts := false
	if run != nil {
		w.Weight = float64(run.Live)
		if rapid.IntRange(0, 9).Draw(t, "weight") == 0 {
			w.Weight-- // never over 100, and 99 of 100 is as wrong as 6 of 5
			if w.Weight < 10 {
				w.Weight += 2
			}
		}
		counts = run.Phase == Watching && !run.Paused && sig == "" && w.Weight == float64(run.Live)
	}
	if counts { // before it is judged, so that a promotion right after it is seen with it
		m.o.minutes++
		m.o.requests += 1000
		m.o.errors += bad
		m.o.slow += late
	}
	m.send(t, Command{Type: CmdWindow, Window: &w})
	if w.CriticalAlerts > 0 && run != nil && run.Kind == Rollout && run.Live > 0 && run.Phase != Reverting && run.Phase != Settling &&
		(m.s.Run == nil || m.s.Run.Phase != Reverting) {
		t.Fatalf("a critical alert and no rollback")
	}
}

func (m *machine) start(t *rapid.T, typ CommandType) {
	n := rapid.IntRange(2, 5).Draw(t, "change")
	c := start(n, machinePlan())
	c.Type = typ
	if rapid.IntRange(0, 9).Draw(t, "takes back") == 0 {
		c.TakesBack = []string{"CHANGE-1"}
	}
	blocked := m.o.blocked[c.Artifact.Digest]
	err := m.send(t, c)
	if head := len(m.s.Queue) > 0; err == nil && (blocked || c.TakesBack != nil) && !m.hasLast(EvRefused) {
		t.Fatalf("%s was taken, blocked %v, takes back %v, queue %v", c.Change, blocked, c.TakesBack, head)
	}
}

func (m *machine) hasLast(typ string) bool {
	for _, e := range m.lastEvs {
		if e == typ {
			return true
		}
	}
	return false
}

// reached counts what the machine's runs got to see.
var reached = map[string]int{}

func TestMachine(t *testing.T) {
	clear(reached)
	full := os.Getenv("GOVERN_TEST_FULL") == "1"
	defer func() {
		for typ := range folds {
			often := slices.Contains([]string{EvPromoted, EvFinished, EvBlocked, EvHeld, EvBack, EvFrozen}, typ)
			if reached[typ] == 0 && (often || full) && !t.Failed() {
				t.Errorf("no run of the machine ever got to %s: %v", typ, reached)
			}
		}
	}()
	rounds := 1
	if full {
		rounds = 60 // the long campaign
	}
	for range rounds {
		rapid.Check(t, machineRun)
	}
}

func machineRun(t *rapid.T) {
	m := &machine{rig: newRig(t), o: &oracle{blocked: map[gov.Digest]bool{}, verified: map[string]bool{}}}
	m.judge(t)
	change := func() gov.ChangeID { return gov.NewChangeID(rapid.IntRange(2, 5).Draw(t, "change")) }
	back := func(c Command) {
		run := m.s.Run
		err := m.send(t, c)
		if run != nil && run.Phase != Settling && (err != nil || m.s.Run != nil && m.s.Run.Phase != Reverting) {
			t.Fatalf("%s in %s: %v", c.Type, run.Phase, err)
		}
	}
	confirm := func(how string) func(*rapid.T) {
		return func(t *rapid.T) { m.confirmFirst(t, how) }
	}
	rarely := func(t *rapid.T) bool { return rapid.IntRange(0, 5).Draw(t, "rarely") == 3 }
	seldom := func(c func() Command) func(*rapid.T) {
		return func(t *rapid.T) {
			if rarely(t) {
				m.send(t, c())
			}
		}
	}
	t.Repeat(map[string]func(*rapid.T){
		"start":    func(t *rapid.T) { m.start(t, CmdStart) },
		"retry":    func(t *rapid.T) { m.start(t, CmdRetry) },
		"confirm":  confirm("ok"),
		"fail":     confirm("failed"),
		"persist":  confirm("done but lost"),
		"wrong":    confirm("wrong"),
		"settle":   m.settleAll,
		"advance":  m.advance,
		"advance2": m.advance,
		"advance3": m.advance,
		"window":   m.window,
		"window2":  m.window,
		"tick": func(t *rapid.T) {
			m.now = m.now.Add(time.Duration(rapid.SampledFrom([]int{1, 30, 600, 90000}).Draw(t, "seconds")) * time.Second)
			m.send(t, Command{Type: CmdTick})
		},
		"pause":  seldom(func() Command { return Command{Type: CmdPause} }),
		"resume": func(t *rapid.T) { m.send(t, Command{Type: CmdResume}) },
		"back": func(t *rapid.T) {
			if rarely(t) {
				back(Command{Type: rapid.SampledFrom([]CommandType{CmdAbort, CmdLost}).Draw(t, "how")})
			}
		},
		"rollback": seldom(func() Command { return Command{Type: CmdRollback} }),
		"revision": seldom(func() Command { return Command{Type: CmdRevision, Change: change(), Revision: rev("other")} }),
		"rejected": seldom(func() Command { return Command{Type: CmdRejected, Change: change()} }),
		"promote":  func(t *rapid.T) { m.send(t, Command{Type: CmdPromote, Statement: signed(m.rig, gov.DecidePromote)}) },
		"unblock":  func(t *rapid.T) { m.send(t, Command{Type: CmdUnblock, Statement: signed(m.rig, gov.DecideUnblock)}) },
		"approved": func(t *rapid.T) {
			if m.s.Run != nil {
				m.send(t, Command{Type: CmdApproved, Change: m.s.Run.Change, Outcome: m.s.Outcome()})
			}
		},
		"merged": func(t *rapid.T) {
			if m.s.Run != nil && m.s.Run.Phase == Final {
				m.send(t, Command{Type: CmdMerged, Change: m.s.Run.Change})
			}
		},
		"crash": m.crash,
		"": func(t *rapid.T) {
			if p := PlannedWeight(m.s); m.o.highest >= 0 && p > m.o.highest || m.o.back && p != 0 {
				t.Fatalf("%d %% planned, allowed %d %%, back %v", p, m.o.highest, m.o.back)
			}
			if m.s.Run == nil && Locks(m.s) {
				t.Fatalf("locked without a rollout")
			}
		},
	})
}

func (m *machine) settleAll(t *rapid.T) {
	for range 12 {
		if r := m.s.Run; r != nil && r.Phase == Waiting {
			passed := rapid.IntRange(0, 9).Draw(t, "report") > 0
			m.send(t, Command{Type: CmdReport, Report: &Report{Step: "integration", Passed: passed, Evidence: gov.DigestOf(nil)}})
		}
		m.confirmFirst(t, "ok")
	}
}

// advance brings a rollout on by a step, starting one when there is none, with
// windows that are good or neither good nor bad.
func (m *machine) advance(t *rapid.T) {
	if m.s.Run == nil && len(m.s.Queue) == 0 {
		m.start(t, rapid.SampledFrom([]CommandType{CmdStart, CmdRetry}).Draw(t, "how"))
	}
	m.settleAll(t)
	bad := rapid.SampledFrom([]int64{0, 0, 7}).Draw(t, "errors")
	for range rapid.IntRange(1, 9).Draw(t, "windows") {
		m.healthy(t, bad)
	}
	if rapid.Bool().Draw(t, "settle") {
		m.settleAll(t)
	}
}

// healthy is a good window, so that runs get far.
func (m *machine) healthy(t *rapid.T, bad int64) {
	run := m.s.Run
	m.seq++
	m.now = m.now.Add(time.Minute)
	w := win(m.seq, requests(1000), errorsOf(bad))
	scale(&w.Baseline, 19000)
	if run != nil {
		w.Weight = float64(run.Live)
		if run.Phase == Watching && !run.Paused {
			m.o.minutes++
			m.o.requests += 1000
			m.o.errors += bad
		}
	}
	m.send(t, Command{Type: CmdWindow, Window: &w})
}
