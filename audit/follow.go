package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/governhq/govern/internal/gov"
)

// maxRequest is the largest line of the JSON-lines protocol: 1 MiB. Records
// shrink to MaxLine after that (Config.Oversize).
const maxRequest = 1 << 20

// inFlight bounds the records of one connection that are being written at once.
const inFlight = 1024

// answer is one line of the protocol: the index of a durable record, or why
// there is none.
type answer struct {
	Index *uint64     `json:"index,omitempty"`
	Error *lineFailed `json:"error,omitempty"`
}

type lineFailed struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Follow appends the records that r gives as JSON lines and answers each on w,
// in the order of the lines, with {"index":n} after it is durable or with
// {"error":{"code","message"}}. A refused line does not stop the next one. Many
// lines are in flight at once, so that they share syncs; w is flushed whenever
// no further answer is ready.
//
// It returns nil when r ends and every line is answered, the error of r or w,
// or that of ctx. When ctx ends while r blocks, Follow returns after answering
// what was read; the goroutine that reads r ends with its next line.
func Follow(ctx context.Context, r io.Reader, w io.Writer, log *Log) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan chan answer, inFlight)
	readErr := make(chan error, 1)
	go func() {
		readErr <- log.take(ctx, bufio.NewReaderSize(r, 64<<10), queue)
		close(queue)
	}()
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	for {
		var slot chan answer
		var ok bool
		select {
		case slot, ok = <-queue:
		case <-ctx.Done():
			return drain(ctx, queue, enc, out)
		}
		if !ok {
			return join(<-readErr, out.Flush())
		}
		var a answer
		select {
		case a = <-slot:
		default: // not there yet: let the other side see what is
			if err := out.Flush(); err != nil {
				return err
			}
			a = <-slot
		}
		if err := enc.Encode(a); err != nil {
			return err
		}
		if len(queue) == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
	}
}

// drain answers what was already taken when ctx ended.
func drain(ctx context.Context, queue chan chan answer, enc *json.Encoder, out *bufio.Writer) error {
	for {
		select {
		case slot, ok := <-queue:
			if ok {
				if err := enc.Encode(<-slot); err != nil {
					return err
				}
				continue
			}
		default:
		}
		return join(ctx.Err(), out.Flush())
	}
}

// take reads lines and hands them to the log; the slots in queue keep their
// order.
func (l *Log) take(ctx context.Context, r *bufio.Reader, queue chan<- chan answer) error {
	for {
		line, err := readLine(r)
		if err != nil && line == nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != errLineTooLong {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		slot := make(chan answer, 1)
		select {
		case queue <- slot:
		case <-ctx.Done():
			return ctx.Err()
		}
		if line == nil {
			slot <- refused(err)
			continue
		}
		l.enqueue(ctx, line, slot)
	}
}

// enqueue judges one line of the protocol, and returns when the log has it in
// its queue: the records of one connection enter the log in the order of their
// lines, although none waits for the sync of the one before.
func (l *Log) enqueue(ctx context.Context, line []byte, slot chan<- answer) {
	r, err := ParseRecord(line)
	if err == nil {
		line, err = l.prepare(r)
	}
	if err == nil && l.closed.Load() {
		err = errClosed
	}
	if err != nil {
		slot <- refused(err)
		return
	}
	queued := newQueued(context.WithoutCancel(ctx))
	go func() {
		defer queued.signal()
		index, err := l.out.AppendLine(queued, line)
		if err != nil {
			slot <- refused(err)
			return
		}
		slot <- answer{Index: &index}
	}()
	<-queued.ch
}

// queuedContext tells when somebody begins to wait on it. A ledger does that
// right after it has put the line into its queue; a test holds it to that.
type queuedContext struct {
	context.Context
	once sync.Once
	ch   chan struct{}
}

func newQueued(ctx context.Context) *queuedContext {
	return &queuedContext{Context: ctx, ch: make(chan struct{})}
}

// Done is called when the line is in the queue.
func (q *queuedContext) Done() <-chan struct{} {
	q.signal()
	return q.Context.Done()
}

func (q *queuedContext) signal() { q.once.Do(func() { close(q.ch) }) }

func refused(err error) answer {
	code, message := explain(err)
	return answer{Error: &lineFailed{Code: code, Message: message}}
}

var errLineTooLong = gov.Errorf(gov.KindInvalid, "audit_line_too_long", "a line may have at most %d bytes", maxRequest)

// readLine reads up to the next newline, or to the end. An overlong line is
// skipped whole and reported as errLineTooLong, with no line.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if !long {
			line = append(line, part...)
			long = len(bytes.TrimSuffix(line, []byte("\n"))) > maxRequest
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		switch {
		case err == nil && long, err == io.EOF && long:
			return nil, errLineTooLong
		case err == nil:
			return line[:len(line)-1], nil
		case err == io.EOF && len(line) > 0:
			return line, nil
		}
		return nil, err
	}
}
