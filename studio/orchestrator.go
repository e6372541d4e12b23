package studio

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/governhq/govern/audit"
)

// Recorder takes the record of every invocation; *audit.Log is one.
type Recorder interface {
	Operation(ctx context.Context, name string, spec any, fn func(context.Context, *audit.Op) error) error
}

// Options configure an Orchestrator.
type Options struct {
	// Recorder takes the audit records. It is required; Unrecorded is the
	// explicit way to do without.
	Recorder Recorder
	// Faults are injected for rehearsals; nil injects none.
	Faults *Faults
}

// Unrecorded is a Recorder that writes nothing, for tools that only look.
type Unrecorded struct{}

// Operation runs fn.
func (Unrecorded) Operation(ctx context.Context, _ string, _ any, fn func(context.Context, *audit.Op) error) error {
	return fn(ctx, &audit.Op{})
}

// Orchestrator composes sections with the modules of one bundle. Its methods
// may be called concurrently.
type Orchestrator struct {
	bundle   *Bundle
	recorder Recorder
	faults   *Faults
}

// New makes an orchestrator.
func New(b *Bundle, o Options) (*Orchestrator, error) {
	if b == nil || o.Recorder == nil {
		return nil, &Error{Status: 500, Code: "options_invalid", Message: "an orchestrator needs a bundle and a recorder"}
	}
	return &Orchestrator{bundle: b, recorder: o.Recorder, faults: o.Faults}, nil
}

// Section is what compose_section gives back. Its JSON form satisfies the
// contract Section.
type Section struct {
	Spec            SectionSpec   `json:"spec"`     // with its defaults filled in
	Artifact        string        `json:"artifact"` // digest of the bundle
	ManifestVersion string        `json:"manifest_version"`
	Progression     []int         `json:"progression"`
	Summary         []PartSummary `json:"parts"`
	NotesDigest     string        `json:"notes_digest"`  // of the JSON form of all parts
	OutputDigest    string        `json:"output_digest"` // of MIDI
	MIDI            []byte        `json:"midi"`          // a Standard MIDI File

	Parts []Part `json:"-"` // the notes
}

// PartSummary is one part as callers see it.
type PartSummary struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	Channel int    `json:"channel"`
	Notes   int    `json:"notes"`
	Digest  string `json:"digest"`
}

// ComposeSection composes a section and leaves one audit record. The error is
// an *Error; its code is audit_unavailable when the record was not taken.
func (o *Orchestrator) ComposeSection(ctx context.Context, spec SectionSpec) (Section, error) {
	body, err := json.Marshal(spec)
	if err != nil {
		return Section{}, fmt.Errorf("encode section spec: %w", err)
	}
	return o.ComposeJSON(ctx, body)
}

// ComposeJSON is ComposeSection for a spec in JSON form, which may come from
// anywhere. A spec that is refused leaves a record too; when it is no JSON
// object the record names its digest and size.
func (o *Orchestrator) ComposeJSON(ctx context.Context, body []byte) (Section, error) {
	var section Section
	input, bad := specInput(body)
	err := o.record(ctx, "compose_section", input, func(ctx context.Context, op *audit.Op) error {
		for _, m := range o.bundle.modules {
			op.ModulesLoaded = append(op.ModulesLoaded, audit.Module{Name: m.Name, Version: m.Version, InterfaceSchema: m.InterfaceSchema})
		}
		if err := op.Set("faults", []Fault{}); err != nil {
			return err
		}
		if bad != nil {
			return bad
		}
		spec, refused := o.bundle.parseSpec(input)
		if refused != nil {
			return refused
		}
		op.SeedUsed = spec.Seed
		if err := o.inject(ctx, op, spec); err != nil {
			return err
		}
		var err error
		if section, err = o.bundle.compose(ctx, spec); err != nil {
			return err
		}
		return section.describe(op)
	})
	if err != nil {
		return Section{}, err
	}
	return section, nil
}

// record runs fn as an operation whose record names the bundle, and tells an
// error of fn, which is an *Error, from one of the recorder.
func (o *Orchestrator) record(ctx context.Context, name string, input json.RawMessage, fn func(context.Context, *audit.Op) error) error {
	var failed error
	err := o.recorder.Operation(ctx, name, input, func(ctx context.Context, op *audit.Op) error {
		op.ManifestVersion = o.bundle.Manifest.Version
		if failed = op.Set("artifact", o.bundle.Artifact); failed == nil {
			failed = fn(ctx, op)
		}
		return failed
	})
	if err != nil && err != failed {
		return &Error{
			Status: 503, Code: codeAudit, Message: "the audit log did not take the record",
			Hint: "look at the log's directory: disk full, another writer, or a failed sync", Err: err,
		}
	}
	if failed != nil {
		return asError(failed)
	}
	return nil
}

