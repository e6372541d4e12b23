package studio

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/governhq/govern/audit"
)

// Replayed says how a record compares with doing it again.
type Replayed struct {
	Index        uint64 `json:"index"`
	Same         bool   `json:"same"`
	Result       string `json:"result"`                  // of the record
	OutputDigest string `json:"output_digest,omitempty"` // of the record
	Again        string `json:"again,omitempty"`         // output digest, or error code, this time
	ErrorCode    string `json:"error_code,omitempty"`    // of the record
	Why          string `json:"why"`                     // one sentence
}

// recorded is the part of a record's metadata that a replay compares.
type recorded struct {
	Artifact     string            `json:"artifact"`
	OutputDigest string            `json:"output_digest"`
	NotesDigest  string            `json:"notes_digest"`
	Composed     map[string]string `json:"composed"`
	Faults       []Fault           `json:"faults"`
	Error        struct {
		Code string `json:"code"`
	} `json:"error"`
}

// Replay composes a recorded section again, without a record, and compares all
// digests bit for bit; a recorded failure must fail with the same code. The
// record's injected faults are taken into account, not repeated. The error, an
// *Error, says why it cannot be done: another operation, another bundle, an
// input of which the record has only the digest, or a caller that went away.
func (o *Orchestrator) Replay(ctx context.Context, e audit.Entry) (Replayed, error) {
	out := Replayed{Index: e.Index, Result: e.Record.Result}
	var was recorded
	if err := json.Unmarshal(e.Record.Metadata, &was); err != nil {
		return out, cannotReplay("record_foreign", "the record's metadata is not studio's")
	}
	out.OutputDigest, out.ErrorCode = was.OutputDigest, was.Error.Code
	switch {
	case e.Record.Operation != "compose_section":
		return out, cannotReplay("operation_unknown", fmt.Sprintf("the operation %q is not one that composes", e.Record.Operation))
	case was.Artifact != o.bundle.Artifact:
		err := cannotReplay("bundle_differs", "it was composed by bundle "+was.Artifact+", this is "+o.bundle.Artifact)
		err.Hint = "name the right one with --bundle"
		return out, err
	case was.Error.Code == "cancelled":
		return out, cannotReplay("caller_left", "its caller went away")
	case byDigest(e.Record.SectionSpec):
		return out, cannotReplay("input_by_digest", "the record has only the digest of its input")
	}
	for _, f := range was.Faults {
		if f.Kind == "error" {
			out.Again = errInjected.Code
			out.Same = e.Record.Result == audit.Failure && was.Error.Code == errInjected.Code
			out.Why = verdict(out.Same, "the failure was injected, as the record says")
			return out, nil
		}
	}
	section, err := o.again(ctx, e.Record.SectionSpec)
	if err != nil {
		out.Again = asError(err).Code
		out.Same = e.Record.Result == audit.Failure && out.Again == was.Error.Code
		out.Why = verdict(out.Same, "it fails again in the same way")
		return out, nil
	}
	out.Again = section.OutputDigest
	out.Same = e.Record.Result == audit.Success && section.OutputDigest == was.OutputDigest &&
		section.NotesDigest == was.NotesDigest && e.Record.SeedUsed == section.Spec.Seed &&
		e.Record.ManifestVersion == section.ManifestVersion && len(was.Composed) == len(section.Summary)
	for _, p := range section.Summary {
		out.Same = out.Same && was.Composed[p.Module] == p.Digest
	}
	out.Why = verdict(out.Same, "the output is the same, bit for bit")
	return out, nil
}

// again composes from a recorded input.
func (o *Orchestrator) again(ctx context.Context, input json.RawMessage) (Section, error) {
	object, bad := specInput(input)
	if bad != nil {
		return Section{}, bad
	}
	spec, refused := o.bundle.parseSpec(object)
	if refused != nil {
		return Section{}, refused
	}
	return o.bundle.compose(ctx, spec)
}

func verdict(same bool, yes string) string {
	if same {
		return yes
	}
	return "it comes out differently from what the record says"
}

func cannotReplay(code, why string) *Error {
	return &Error{Status: 409, Code: code, Message: "the record cannot be replayed: " + why}
}

// byDigest tells whether the input, or a value directly in it, was replaced by
// its digest when it was recorded.
func byDigest(input json.RawMessage) bool {
	var object map[string]json.RawMessage
	if json.Unmarshal(input, &object) != nil {
		return true
	}
	if _, whole := object["$digest"]; whole {
		return true
	}
	for _, value := range object {
		var stub map[string]json.RawMessage
		if json.Unmarshal(value, &stub) == nil && stub["$digest"] != nil {
			return true
		}
	}
	return false
}
