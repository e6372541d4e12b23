package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/governhq/govern/audit"
	"github.com/governhq/govern/studio"
)

func compose(ctx context.Context, e env, args []string) error {
	f := newFlags(e, "compose", "studio compose --name NAME --bars N --seed N [-O FILE]")
	var spec studio.SectionSpec
	var a auditFlags
	f.StringVar(&spec.Name, "name", "", "name of the section")
	f.IntVar(&spec.Bars, "bars", 0, "length in bars, 1 to 512")
	f.Int64Var(&spec.Seed, "seed", 0, "seed of all random choices")
	f.IntVar(&spec.Tempo, "tempo", 0, "beats a minute, 40 to 240 (default 120)")
	f.StringVar(&spec.Key, "key", "", `key, as C, F# or Bb (default "C")`)
	f.StringVar(&spec.Mode, "mode", "", `major or minor (default "minor")`)
	out := f.String("O", "", "MIDI file to write, - for stdout")
	from := f.String("bundle", "", "bundle file or directory (default: the one studio brings along)")
	inject := f.String("inject", "", "faults for a rehearsal, as error_rate=0.05,latency_ms=200")
	format := f.String("o", "text", "text or json")
	a.register(f)
	if _, err := f.parse(args, 0); err != nil {
		return err
	}
	b, err := loadBundle(*from)
	if err != nil {
		return err
	}
	faults, err := parseInject(*inject)
	if err != nil {
		return err
	}
	log, dir, err := a.open()
	if err != nil {
		return err
	}
	section, index, err := composeOnce(ctx, b, log, faults, spec)
	if log != nil {
		err = errors.Join(err, log.Close())
	}
	if err != nil {
		return err
	}
	talk := e.stdout
	if *out == "-" {
		talk = e.stderr
	}
	if *out != "" {
		if err := writeFile(e, *out, section.MIDI); err != nil {
			return err
		}
	}
	if *format == "json" {
		return json.NewEncoder(talk).Encode(section)
	}
	fmt.Fprintf(talk, "%s: %d bars, %d tracks, output %s\n", section.Spec.Name, section.Spec.Bars, len(section.Parts)+1, section.OutputDigest)
	if log != nil {
		fmt.Fprintf(talk, "record %d in %s\n", index, dir)
	}
	return nil
}

func parseInject(s string) (*studio.Faults, error) {
	if s == "" {
		return nil, nil
	}
	return studio.ParseFaults(s)
}

// indexed is a recorder that remembers the index of its last record.
type indexed struct {
	studio.Recorder
	index uint64
}

func (r *indexed) Operation(ctx context.Context, name string, spec any, fn func(context.Context, *audit.Op) error) error {
	return r.Recorder.Operation(ctx, name, spec, func(ctx context.Context, op *audit.Op) error {
		op.Recorded = func(index uint64) { r.index = index }
		return fn(ctx, op)
	})
}

func composeOnce(ctx context.Context, b *studio.Bundle, log *audit.Log, faults *studio.Faults, spec studio.SectionSpec) (studio.Section, uint64, error) {
	r := &indexed{Recorder: recorder(log)}
	o, err := studio.New(b, studio.Options{Recorder: r, Faults: faults})
	if err != nil {
		return studio.Section{}, 0, err
	}
	section, err := o.ComposeSection(ctx, spec)
	return section, r.index, err
}

func replay(ctx context.Context, e env, args []string) error {
	f := newFlags(e, "replay", "studio replay AUDIT_LOG INDEX|all [--bundle FILE]")
	from := f.String("bundle", "", "bundle file or directory that composed (default: the one studio brings along)")
	format := f.String("o", "text", "text or json")
	where, err := f.parse(args, 2)
	if err != nil {
		return err
	}
	b, err := loadBundle(*from)
	if err != nil {
		return err
	}
	o, err := studio.New(b, studio.Options{Recorder: studio.Unrecorded{}})
	if err != nil {
		return err
	}
	r, err := audit.OpenReader(where[0])
	if err != nil {
		return err
	}
	defer r.Close()
	if where[1] == "all" {
		return replayAll(ctx, e, o, r, *format)
	}
	index, err := strconv.ParseUint(where[1], 10, 64)
	if err != nil {
		return f.wrong(fmt.Sprintf("%q is no index", where[1]))
	}
	entry, err := r.Entry(ctx, index)
	if err != nil {
		return err
	}
	out, err := o.Replay(ctx, entry)
	if err != nil {
		return err
	}
	if err := show(e.stdout, *format, out); err != nil {
		return err
	}
	if !out.Same {
		return errDifferent
	}
	return nil
}

// replayAll replays every composition of a log; what cannot be replayed is
// said, and only a difference fails.
func replayAll(ctx context.Context, e env, o *studio.Orchestrator, r *audit.Reader, format string) error {
	same, different, skipped := 0, 0, 0
	for entry, err := range r.Entries(ctx, 0) {
		if err != nil {
			return err
		}
		out, err := o.Replay(ctx, entry)
		switch {
		case err != nil:
			skipped++
			fmt.Fprintf(e.stderr, "record %d: %s\n", entry.Index, err)
			continue
		case out.Same:
			same++
		default:
			different++
		}
		if err := show(e.stdout, format, out); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stderr, "%d the same, %d different, %d not replayable\n", same, different, skipped)
	if different > 0 {
		return errDifferent
	}
	return nil
}

func show(w io.Writer, format string, out studio.Replayed) error {
	if format == "json" {
		return json.NewEncoder(w).Encode(out)
	}
	word, was := "same", out.OutputDigest
	if !out.Same {
		word = "DIFFERENT"
	}
	if was == "" {
		was = out.ErrorCode
	}
	_, err := fmt.Fprintf(w, "record %d: %s: %s\n  recorded %s\n  again    %s\n", out.Index, word, out.Why, was, out.Again)
	return err
}
