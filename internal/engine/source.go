package engine

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
	"github.com/governhq/govern/internal/view"
)

// source lets views read the log.
type source struct{ r *ledger.Reader }

// Size is the number of durable, signed records.
func (s source) Size() uint64 { return s.r.Size() }

// TreeHash is the base64 root over the first n records.
func (s source) TreeHash(_ context.Context, n uint64) (string, error) {
	h, err := s.r.TreeHash(n)
	return h.String(), err
}

// Records walks [from, to).
func (s source) Records(ctx context.Context, from, to uint64) iter.Seq2[view.Entry, error] {
	return func(yield func(view.Entry, error) bool) {
		if from == to {
			return
		}
		for line, err := range s.r.Lines(ctx, from, to) {
			var rec gov.Record
			if err == nil {
				rec, err = decodeRecord(line.Bytes)
			}
			if !yield(view.Entry{Index: line.Index, Record: rec}, err) || err != nil {
				return
			}
		}
	}
}

func decodeRecord(line []byte) (gov.Record, error) {
	var outer struct {
		Record gov.Record `json:"record"`
	}
	if err := json.Unmarshal(line, &outer); err != nil {
		return gov.Record{}, gov.Errorf(gov.KindIntegrity, "record_unreadable", "a record of the log is not one of govern's: %w", err).WithHint("govern verify log")
	}
	return outer.Record, nil
}

// catch brings the views to the log's size.
func (e *Engine) catch(ctx context.Context) error {
	e.catchMu.Lock()
	defer e.catchMu.Unlock()
	r := e.Reader()
	if r == e.reader {
		if err := r.Refresh(); err != nil {
			return err
		}
	}
	applied, rebuilt, err := e.view.Catch(ctx, source{r})
	if rebuilt {
		e.logger.InfoContext(ctx, "views rebuilt", "records", applied)
	}
	return err
}

// followClock takes over the time of the last record when the log has grown.
func (e *Engine) followClock(ctx context.Context) {
	size := e.Reader().Size()
	if e.keeper.followed(size) {
		return
	}
	last, err := e.lastTime()
	if err != nil {
		e.logger.WarnContext(ctx, "time of the last record not read", "err", err)
		return
	}
	e.keeper.follow(last, size)
}

func (e *Engine) lastTime() (time.Time, error) {
	r := e.Reader()
	if r.Size() == 0 {
		return time.Time{}, nil
	}
	line, err := r.Line(r.Size() - 1)
	if err != nil {
		return time.Time{}, err
	}
	rec, err := decodeRecord(line)
	return rec.Time, err
}

// Record reads one record.
func (e *Engine) Record(i uint64) (gov.Record, error) {
	line, err := e.Reader().Line(i)
	if err != nil {
		return gov.Record{}, err
	}
	return decodeRecord(line)
}

// RebuildViews throws the views away and builds them again from the log.
func (e *Engine) RebuildViews(ctx context.Context) error {
	e.catchMu.Lock()
	err := e.view.Reset(ctx)
	e.catchMu.Unlock()
	if err != nil {
		return err
	}
	return e.catch(ctx)
}
