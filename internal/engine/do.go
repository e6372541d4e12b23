package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/gowebpki/jcs"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
)

// Receipt is the answer to an accepted command.
type Receipt struct {
	Index     uint64    `json:"index"`
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	Duplicate bool      `json:"duplicate,omitempty"` // a retry: this is the first answer
	Recorded  bool      `json:"recorded"`            // false: nothing had to be recorded
	Behind    bool      `json:"behind,omitempty"`    // accepted, but the views are behind
}

// request is who asks for what; ID makes a retry harmless and is made up when
// empty.
type request struct {
	ID    string
	Actor gov.Principal
	Name  string
	// TakingBack commands (rollback, abort) are recorded even when the clock
	// jumped. So is any other command whose record begins a way back.
	TakingBack bool
}

// inline is how many bytes of facts and answers a record holds before the
// largest decisions move into blobs; a line's rest is for its events.
const inline = 40 << 10

// room is how many bytes of facts and answers fit beside events in one line.
func room(evs []gov.Event) int {
	left := ledger.MaxLine - 8<<10 // names, times, digests of what stands in blobs
	for _, ev := range evs {
		left -= len(ev.Data) + 200
	}
	return min(inline, left)
}

// maxAttempts bounds how often a decision is made again because a stream moved.
const maxAttempts = 50

// do runs decide on fresh state until its record fits the log.
//
// decide may be called several times: it must be pure but for reading. It
// reads streams through tx, and adds events and decisions to it. A record
// without events is not appended.
func (e *Engine) do(ctx context.Context, req request, decide func(context.Context, *tx) error) (Receipt, gov.Record, error) {
	if req.ID == "" {
		req.ID = uuid.NewString()
	}
	for attempt := 1; ; attempt++ {
		receipt, rec, err := e.try(ctx, req, decide)
		if gov.CodeOf(err) == "stream_moved" && attempt < maxAttempts {
			continue
		}
		return receipt, rec, err
	}
}

func (e *Engine) try(ctx context.Context, req request, decide func(context.Context, *tx) error) (Receipt, gov.Record, error) {
	if err := e.catch(ctx); err != nil {
		return Receipt{}, gov.Record{}, err
	}
	if receipt, rec, ok, err := e.again(req); ok || err != nil {
		return receipt, rec, err
	}
	e.followClock(ctx)
	now, clockErr := e.keeper.now()
	t := &tx{e: e, now: now, expect: map[gov.Stream]uint64{}, states: map[gov.Stream][]byte{}}
	if err := decide(ctx, t); err != nil {
		if clockErr != nil && !req.TakingBack {
			return Receipt{}, gov.Record{}, clockErr
		}
		return Receipt{}, gov.Record{}, err
	}
	if clockErr != nil && len(t.events) > 0 && !req.TakingBack && !t.back && !takesBack(t.events) {
		return Receipt{}, gov.Record{}, clockErr
	}
	rec := gov.Record{ID: req.ID, Time: now, Actor: req.Actor, Command: req.Name, Decided: t.decided, Events: t.events}
	if len(t.events) == 0 {
		return Receipt{ID: req.ID, Time: now}, rec, nil
	}
	return e.append(ctx, rec, t)
}

// takesBack tells whether a record begins a way back and permits nothing: that
// must not wait for a person who accepts the clock.
func takesBack(evs []gov.Event) bool {
	is := func(typ string) bool {
		return slices.ContainsFunc(evs, func(ev gov.Event) bool { return ev.Type == typ })
	}
	return is(canary.EvReverting) && !is(change.EventAllowed) && !is(canary.EvApproved)
}

// again finds the record of a command that is asked a second time. The log is
// asked, not a view: the first answer stands whatever has happened since.
func (e *Engine) again(req request) (Receipt, gov.Record, bool, error) {
	i, ok, err := e.Reader().Find(req.ID)
	if err != nil || !ok {
		return Receipt{}, gov.Record{}, false, err
	}
	rec, err := e.Record(i)
	if err != nil {
		return Receipt{}, rec, false, err
	}
	return Receipt{Index: i, ID: rec.ID, Time: rec.Time, Duplicate: true, Recorded: true}, rec, true, req.same(rec)
}

// same refuses an id that was given to another command.
func (req request) same(rec gov.Record) error {
	if rec.Command == req.Name {
		return nil
	}
	return gov.Errorf(gov.KindConflict, "command_id_used", "the command id %q belongs to a %s, not to a %s", req.ID, rec.Command, req.Name).
		WithHint("leave the id out, or make a new one")
}

