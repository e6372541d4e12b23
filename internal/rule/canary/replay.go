package canary

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// Facts is the whole input of a recorded decision.
type Facts struct {
	State   State     `json:"state"`
	Command Command   `json:"command"`
	Now     time.Time `json:"now"`
}

// Answer is its whole output; of an error only what a caller sees is kept.
type Answer struct {
	Events  []gov.Event  `json:"events,omitempty"`
	Effects []gov.Effect `json:"effects,omitempty"`
	Error   *Refusal     `json:"error,omitempty"`
}

// Refusal is an error as it is recorded.
type Refusal struct {
	Kind    gov.Kind `json:"kind"`
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
}

// maxFacts bounds what Replay reads.
const maxFacts = 8 << 20

// Record decides and gives the canonical facts and answer to log beside the
// events. A refusal is part of the answer; the error is only for a command
// that JSON cannot hold.
func Record(s State, c Command, now time.Time) (facts, answer json.RawMessage, err error) {
	now = now.UTC().Round(0)
	if _, err := json.Marshal(c); err != nil { // NaN and the like
		return nil, nil, gov.Errorf(gov.KindInvalid, "canary_command_invalid", "the command %s cannot be recorded: %w", c.Type, err)
	}
	facts = canonical(Facts{s, c, now})
	return facts, canonical(answerOf(Decide(s, c, now))), nil
}

// Replay decides recorded facts again and gives the answer in canonical form,
// to be compared byte by byte with the recorded one.
func Replay(facts json.RawMessage) (json.RawMessage, error) {
	var f Facts
	if err := strict.Unmarshal(facts, &f, strict.Options{Name: "canary facts", MaxBytes: maxFacts}); err != nil {
		return nil, err
	}
	return canonical(answerOf(Decide(f.State, f.Command, f.Now))), nil
}

func answerOf(events []gov.Event, effects []gov.Effect, err error) Answer {
	a := Answer{Events: events, Effects: effects}
	if err != nil {
		a.Error = &Refusal{Kind: gov.KindOf(err), Code: gov.CodeOf(err), Message: err.Error()}
		if e, ok := errors.AsType[*gov.Error](err); ok {
			a.Error.Message, a.Error.Hint = e.Message, e.Hint
		}
	}
	return a
}
