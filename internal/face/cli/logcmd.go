package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
)

func (a *app) logs() *cobra.Command {
	return group("log", "audit logs, and the records of the governance log", groupProof,
		a.logAppend(), a.logQuery(), a.logTail(), a.logProve(), a.logAnchor(), a.logExport())
}

func (a *app) logAppend() *cobra.Command {
	var dir, origin, socket string
	var follow bool
	c := &cobra.Command{
		Use: "append --dir DIR", Short: "take JSON lines into an audit log", Args: cobra.NoArgs,
		Long: "Reads audit records as JSON lines on stdin and answers each with {\"index\":n} after it\n" +
			"is on the disk, or with {\"error\":{…}}. With --socket any number of local processes\n" +
			"write through that socket until the command is interrupted. Exit code 1 when a line\n" +
			"was refused.",
		Example: "  my-orchestrator | govern log append --dir audit --origin example.org/studio\n  govern log append --dir audit --socket audit/sock",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return missingDir("govern log append --dir DIR --origin NAME")
			}
			name, err := a.auditOrigin(cmd.Context(), dir, origin)
			if err != nil {
				return err
			}
			if socket != "" {
				socket = a.path(socket)
				a.talk("listening on %s", socket)
			}
			refused := &refusals{w: a.Stdout}
			if err := a.AppendAudit(cmd.Context(), a.path(dir), name, follow, socket, a.Stdin, refused); err != nil {
				return err
			}
			if refused.n > 0 {
				return Exit(ExitRefused)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "dir", "", "directory of the audit log; made when missing")
	f.StringVar(&origin, "origin", "", "name of a new log, like example.org/studio")
	f.BoolVar(&follow, "follow", false, "keep answering for as long as stdin is open (always so; for the reader's eyes)")
	f.StringVar(&socket, "socket", "", "listen on this 0600 unix socket instead of stdin")
	return c
}

// refusals passes answers on and counts the lines that were refused.
type refusals struct {
	w io.Writer
	n int
}

func (r *refusals) Write(b []byte) (int, error) {
	r.n += strings.Count(string(b), `{"error":`)
	return r.w.Write(b)
}

func missingDir(hint string) error {
	return gov.Errorf(gov.KindInvalid, "usage", "--dir names the audit log's directory").WithHint("%s", hint)
}

// auditOrigin is the name of an existing log, or the one that a new log is given.
func (a *app) auditOrigin(ctx context.Context, dir, origin string) (string, error) {
	if origin != "" {
		return origin, nil
	}
	head, err := a.LogHead(ctx, a.path(dir))
	switch {
	case err == nil:
		name, _, _ := strings.Cut(head.Origin, "/epoch-")
		return name, nil
	case gov.KindOf(err) == gov.KindNotFound || gov.KindOf(err) == gov.KindPending:
		return "", gov.Errorf(gov.KindInvalid, "audit_origin_missing", "a new log needs a name that never changes").WithHint("--origin example.org/studio")
	}
	return "", err
}

// auditLine is what queries look at of an audit record.
type auditLine struct {
	Timestamp  time.Time       `json:"timestamp"`
	Operation  string          `json:"operation"`
	Result     string          `json:"result"`
	DurationMS int64           `json:"duration_ms"`
	Seed       int64           `json:"seed_used"`
	Modules    []auditModule   `json:"modules_loaded"`
	Spec       json.RawMessage `json:"section_spec"`
}

type auditModule struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// indexed is one record of an answer.
type indexed struct {
	Index  uint64          `json:"index"`
	Record json.RawMessage `json:"record"`
}

// filter says which records of an audit log are wanted.
type filter struct {
	dir, operation, result, module, since, until string
	limit                                        int
	from, to                                     time.Time
}

func (f *filter) register(c *cobra.Command, limit int) {
	fl := c.Flags()
	fl.StringVar(&f.dir, "dir", "", "directory of the audit log")
	fl.StringVar(&f.operation, "operation", "", "only this operation")
	fl.StringVar(&f.result, "result", "", "only success or failure")
	fl.StringVar(&f.module, "module", "", "only where this module was loaded (NAME or NAME@VERSION)")
	fl.StringVar(&f.since, "since", "", "not before: RFC 3339, a date, or an age like 2h")
	fl.StringVar(&f.until, "until", "", "before: RFC 3339, a date, or an age like 2h")
	fl.IntVar(&f.limit, "limit", limit, "at most so many, the newest; 0 for all")
}

func (f *filter) read(now time.Time) (err error) {
	if f.result != "" && f.result != "success" && f.result != "failure" {
		return gov.Errorf(gov.KindInvalid, "usage", "--result is success or failure, not %q", f.result)
	}
	if f.limit < 0 {
		return gov.Errorf(gov.KindInvalid, "usage", "--limit is a count, not %d", f.limit)
	}
	if f.from, err = moment(f.since, now); err != nil {
		return err
	}
	f.to, err = moment(f.until, now)
	return err
}

