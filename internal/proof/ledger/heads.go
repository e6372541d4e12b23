package ledger

import (
	"context"
	"maps"

	"github.com/governhq/govern/internal/gov"
)

// catchUp brings the book of a Reader to its size, from the state file or the
// lines. The caller holds no lock; the book is read under bookMu.
func (r *Reader) catchUp() (*book, error) {
	r.bookMu.Lock()
	defer r.bookMu.Unlock()
	if r.live {
		return r.book, nil
	}
	p := r.pos.Load()
	if r.book == nil {
		r.book = newBook()
		if b, root, ok := loadState(r.fs, r.dir, r.mode); ok && b.size <= p.size {
			if h, err := r.TreeHash(b.size); err == nil && h == root {
				r.book = b
			}
		}
	}
	for l, err := range r.Lines(context.Background(), r.book.size, p.size) {
		if err == nil {
			err = r.book.takeLine(l, r.mode)
		}
		if err != nil {
			r.book = nil
			return nil, err
		}
	}
	return r.book, nil
}

// takeLine enters one line.
func (b *book) takeLine(l Line, mode Mode) error {
	b.turns = append(b.turns, findTurns(l.Index, l.Bytes)...)
	b.off += int64(len(l.Bytes)) + 1
	if mode != Governance {
		b.size++
		return nil
	}
	rec, err := ParseRecord(l.Bytes)
	if err == nil {
		err = b.take(rec)
	}
	return err
}

// Head is the version of a stream at Size, 0 when there is none.
func (r *Reader) Head(s gov.Stream) (uint64, error) {
	b, err := r.catchUp()
	if err != nil {
		return 0, err
	}
	r.bookMu.RLock()
	defer r.bookMu.RUnlock()
	return b.heads[s], nil
}

// Heads is the version of every stream at Size.
func (r *Reader) Heads() (map[gov.Stream]uint64, error) {
	b, err := r.catchUp()
	if err != nil {
		return nil, err
	}
	r.bookMu.RLock()
	defer r.bookMu.RUnlock()
	return maps.Clone(b.heads), nil
}

// Turns lists the key changes and epochs in the log that verify on their own;
// see Verifier.AddTurn.
func (r *Reader) Turns() ([]Turn, error) {
	b, err := r.catchUp()
	if err != nil {
		return nil, err
	}
	r.bookMu.RLock()
	defer r.bookMu.RUnlock()
	return append([]Turn(nil), b.turns...), nil
}

// Find is the index of the governance record with a command id.
func (r *Reader) Find(id string) (index uint64, ok bool, err error) {
	b, err := r.catchUp()
	if err != nil {
		return 0, false, err
	}
	r.bookMu.RLock()
	index, ok = b.ids[keyOf(id)]
	r.bookMu.RUnlock()
	if !ok {
		return 0, false, nil
	}
	rec, err := r.record(index)
	return index, err == nil && rec.ID == id, err
}

func (r *Reader) record(i uint64) (Record, error) {
	line, err := r.Line(i)
	if err != nil {
		return Record{}, err
	}
	return ParseRecord(line)
}
