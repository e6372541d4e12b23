package view

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// State gives a stream's folded state and version; version 0 and nil for a
// stream without events.
func (v *View) State(ctx context.Context, s gov.Stream) (state []byte, version uint64, err error) {
	err = v.read().QueryRowContext(ctx, `SELECT version, state FROM states WHERE stream = $1`, s).Scan(&version, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	}
	return state, version, wrap("read state of "+string(s), err)
}

// Events gives all events of a stream in order.
func (v *View) Events(ctx context.Context, s gov.Stream) ([]Event, error) {
	rows, err := v.read().QueryContext(ctx, `SELECT stream, version, idx, n, type, v, at_ms, actor, data FROM events WHERE stream = $1 ORDER BY version`, s)
	return scanEvents(rows, err)
}

// Tail gives the newest n events of all streams, newest first.
func (v *View) Tail(ctx context.Context, n int) ([]Event, error) {
	rows, err := v.read().QueryContext(ctx, `SELECT stream, version, idx, n, type, v, at_ms, actor, data FROM events ORDER BY idx DESC, n DESC LIMIT $1`, n)
	return scanEvents(rows, err)
}

func scanEvents(rows *sql.Rows, err error) ([]Event, error) {
	if err != nil {
		return nil, wrap("read events", err)
	}
	defer rows.Close()
	var out []Event
	for rows.Next() {
		var e Event
		var ms int64
		var data string
		if err := rows.Scan(&e.Stream, &e.Version, &e.Index, &e.N, &e.Type, &e.V, &ms, &e.Actor.Handle, &data); err != nil {
			return nil, wrap("read events", err)
		}
		e.Time, e.Data = time.UnixMilli(ms).UTC(), []byte(data)
		out = append(out, e)
	}
	return out, wrap("read events", rows.Err())
}

// Query selects subjects; empty fields match everything.
type Query struct {
	Kind   string
	State  string
	Digest string
	Limit  int // 0: 1000
}

// Subjects lists subjects by number, then id.
func (v *View) Subjects(ctx context.Context, q Query) ([]Subject, error) {
	where, args := []string{"kind = $1"}, []any{q.Kind}
	for col, val := range map[string]string{"state": q.State, "digest": q.Digest} {
		if val != "" {
			args = append(args, val)
			where = append(where, fmt.Sprintf("%s = $%d", col, len(args)))
		}
	}
	if q.Limit <= 0 {
		q.Limit = 1000
	}
	args = append(args, q.Limit)
	rows, err := v.read().QueryContext(ctx, `SELECT kind, id, number, owner, state, digest FROM subjects WHERE `+
		strings.Join(where, " AND ")+fmt.Sprintf(` ORDER BY number, id LIMIT $%d`, len(args)), args...)
	if err != nil {
		return nil, wrap("list "+q.Kind, err)
	}
	defer rows.Close()
	var out []Subject
	for rows.Next() {
		var s Subject
		if err := rows.Scan(&s.Kind, &s.ID, &s.Number, &s.Owner, &s.State, &s.Digest); err != nil {
			return nil, wrap("list "+q.Kind, err)
		}
		out = append(out, s)
	}
	return out, wrap("list "+q.Kind, rows.Err())
}

// MaxNumber is the highest number of a kind, 0 when there is none.
func (v *View) MaxNumber(ctx context.Context, kind string) (int, error) {
	var n sql.NullInt64
	err := v.read().QueryRowContext(ctx, `SELECT MAX(number) FROM subjects WHERE kind = $1`, kind).Scan(&n)
	return int(n.Int64), wrap("read highest number", err)
}

// HasStatement tells whether a statement was taken in, and at which index.
func (v *View) HasStatement(ctx context.Context, d gov.Digest) (index uint64, ok bool, err error) {
	err = v.read().QueryRowContext(ctx, `SELECT idx FROM statements WHERE digest = $1`, d).Scan(&index)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return index, err == nil, wrap("look up statement", err)
}

// Due lists the streams whose deadline is at or before t, earliest first.
func (v *View) Due(ctx context.Context, t time.Time) ([]gov.Stream, error) {
	rows, err := v.read().QueryContext(ctx, `SELECT stream FROM deadlines WHERE at_ms <= $1 ORDER BY at_ms, stream`, t.UnixMilli())
	if err != nil {
		return nil, wrap("read deadlines", err)
	}
	defer rows.Close()
	var out []gov.Stream
	for rows.Next() {
		var s gov.Stream
		if err := rows.Scan(&s); err != nil {
			return nil, wrap("read deadlines", err)
		}
		out = append(out, s)
	}
	return out, wrap("read deadlines", rows.Err())
}

// NextDeadline is the earliest deadline, zero when there is none.
func (v *View) NextDeadline(ctx context.Context) (time.Time, error) {
	var ms sql.NullInt64
	err := v.read().QueryRowContext(ctx, `SELECT MIN(at_ms) FROM deadlines`).Scan(&ms)
	if err != nil || !ms.Valid {
		return time.Time{}, wrap("read deadlines", err)
	}
	return time.UnixMilli(ms.Int64).UTC(), nil
}

// Deciding lists the indexes of records that hold decisions, in order.
func (v *View) Deciding(ctx context.Context) ([]uint64, error) {
	rows, err := v.read().QueryContext(ctx, `SELECT idx FROM records WHERE decided > 0 ORDER BY idx`)
	if err != nil {
		return nil, wrap("list decisions", err)
	}
	defer rows.Close()
	var out []uint64
	for rows.Next() {
		var i uint64
		if err := rows.Scan(&i); err != nil {
			return nil, wrap("list decisions", err)
		}
		out = append(out, i)
	}
	return out, wrap("list decisions", rows.Err())
}

// Applied is how many records the view holds.
func (v *View) Applied(ctx context.Context) (uint64, error) {
	n, _, err := position(ctx, v.read())
	return n, wrap("read views", err)
}

// tables names every table and a column list that orders its rows wholly.
var tables = []struct{ name, order string }{
	{"deadlines", "stream"},
	{"statements", "digest"},
	{"subjects", "kind, id"},
	{"states", "stream"},
	{"events", "stream, version"},
	{"records", "idx"},
	{"meta", "k"},
}

// Dump is a digest over every row of every table in a fixed order: two views
// of the same log have the same one.
func (v *View) Dump(ctx context.Context) (gov.Digest, error) {
	h := sha256.New()
	for _, t := range tables {
		rows, err := v.read().QueryContext(ctx, "SELECT * FROM "+t.name+" ORDER BY "+t.order)
		if err != nil {
			return "", wrap("dump views", err)
		}
		cols, err := rows.Columns()
		if err != nil {
			rows.Close()
			return "", wrap("dump views", err)
		}
		vals, ptrs := make([]sql.NullString, len(cols)), make([]any, len(cols))
		for i := range vals {
			ptrs[i] = &vals[i]
		}
		fmt.Fprintf(h, "%s %d\n", t.name, len(cols))
		for rows.Next() {
			if err := rows.Scan(ptrs...); err != nil {
				rows.Close()
				return "", wrap("dump views", err)
			}
			for _, val := range vals {
				fmt.Fprintf(h, "%t %q ", val.Valid, val.String)
			}
			fmt.Fprintln(h)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return "", wrap("dump views", err)
		}
	}
	return gov.DigestSum([32]byte(h.Sum(nil))), nil
}