// moment reads a time, a date or an age; zero for "".
func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, gov.Errorf(gov.KindInvalid, "time_invalid", "%q is no time", s).WithHint("write 2026-11-23T07:00:00Z, 2026-11-23 or an age like 2h")
}

func (f *filter) wants(r auditLine) bool {
	if f.operation != "" && r.Operation != f.operation || f.result != "" && r.Result != f.result {
		return false
	}
	if !f.from.IsZero() && r.Timestamp.Before(f.from) || !f.to.IsZero() && !r.Timestamp.Before(f.to) {
		return false
	}
	return f.module == "" || slices.ContainsFunc(r.Modules, func(m auditModule) bool {
		return m.Name == f.module || m.Name+"@"+m.Version == f.module
	})
}

// collect walks an audit log from an index on and keeps the newest records that
// are wanted. It gives the index behind the last one it saw.
func (a *app) collect(ctx context.Context, f *filter, from uint64) (kept []indexed, next uint64, err error) {
	next = from
	err = a.AuditLines(ctx, a.path(f.dir), from, 0, func(index uint64, line []byte) error {
		next = index + 1
		var r auditLine
		if err := json.Unmarshal(line, &r); err != nil {
			return gov.Errorf(gov.KindIntegrity, "audit_record_unreadable", "record %d is no audit record: %w", index, err).WithHint("govern verify %s", f.dir)
		}
		if !f.wants(r) {
			return nil
		}
		kept = append(kept, indexed{index, json.RawMessage(slices.Clone(line))})
		if f.limit > 0 && len(kept) > 2*f.limit {
			kept = append(kept[:0], kept[len(kept)-f.limit:]...)
		}
		return nil
	})
	if f.limit > 0 && len(kept) > f.limit {
		kept = kept[len(kept)-f.limit:]
	}
	return kept, next, err
}

func (a *app) logQuery() *cobra.Command {
	var f filter
	c := &cobra.Command{
		Use: "query --dir DIR", Short: "find records of an audit log", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.dir == "" {
				return missingDir("govern log query --dir DIR --result failure --since 24h")
			}
			if err := f.read(time.Now()); err != nil {
				return err
			}
			kept, _, err := a.collect(cmd.Context(), &f, 0)
			if err != nil {
				return err
			}
			if kept == nil {
				kept = []indexed{}
			}
			return a.give(map[string]any{"records": kept}, func(w io.Writer) { auditTable(w, kept) })
		},
	}
	f.register(c, 100)
	return c
}

func auditTable(w io.Writer, records []indexed) {
	var rows [][]string
	for _, x := range records {
		rows = append(rows, auditRow(x))
	}
	table(w, rows)
}

func auditRow(x indexed) []string {
	var r auditLine
	if err := json.Unmarshal(x.Record, &r); err != nil {
		return []string{fmt.Sprint(x.Index), "unreadable"}
	}
	return []string{fmt.Sprint(x.Index), r.Timestamp.UTC().Format(time.RFC3339), r.Operation, r.Result, fmt.Sprintf("%d ms", r.DurationMS), fmt.Sprintf("seed %d", r.Seed)}
}

func (a *app) logTail() *cobra.Command {
	var f filter
	var follow bool
	c := &cobra.Command{
		Use: "tail", Short: "the newest records: of the governance log, or with --dir of an audit log", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.read(time.Now()); err != nil {
				return err
			}
			if f.dir == "" {
				return a.tailEvents(cmd.Context(), f.limit)
			}
			return a.tailAudit(cmd.Context(), &f, follow)
		},
	}
	f.register(c, 20)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes (with --dir)")
	return c
}

func (a *app) tailEvents(ctx context.Context, n int) error {
	if n == 0 {
		n = 10000
	}
	_, s, err := a.session(ctx, "govern log tail")
	if err != nil {
		return err
	}
	defer s.Close()
	list, err := s.Client().Events(ctx, n)
	if err != nil {
		return err
	}
	slices.Reverse(list.Events) // oldest first, as a file is read
	return a.give(list, func(w io.Writer) {
		var rows [][]string
		for _, e := range list.Events {
			rows = append(rows, []string{fmt.Sprint(e.Index), stamp(e.Time), e.Stream, e.Type, e.Actor})
		}
		table(w, rows)
	})
}

const tailEvery = 500 * time.Millisecond

