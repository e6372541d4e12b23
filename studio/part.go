package studio

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// The grid: 4/4 bars of 16 steps.
const (
	stepsPerBar     = 16
	ticksPerQuarter = 480
	ticksPerStep    = ticksPerQuarter / 4
)

// Note is one note of a pattern. Step and Length count sixteenths, Pitch is a
// MIDI key, Velocity 1–127.
type Note struct {
	Step     int `json:"step"`
	Length   int `json:"length"`
	Pitch    int `json:"pitch"`
	Velocity int `json:"velocity"`
}

// Part is what one module composed: distinct one-bar patterns, and for each bar
// of the section the pattern that is played. Its JSON form is the instance that
// the module's output contract judges.
type Part struct {
	Module   string   `json:"module"`
	Channel  int      `json:"channel"` // MIDI channel, 0–15
	Patterns [][]Note `json:"patterns"`
	Bars     []int    `json:"bars"`

	program int // General MIDI program, -1 for drums
}

// Notes counts the notes that are played.
func (p Part) Notes() int {
	n := 0
	for _, b := range p.Bars {
		n += len(p.Patterns[b])
	}
	return n
}

// Digest is the SHA-256 of the part's JSON form, "sha256:<hex>".
func (p Part) Digest() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic("studio: a part does not marshal: " + err.Error())
	}
	return digestOf(b)
}

// instance is the part as the contract checker reads it; the same value as its
// JSON form, without the way through text.
func (p Part) instance() map[string]any {
	patterns := make([]any, len(p.Patterns))
	for i, notes := range p.Patterns {
		list := make([]any, len(notes))
		for j, n := range notes {
			list[j] = map[string]any{"step": n.Step, "length": n.Length, "pitch": n.Pitch, "velocity": n.Velocity}
		}
		patterns[i] = list
	}
	return map[string]any{"module": p.Module, "channel": p.Channel, "patterns": patterns, "bars": ints(p.Bars)}
}

// whole tells what a JSON Schema cannot say: bars name patterns that are there,
// there is one for each bar of the section, and no note leaves its bar.
func (p Part) whole(bars int) bool {
	if len(p.Bars) != bars {
		return false
	}
	for _, b := range p.Bars {
		if b < 0 || b >= len(p.Patterns) {
			return false
		}
	}
	for _, notes := range p.Patterns {
		for _, n := range notes {
			if n.Step < 0 || n.Length < 1 || n.Step+n.Length > stepsPerBar {
				return false
			}
		}
	}
	return true
}

func ints(list []int) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
