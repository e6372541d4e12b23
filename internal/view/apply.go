package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Event is one event as a projection sees it: with its place in the log.
type Event struct {
	gov.Event
	Version uint64 // in its stream, from 1
	Index   uint64 // of its record
	N       int    // within its record
	Time    time.Time
	Actor   gov.Principal
}

// Entry is one record of the log with its index.
type Entry struct {
	Index  uint64
	Record gov.Record
}

// Source is the log as a view reads it. TreeHash(n) is the RFC 6962 root over
// the first n records, in any fixed text form.
type Source interface {
	Size() uint64
	TreeHash(ctx context.Context, n uint64) (string, error)
	Records(ctx context.Context, from, to uint64) iter.Seq2[Entry, error]
}

const batch = 500 // records a transaction

// Catch brings the view to the log's present size. A view that is ahead of the
// log or stands on another history is reset first. It returns how many records
// were applied and whether the view was rebuilt.
func (v *View) Catch(ctx context.Context, src Source) (applied uint64, rebuilt bool, err error) {
	healed := false
	for {
		n, done, reset, err := v.step(ctx, src)
		if damaged(err) && !healed {
			healed, reset, done, err = true, true, false, v.Reset(ctx)
		}
		applied += n
		rebuilt = rebuilt || reset
		if err != nil || done {
			return applied, rebuilt, err
		}
	}
}

func (v *View) step(ctx context.Context, src Source) (n uint64, done, reset bool, err error) {
	size := src.Size()
	if have, _, err := position(ctx, v.read()); err == nil && have == size && size > 0 {
		if ok, err := v.same(ctx, v.read(), src, size); err != nil || ok {
			return 0, true, false, err
		}
	}
	tx, err := v.write().BeginTx(ctx, nil)
	if err != nil {
		return 0, false, false, wrap("update views", err)
	}
	defer tx.Rollback()
	have, _, err := position(ctx, tx)
	if err != nil {
		return 0, false, false, wrap("update views", err)
	}
	if have > 0 {
		ok, err := v.same(ctx, tx, src, size)
		if err != nil {
			return 0, false, false, err
		}
		if !ok {
			tx.Rollback()
			return 0, false, true, v.Reset(ctx)
		}
	}
	to := min(size, have+batch)
	if err := v.apply(ctx, tx, src, have, to); err != nil {
		return 0, false, false, wrap("update views", err)
	}
	root, err := src.TreeHash(ctx, to)
	if err != nil {
		return 0, false, false, err
	}
	if err := setPosition(ctx, tx, to, root); err != nil {
		return 0, false, false, wrap("update views", err)
	}
	return to - have, to == size, false, wrap("update views", tx.Commit())
}

