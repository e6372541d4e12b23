package engine

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/policy"
)

// Traffic moves a share of one target's traffic to its candidate and counts.
// It is level-triggered: Set states what shall hold and renews the lease,
// Observe reads back what does.
type Traffic interface {
	Route(stable, candidate string) error // base URLs; candidate "" takes it away
	Set(ctx context.Context, weight int, key string) error
	Observe(ctx context.Context) (weight int, err error)
	Kill(ctx context.Context) error
	// Windows gives the closed windows behind seq.
	Windows(after int64) ([]canary.Window, error)
}

// Deployer runs what a target's policy says.
type Deployer interface {
	Deploy(ctx context.Context, t policy.Target, in Instance) error
	Undeploy(ctx context.Context, t policy.Target, in Instance) error
	Healthy(ctx context.Context, t policy.Target, in Instance) error
	Identify(ctx context.Context, t policy.Target, in Instance) (gov.Digest, error)
}

// Instance is one artifact in one slot of a target.
type Instance struct {
	Target   string
	Slot     string // "stable" or "candidate": the two places a target has
	Base     string // base URL of the slot
	Artifact gov.Artifact
	Commit   string
}

// World is what a supervisor acts through.
type World struct {
	Deployer Deployer
	// Traffic opens the traffic driver of a target; seq is the number of the
	// last window the log knows. It is called once a target.
	Traffic func(ctx context.Context, name string, t policy.Target, limitsMS []int, seq int64) (Traffic, error)
	// Page calls a person; nil only logs.
	Page func(ctx context.Context, target, reason string)
	// Every is how often a target is looked at when nothing else wakes it; 0
	// means one second.
	Every time.Duration
}

// Supervisor carries rollouts out: it starts what is due, brings effects about,
// reads them back and feeds the judge. It holds no state of its own: after a
// crash it goes on from the log.
type Supervisor struct {
	e     *Engine
	world World
	log   *slog.Logger

	mu      sync.Mutex
	kick    map[string]chan struct{}
	signals map[string]Signals
	tried   map[gov.ChangeID]attempt
}

// attempt is what came of the last try to start a change.
type attempt struct {
	size  uint64    // of the log; what the rules said holds until it grows
	fails int       // tries in a row that failed for another reason than the rules
	next  time.Time // before it nothing is tried while the log stays
}

// ruledAgain is when a rule is asked again although the log stands still: what
// it waits for may be time.
const ruledAgain = time.Minute

// after is what is remembered of a try that ended with err. Only an answer of the
// rules is about this log; anything else, such as objects of a push that git
// still keeps in quarantine, is tried at the next tick and then ever more
// seldom.
func (a attempt) after(err error, size uint64, now time.Time, every time.Duration) attempt {
	switch gov.KindOf(err) {
	case "", gov.KindPending, gov.KindConflict, gov.KindRefused:
		return attempt{size: size, next: now.Add(ruledAgain)}
	}
	wait := time.Duration(0)
	if a.fails > 0 {
		wait = min(every<<min(a.fails, 6), ruledAgain)
	}
	return attempt{size: size, fails: a.fails + 1, next: now.Add(wait)}
}

// Signals are measurements pushed from outside, joined to the next windows of a
// target. Nil values were not pushed.
type Signals struct {
	Satisfaction   *float64 `json:"satisfaction,omitempty"`
	Drift          *float64 `json:"drift,omitempty"`
	CriticalAlerts *int64   `json:"critical_alerts,omitempty"`
}

// NewSupervisor makes a supervisor; Run starts it.
func NewSupervisor(e *Engine, w World) *Supervisor {
	if w.Every <= 0 {
		w.Every = time.Second
	}
	return &Supervisor{e: e, world: w, log: e.logger, kick: map[string]chan struct{}{}, signals: map[string]Signals{}, tried: map[gov.ChangeID]attempt{}}
}

// supervisorActor is who stands in records that a supervisor causes.
var supervisorActor = gov.Principal{Handle: "govern", Kind: gov.Service, Via: "clock"}