func (e *Engine) append(ctx context.Context, rec gov.Record, t *tx) (Receipt, gov.Record, error) {
	rec.Decided = slices.Clone(rec.Decided)
	if err := e.spill(rec.Decided, room(rec.Events)); err != nil {
		return Receipt{}, rec, err
	}
	body, err := encode(rec)
	if err != nil {
		return Receipt{}, rec, err
	}
	adds := map[gov.Stream]int{}
	for _, ev := range rec.Events {
		adds[ev.Stream]++
	}
	log, err := e.writer(ctx)
	if err != nil {
		return Receipt{}, rec, err
	}
	got, err := log.Append(ctx, ledger.Entry{ID: rec.ID, Body: body, Adds: adds, Expect: t.expect})
	if err != nil {
		return Receipt{}, rec, err
	}
	if got.Duplicate {
		name := rec.Command
		rec = gov.Record{}
		if err := json.Unmarshal(got.Body, &rec); err != nil {
			return Receipt{}, rec, err
		}
		if err := (request{ID: rec.ID, Name: name}).same(rec); err != nil {
			return Receipt{}, rec, err
		}
	}
	if err := e.keeper.keep(rec.Time); err != nil {
		e.logger.WarnContext(ctx, "clock mark not kept", "err", err)
	}
	receipt := Receipt{Index: got.Index, ID: rec.ID, Time: rec.Time, Duplicate: got.Duplicate, Recorded: true}
	// The record is durable: a view that cannot follow is not an error of the command.
	if err := e.catch(ctx); err != nil {
		receipt.Behind = true
		e.logger.ErrorContext(ctx, "accepted, view behind", "index", got.Index, "err", err)
	}
	return receipt, rec, nil
}

// spill moves the largest facts and answers into blobs until the rest fits.
func (e *Engine) spill(ds []gov.Decided, room int) error {
	size := 0
	order := make([]int, len(ds))
	for i, d := range ds {
		order[i] = i
		size += len(d.Facts) + len(d.Answer)
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return len(ds[b].Facts) + len(ds[b].Answer) - len(ds[a].Facts) - len(ds[a].Answer)
	})
	for _, i := range order {
		if size <= max(room, 0) {
			return nil
		}
		d := &ds[i]
		size -= len(d.Facts) + len(d.Answer)
		b, err := canonical(struct {
			Facts  json.RawMessage `json:"facts"`
			Answer json.RawMessage `json:"answer"`
		}{d.Facts, d.Answer})
		if err != nil {
			return err
		}
		if d.Blob, err = e.blobs.put(b); err != nil {
			return err
		}
		d.Facts, d.Answer = nil, nil
	}
	return nil
}

// encode is compact JSON without HTML escapes: the log is read by people.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, gov.Errorf(gov.KindInternal, "record_unwritable", "a record cannot be written as JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// canonical is RFC 8785 JSON.
func canonical(v any) (json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, gov.Errorf(gov.KindInternal, "not_canonical", "a value cannot be written as JSON: %w", err)
	}
	out, err := jcs.Transform(b)
	if err != nil {
		return nil, gov.Errorf(gov.KindInternal, "not_canonical", "a value has no canonical JSON form: %w", err)
	}
	return out, nil
}

// tx is one attempt at a decision: what it read, and what it wants to record.
type tx struct {
	e       *Engine
	now     time.Time
	expect  map[gov.Stream]uint64
	states  map[gov.Stream][]byte
	events  []gov.Event
	decided []gov.Decided
	back    bool // it only goes on with a way back: recorded under any clock
}

// load reads a stream's folded state as JSON, nil when it has no events, and
// notes the version: the record will be refused if the stream moves.
func (t *tx) load(ctx context.Context, s gov.Stream) ([]byte, error) {
	if state, ok := t.states[s]; ok {
		return state, nil
	}
	state, version, err := t.e.view.State(ctx, s)
	if err != nil {
		return nil, err
	}
	t.expect[s], t.states[s] = version, state
	return state, nil
}

// loadAs decodes a stream's state into T; the zero T when it has no events.
func loadAs[T any](ctx context.Context, t *tx, s gov.Stream) (T, error) {
	var v T
	b, err := t.load(ctx, s)
	if err != nil || b == nil {
		return v, err
	}
	return v, decodeState(s, b, &v)
}

func decodeState(s gov.Stream, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return gov.Errorf(gov.KindInternal, "state_unreadable", "the state of %s cannot be read: %w", s, err).WithHint("govern doctor --rebuild-views")
	}
	return nil
}

// emit adds events and folds them, so that later loads of this attempt see
// them. An event of a stream that was not read first is refused by panic: it
// would be written without an expectation.
func (t *tx) emit(ctx context.Context, evs ...gov.Event) error {
	for _, ev := range evs {
		state, err := t.load(ctx, ev.Stream)
		if err != nil {
			return err
		}
		t.events = append(t.events, ev)
		for _, f := range folds() {
			if !hasPrefix(ev.Stream, f.Prefix) {
				continue
			}
			next, err := f.Apply(state, viewEvent(ev, t))
			if err != nil {
				return err
			}
			t.states[ev.Stream] = next
			break
		}
	}
	return nil
}

// record keeps a decision with its facts and answer.
func (t *tx) record(rule string, version int, policy gov.Digest, facts, answer any) error {
	f, err := canonical(facts)
	if err != nil {
		return err
	}
	a, err := canonical(answer)
	if err != nil {
		return err
	}
	t.decided = append(t.decided, gov.Decided{Rule: rule, V: version, Policy: policy, Facts: f, Answer: a})
	return nil
}

// asError gives the *gov.Error in err, or wraps it as internal.
func asError(err error) *gov.Error {
	if e, ok := errors.AsType[*gov.Error](err); ok {
		return e
	}
	return gov.Errorf(gov.KindInternal, "internal", "%w", err)
}
