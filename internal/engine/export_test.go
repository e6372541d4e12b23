package engine

import (
	"context"
	"testing"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/view"
)

// RebuiltDump is the dump of views that are built from nothing.
func RebuiltDump(t testing.TB, e *Engine) gov.Digest {
	t.Helper()
	v, err := view.Open(context.Background(), "", folds())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, _, err := v.Catch(context.Background(), source{e.Reader()}); err != nil {
		t.Fatal(err)
	}
	d, err := v.Dump(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Tx is what a decision of a test sees.
type Tx struct{ t *tx }

// Load reads a stream's state.
func (x Tx) Load(ctx context.Context, s gov.Stream) ([]byte, error) { return x.t.load(ctx, s) }

// Emit adds events.
func (x Tx) Emit(ctx context.Context, evs ...gov.Event) error { return x.t.emit(ctx, evs...) }

// Record adds a decision.
func (x Tx) Record(rule string, version int, facts, answer any) error {
	return x.t.record(rule, version, "", facts, answer)
}

// Do runs a decision of a test.
func (e *Engine) Do(ctx context.Context, id, name string, decide func(context.Context, Tx) error) (Receipt, error) {
	r, _, err := e.do(ctx, request{ID: id, Name: name, Actor: gov.Principal{Handle: "test", Kind: gov.Service}}, func(ctx context.Context, t *tx) error {
		return decide(ctx, Tx{t})
	})
	return r, err
}

// Now is the time a decision would be made at.
func (e *Engine) Now() error {
	_, err := e.keeper.now()
	return err
}

// Watcher is one target's part of a supervisor, stepped by hand.
type Watcher struct{ w *watcher }

// Watch makes the watcher of a target, as Run does.
func (s *Supervisor) Watch(ctx context.Context, name string) (Watcher, error) {
	targets, err := s.targets(ctx)
	return Watcher{s.watcher(name, targets[name])}, err
}

// Step brings the world to what the log says, once.
func (w Watcher) Step(ctx context.Context) error { return w.w.step(ctx) }

// StartDue starts what is due.
func (s *Supervisor) StartDue(ctx context.Context) error { return s.startDue(ctx) }