// Run supervises until ctx is done. It takes the writer's lock first, so two
// supervisors of one data directory are refused.
func (s *Supervisor) Run(ctx context.Context) error {
	if err := s.e.Hold(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	running := map[string]bool{}
	timer := time.NewTicker(s.world.Every)
	defer timer.Stop()
	for {
		targets, err := s.targets(ctx)
		if err != nil {
			s.log.WarnContext(ctx, "policy unreadable, supervising what runs", "err", err)
		}
		for name, t := range targets {
			if running[name] || t.Environment != policy.Production {
				continue
			}
			running[name] = true
			w := s.watcher(name, t)
			wg.Go(func() { w.run(ctx) })
		}
		if err := s.startDue(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "rollouts not started", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

func (s *Supervisor) watcher(name string, t policy.Target) *watcher {
	return &watcher{s: s, name: name, t: t, kick: s.kicker(name), life: uuid.NewString()[:8]}
}

func (s *Supervisor) kicker(name string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kick[name] == nil {
		s.kick[name] = make(chan struct{}, 1)
	}
	return s.kick[name]
}

// Kick wakes the watcher of a target at once ("" wakes all): a command has just
// changed its state.
func (s *Supervisor) Kick(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, c := range s.kick {
		if target != "" && target != name {
			continue
		}
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Push joins measurements to the next windows of a target.
func (s *Supervisor) Push(target string, sig Signals) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.signals[target]
	if sig.Satisfaction != nil {
		have.Satisfaction = sig.Satisfaction
	}
	if sig.Drift != nil {
		have.Drift = sig.Drift
	}
	if sig.CriticalAlerts != nil {
		have.CriticalAlerts = sig.CriticalAlerts
	}
	s.signals[target] = have
}

func (s *Supervisor) pushed(target string) Signals {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signals[target]
}

// targets reads the policy of the default branch.
func (s *Supervisor) targets(ctx context.Context) (map[string]policy.Target, error) {
	_, tip, err := s.e.target(ctx, s.e.cfg.Repo, "")
	if err != nil {
		return nil, err
	}
	l, err := readLaw(ctx, s.e.cfg.Repo, tip)
	return l.policy.Targets, err
}

// startDue starts the rollout of every open change whose earlier stages are
// done and which never had one on its target.
func (s *Supervisor) startDue(ctx context.Context) error {
	open, err := s.e.changes(ctx, "open")
	if err != nil {
		return err
	}
	for _, st := range open {
		passed := false
		for _, p := range st.Stages {
			passed = passed || p.Stage == string(policy.StageValidate)
		}
		if !passed {
			continue
		}
		if err := s.startOne(ctx, st.ID); err != nil {
			return err
		}
	}
	return nil
}

// startOne starts the rollout of a change when it is time to try.
func (s *Supervisor) startOne(ctx context.Context, id gov.ChangeID) error {
	size, now := s.e.Reader().Size(), s.e.cfg.Clock.Now()
	s.mu.Lock()
	last, seen := s.tried[id]
	s.mu.Unlock()
	if seen && now.Before(last.next) && (last.size == size || last.fails > 0) {
		return nil
	}
	begun, err := s.begun(ctx, id)
	if err != nil {
		return err
	}
	if !begun {
		_, err = s.e.StartRollout(ctx, StartRequest{Actor: supervisorActor, Change: id})
		switch gov.KindOf(err) {
		case "":
			s.Kick("")
		case gov.KindPending, gov.KindConflict, gov.KindRefused:
			// Not its time: the verdict says why to whoever asks.
		default:
			s.log.WarnContext(ctx, "rollout not started, will be tried again", "change", id, "err", err)
		}
	}
	s.mu.Lock()
	s.tried[id] = last.after(err, size, now, s.world.Every)
	s.mu.Unlock()
	return nil
}

// begun tells whether a change runs, waits, or has ended on any target: then a
// person decides about another attempt.
func (s *Supervisor) begun(ctx context.Context, id gov.ChangeID) (bool, error) {
	subjects, err := s.e.view.Subjects(ctx, targetQuery())
	if err != nil {
		return false, err
	}
	for _, sub := range subjects {
		st, err := s.e.Target(ctx, sub.ID)
		if err != nil {
			return false, err
		}
		if st.Run != nil && st.Run.Change == id {
			return true, nil
		}
		for _, q := range st.Queue {
			if q.Change == id {
				return true, nil
			}
		}
		for _, e := range st.Ended {
			if e.Change == id {
				return true, nil
			}
		}
	}
	return false, nil
}