// describe puts the digests of all that was made into the record.
func (s Section) describe(op *audit.Op) error {
	composed := map[string]string{}
	for _, p := range s.Summary {
		composed[p.Module] = p.Digest
	}
	return errors.Join(op.Set("output_digest", s.OutputDigest), op.Set("notes_digest", s.NotesDigest), op.Set("composed", composed))
}

// progressions are the chord loops a section is built on, as scale degrees.
var progressions = map[string][][]int{
	"major": {{0, 4, 5, 3}, {0, 5, 3, 4}, {1, 4, 0, 5}, {0, 3, 4, 3}},
	"minor": {{0, 5, 2, 6}, {0, 3, 4, 0}, {0, 6, 5, 4}, {0, 5, 3, 4}},
}

// compose is the pure part: the same spec gives the same section.
func (b *Bundle) compose(ctx context.Context, spec SectionSpec) (Section, error) {
	s := Section{Spec: spec, Artifact: b.Artifact, ManifestVersion: b.Manifest.Version}
	loops := progressions[spec.Mode]
	s.Progression = loops[NewRand(spec.Seed, "harmony").IntN(len(loops))]
	for _, m := range b.modules {
		if err := ctx.Err(); err != nil {
			return Section{}, &Error{Status: 503, Code: "cancelled", Message: "the caller went away", Err: err}
		}
		part, err := m.compose(ctx, Call{
			Bars: spec.Bars, Tonic: spec.tonic(), Mode: spec.Mode, Progression: s.Progression, Rand: NewRand(spec.Seed, m.Name),
		})
		if err != nil {
			return Section{}, err
		}
		s.Parts = append(s.Parts, part)
		s.Summary = append(s.Summary, PartSummary{
			Module: m.Name, Version: m.Version, Channel: part.Channel, Notes: part.Notes(), Digest: part.Digest(),
		})
	}
	notes, err := json.Marshal(s.Parts)
	if err != nil {
		return Section{}, fmt.Errorf("encode notes: %w", err)
	}
	s.NotesDigest = digestOf(notes)
	if s.MIDI, err = midiFile(spec, s.Parts); err != nil {
		return Section{}, &Error{Status: 500, Code: "midi_failed", Message: "the MIDI file could not be written", Err: err}
	}
	s.OutputDigest = digestOf(s.MIDI)
	return s, b.checkSection(s)
}

// compose calls one module between its two contracts.
func (m loaded) compose(ctx context.Context, c Call) (Part, error) {
	if broken := m.input.check(m.instance(c)); broken != "" {
		return Part{}, &Error{Status: 500, Code: "module_input_contract", Message: "module " + m.Name + ": its input does not satisfy " + m.input.name + ": " + broken}
	}
	part, err := m.module.Compose(ctx, c)
	if err != nil {
		return Part{}, &Error{Status: 500, Code: "module_failed", Message: "module " + m.Name + " failed", Err: err}
	}
	broken := m.output.check(part.instance())
	if broken == "" && !part.whole(c.Bars) {
		broken = "its bars and patterns do not fit together"
	}
	if broken != "" {
		return Part{}, &Error{
			Status: 500, Code: "output_contract", Message: "module " + m.Name + ": its output does not satisfy " + m.output.name + ": " + broken,
			Hint: "the configuration " + m.Config + " or the module is at fault, not the request",
		}
	}
	return part, nil
}

// checkSection judges the whole by the contract that callers rely on.
func (b *Bundle) checkSection(s Section) error {
	parts := make([]any, len(s.Summary))
	for i, p := range s.Summary {
		parts[i] = map[string]any{"module": p.Module, "version": p.Version, "channel": p.Channel, "notes": p.Notes, "digest": p.Digest}
	}
	broken := b.section.check(map[string]any{
		"spec": map[string]any{
			"name": s.Spec.Name, "bars": s.Spec.Bars, "seed": s.Spec.Seed, "tempo": s.Spec.Tempo, "key": s.Spec.Key, "mode": s.Spec.Mode,
		},
		"artifact": s.Artifact, "manifest_version": s.ManifestVersion, "progression": ints(s.Progression), "parts": parts,
		"notes_digest": s.NotesDigest, "output_digest": s.OutputDigest, "midi": base64.StdEncoding.EncodeToString(s.MIDI),
	})
	if broken != "" {
		return &Error{Status: 500, Code: "output_contract", Message: "the section does not satisfy " + b.section.name + ": " + broken}
	}
	return nil
}