func (a *app) tailAudit(ctx context.Context, f *filter, follow bool) error {
	kept, next, err := a.collect(ctx, f, 0)
	if err != nil {
		return err
	}
	f.limit = 0
	for {
		for _, x := range kept {
			if err := a.tailLine(x); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tailEvery):
		}
		head, err := a.LogHead(ctx, a.path(f.dir))
		if err != nil {
			return err
		}
		if kept = nil; head.Size > next {
			if kept, next, err = a.collect(ctx, f, next); err != nil {
				return err
			}
		}
	}
}

func (a *app) tailLine(x indexed) error {
	if a.output == "text" {
		_, err := fmt.Fprintln(a.Stdout, printable(strings.Join(auditRow(x), "  ")))
		return err
	}
	return a.line(x)
}

// line prints one JSON object on a line: what streams give, whatever -o says
// besides text.
func (a *app) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%s\n", b)
	return err
}

func (a *app) logProve() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "prove INDEX", Short: "a proof that anybody can check: a record is in the log", Args: cobra.ExactArgs(1),
		Long: "Prints a C2SP tlog-proof that carries the record. Whoever has the log's verifier key\n" +
			"checks it without the log: govern verify FILE --vkey KEY",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			index, err := strconv.ParseUint(args[0], 10, 63)
			if err != nil {
				return gov.Errorf(gov.KindInvalid, "index_invalid", "%q is not the index of a record", args[0]).WithHint("govern log tail")
			}
			at := a.path(dir)
			if dir == "" {
				w, err := a.repo(ctx)
				if err != nil {
					return err
				}
				at = w.DataDir()
			}
			head, err := a.LogHead(ctx, at)
			if err != nil {
				return err
			}
			if index >= head.Size {
				return gov.Errorf(gov.KindNotFound, "record_unknown", "the log has %d signed records; there is no record %d", head.Size, index).WithHint("govern log tail")
			}
			proof, err := a.ProveRecord(ctx, at, index)
			if err != nil {
				return err
			}
			return a.give(map[string]any{"index": index, "origin": head.Origin, "key": head.Key, "proof": string(proof)}, func(w io.Writer) { w.Write(proof) })
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "directory of the log (default this repository's governance log)")
	return c
}

func (a *app) logAnchor() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "anchor --dir DIR", Short: "record an audit log's checkpoint in the governance log", Args: cobra.NoArgs,
		Long: "From then on the audit log cannot be cut or rewritten unnoticed: a checkpoint that is\n" +
			"smaller than the anchored one, or does not continue it, is refused. The first anchor\n" +
			"of a log pins its key.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return missingDir("govern log anchor --dir DIR")
			}
			return a.anchor(cmd.Context(), a.path(dir))
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "directory of the audit log")
	return c
}

func (a *app) anchor(ctx context.Context, dir string) error {
	head, err := a.LogHead(ctx, dir)
	if err != nil {
		return err
	}
	_, s, err := a.session(ctx, "govern log anchor")
	if err != nil {
		return err
	}
	defer s.Close()
	in := client.AnchorRequest{Key: head.Key, Note: head.Note}
	name, _, _ := strings.Cut(head.Origin, "/epoch-")
	before, err := s.Client().Anchored(ctx, name)
	if err != nil && gov.KindOf(err) != gov.KindNotFound {
		return err
	}
	if err == nil && before.Size > 0 {
		if in.Proof, err = a.LogConsistency(ctx, dir, before.Size, head.Size); err != nil {
			return err
		}
	}
	got, err := s.Client().Anchor(ctx, in)
	if err != nil {
		return err
	}
	return a.give(got, func(w io.Writer) {
		if got.Receipt != nil && !got.Receipt.Recorded {
			fmt.Fprintf(w, "%s is anchored at %d records already\n", got.Origin, got.Size)
			return
		}
		fmt.Fprintf(w, "anchored %s: %d records, root %s\n", got.Origin, got.Size, got.Root)
	})
}

func (a *app) logExport() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use: "export --dir DIR DST", Short: "write a log as static files that any web server can serve", Args: cobra.ExactArgs(1),
		Long: "Writes the C2SP tlog-tiles tree: checkpoint, tile/ and entry bundles. A second export\n" +
			"adds only what is new.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			at := a.path(dir)
			if dir == "" {
				w, err := a.repo(ctx)
				if err != nil {
					return err
				}
				at = w.DataDir()
			}
			dst := a.path(args[0])
			if err := a.ExportLog(ctx, at, dst); err != nil {
				return err
			}
			note, err := os.ReadFile(filepath.Join(dst, "checkpoint"))
			if err != nil {
				return fileError(filepath.Join(args[0], "checkpoint"), err)
			}
			return a.give(map[string]string{"directory": dst, "checkpoint": string(note)}, func(w io.Writer) { fmt.Fprintln(w, dst) })
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "directory of the log (default this repository's governance log)")
	return c
}
