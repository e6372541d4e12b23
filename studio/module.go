package studio

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// Module composes one part of a section. It must be deterministic: all that it
// may depend on is its configuration and the Call.
type Module interface {
	Compose(ctx context.Context, c Call) (Part, error)
}

// Call is what a module is asked for.
type Call struct {
	Bars        int
	Tonic       int    // pitch class of the key, C = 0
	Mode        string // "major" or "minor"
	Progression []int  // scale degrees 0–6 of the chords, one a bar, repeated
	Rand        *Rand  // the module's own source, fresh for this call
}

// Factory makes a module from its configuration, which has the digest in the
// manifest. Adaptive modules (manifest type "adaptive") join through
// Options.Factories under their name, as the deterministic ones do.
type Factory func(config json.RawMessage) (Module, error)

// builtin are the modules that every studio has.
var builtin = map[string]Factory{
	"kick":   newDrum("kick"),
	"snare":  newDrum("snare"),
	"hat":    newDrum("hat"),
	"bass":   newBass,
	"chords": newChords,
}

// decode reads a configuration strictly.
func decode(config json.RawMessage, v any) error {
	dec := json.NewDecoder(bytes.NewReader(config))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	return nil
}

// context puts a call into the form in which contracts see it.
func (c Call) context() map[string]any {
	return map[string]any{"bars": c.Bars, "tonic": c.Tonic, "mode": c.Mode, "progression": ints(c.Progression)}
}

// scales are the semitones of the seven degrees above the tonic.
var scales = map[string][7]int{
	"major": {0, 2, 4, 5, 7, 9, 11},
	"minor": {0, 2, 3, 5, 7, 8, 10},
}

// pitchClass is that of a scale degree; degrees from 7 on are an octave up.
func (c Call) pitchClass(degree int) int {
	return (c.Tonic + scales[c.Mode][degree%7]) % 12
}

// lift is the lowest key of a pitch class that is not below lowest.
func lift(lowest, class int) int { return lowest + (class-lowest%12+12)%12 }

// degree is the chord of a bar.
func (c Call) degree(bar int) int { return c.Progression[bar%len(c.Progression)] }

// patternBook collects distinct patterns under a key and numbers them.
type patternBook struct {
	part  Part
	index map[string]int
}

func newPatternBook(module string, channel, program int) *patternBook {
	return &patternBook{
		part:  Part{Module: module, Channel: channel, program: program, Patterns: [][]Note{}, Bars: []int{}},
		index: map[string]int{},
	}
}

// play appends a bar with the pattern known as key, which compose makes the
// first time.
func (b *patternBook) play(key string, compose func() []Note) {
	i, ok := b.index[key]
	if !ok {
		i = len(b.part.Patterns)
		b.index[key] = i
		b.part.Patterns = append(b.part.Patterns, compose())
	}
	b.part.Bars = append(b.part.Bars, i)
}

// gap is how many steps a hit at step may last before the next one in grid.
func gap(grid string, step int) int {
	for end := step + 1; end < stepsPerBar; end++ {
		if grid[end] != '.' {
			return end - step
		}
	}
	return stepsPerBar - step
}
