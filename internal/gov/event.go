package gov

import (
	"encoding/json"
	"time"
)

// Event is a fact that happened, named in the past tense ("change.proposed").
// V is the version of Data's shape; older shapes are lifted by upcasters.
type Event struct {
	Stream Stream          `json:"stream"`
	Type   string          `json:"type"`
	V      int             `json:"v"`
	Data   json.RawMessage `json:"data"`
}

// NewEvent marshals data, which must be a plain struct of this module.
func NewEvent(stream Stream, typ string, data any) Event {
	b, err := json.Marshal(data)
	if err != nil {
		panic("gov: event data does not marshal: " + err.Error())
	}
	return Event{Stream: stream, Type: typ, V: 1, Data: b}
}

// Decided is one decision of a pure rule as the log keeps it, so that anybody
// can run the rule again: Facts are the whole input, Answer the whole output,
// both RFC 8785 JSON. Where they are too large for a line they stand in a blob
// beside the log and FactsDigest/AnswerDigest name it.
type Decided struct {
	Rule   string          `json:"rule"` // "change", "canary", …
	V      int             `json:"v"`    // version of the rule
	Policy Digest          `json:"policy,omitempty"`
	Facts  json.RawMessage `json:"facts,omitempty"`
	Answer json.RawMessage `json:"answer,omitempty"`
	Blob   Digest          `json:"blob,omitempty"` // of {"facts":…,"answer":…} when not inline
}

// Record is one accepted command: one line of the governance log with all its
// events and decisions.
type Record struct {
	ID      string    `json:"id"` // command id; a retry with the same id gets the first answer
	Time    time.Time `json:"time"`
	Actor   Principal `json:"actor"`
	Command string    `json:"command"`
	Decided []Decided `json:"decided,omitempty"`
	Events  []Event   `json:"events"`
}

// Effect is something the engine must bring about, as data. Effects are
// level-triggered ("weight = 5"), keyed, and observed before they are acted on
// again after a crash.
type Effect struct {
	Key    string          `json:"key"`  // stream/step/attempt
	Type   string          `json:"type"` // set_weight, deploy, undeploy, check_health, identify, wake, page
	Target string          `json:"target,omitempty"`
	At     time.Time       `json:"at,omitzero"` // wake
	Data   json.RawMessage `json:"data,omitempty"`
}