// same tells whether the view's position lies on this log.
func (v *View) same(ctx context.Context, q querier, src Source, size uint64) (bool, error) {
	have, root, err := position(ctx, q)
	if err != nil || have > size {
		return false, wrap("read views", err)
	}
	want, err := src.TreeHash(ctx, have)
	return want == root, err
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func position(ctx context.Context, q querier) (uint64, string, error) {
	var s string
	err := q.QueryRowContext(ctx, `SELECT v FROM meta WHERE k = $1`, "position").Scan(&s)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	size, root, _ := strings.Cut(s, " ")
	n, err := strconv.ParseUint(size, 10, 64)
	return n, root, err
}

func setPosition(ctx context.Context, tx *sql.Tx, n uint64, root string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO meta (k, v) VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = excluded.v`,
		"position", strconv.FormatUint(n, 10)+" "+root)
	return err
}

func (v *View) apply(ctx context.Context, tx *sql.Tx, src Source, from, to uint64) error {
	for e, err := range src.Records(ctx, from, to) {
		if err != nil {
			return err
		}
		if err := v.applyRecord(ctx, tx, e); err != nil {
			return fmt.Errorf("record %d: %w", e.Index, err)
		}
	}
	return nil
}

func (v *View) applyRecord(ctx context.Context, tx *sql.Tx, e Entry) error {
	r := e.Record
	ms := r.Time.UnixMilli()
	if _, err := tx.ExecContext(ctx, `INSERT INTO records (idx, id, at_ms, actor, via, command, decided) VALUES ($1,$2,$3,$4,$5,$6,$7)`,
		e.Index, r.ID, ms, r.Actor.Handle, r.Actor.Via, r.Command, len(r.Decided)); err != nil {
		return err
	}
	for n, ev := range r.Events {
		if err := v.applyEvent(ctx, tx, Event{Event: ev, Index: e.Index, N: n, Time: r.Time, Actor: r.Actor}); err != nil {
			return err
		}
	}
	return nil
}

func (v *View) applyEvent(ctx context.Context, tx *sql.Tx, ev Event) error {
	var version uint64
	var state []byte
	err := tx.QueryRowContext(ctx, `SELECT version, state FROM states WHERE stream = $1`, ev.Stream).Scan(&version, &state)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	ev.Version = version + 1
	ms := ev.Time.UnixMilli()
	if _, err := tx.ExecContext(ctx, `INSERT INTO events (stream, version, idx, n, type, v, at_ms, actor, data) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9)`,
		ev.Stream, ev.Version, ev.Index, ev.N, ev.Type, ev.V, ms, ev.Actor.Handle, string(ev.Data)); err != nil {
		return err
	}
	if ev.Type == "statement.recorded" {
		if err := applyStatement(ctx, tx, ev); err != nil {
			return err
		}
	}
	fold := v.fold(ev.Stream)
	if len(state) == 0 {
		state = nil
	}
	if fold != nil {
		if state, err = fold.Apply(state, ev); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO states (stream, version, idx, at_ms, state) VALUES ($1,$2,$3,$4,$5)
		ON CONFLICT (stream) DO UPDATE SET version = excluded.version, idx = excluded.idx, at_ms = excluded.at_ms, state = excluded.state`,
		ev.Stream, ev.Version, ev.Index, ms, string(state)); err != nil {
		return err
	}
	if fold == nil || fold.Index == nil {
		return nil
	}
	return index(ctx, tx, fold, ev.Stream, state)
}

func (v *View) fold(s gov.Stream) *Fold {
	for i := range v.folds {
		if strings.HasPrefix(string(s), v.folds[i].Prefix) {
			return &v.folds[i]
		}
	}
	return nil
}

func index(ctx context.Context, tx *sql.Tx, fold *Fold, stream gov.Stream, state []byte) error {
	s, err := fold.Index(stream, state)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO subjects (kind, id, number, owner, state, digest) VALUES ($1,$2,$3,$4,$5,$6)
		ON CONFLICT (kind, id) DO UPDATE SET number = excluded.number, owner = excluded.owner, state = excluded.state, digest = excluded.digest`,
		s.Kind, s.ID, s.Number, s.Owner, s.State, s.Digest); err != nil {
		return err
	}
	if s.WakeMS == 0 {
		_, err = tx.ExecContext(ctx, `DELETE FROM deadlines WHERE stream = $1`, stream)
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO deadlines (stream, at_ms) VALUES ($1,$2)
		ON CONFLICT (stream) DO UPDATE SET at_ms = excluded.at_ms`, stream, s.WakeMS)
	return err
}

func applyStatement(ctx context.Context, tx *sql.Tx, ev Event) error {
	var r gov.Recorded
	if err := json.Unmarshal(ev.Data, &r); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO statements (digest, change_id, signer, decision, stage, idx, at_ms) VALUES ($1,$2,$3,$4,$5,$6,$7)
		ON CONFLICT (digest) DO NOTHING`,
		r.Digest, r.Change, r.Signer, r.Decision, r.Stage, ev.Index, ev.Time.UnixMilli())
	return err
}
