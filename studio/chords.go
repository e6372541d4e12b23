package studio

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
)

// chordsConfig is the configuration of the chords. Grids have 16 steps: x a
// short chord, X one held to the next, . a rest.
type chordsConfig struct {
	Channel      int      `json:"channel"`
	Program      int      `json:"program"`
	Octave       int      `json:"octave"`     // roots lie in the twelve keys from the G below this octave; 4 begins at 55
	Inversions   []int    `json:"inversions"` // to choose from; n lifts the lowest note n times by an octave
	VelocityLow  int      `json:"velocity_low"`
	VelocityHigh int      `json:"velocity_high"`
	Patterns     []string `json:"patterns"`
}

type chords struct{ chordsConfig }

func newChords(config json.RawMessage) (Module, error) {
	m := &chords{}
	return m, decode(config, &m.chordsConfig)
}

// Compose plays the triads of the progression in one rhythm, each chord in an
// inversion drawn for its place.
func (m *chords) Compose(_ context.Context, c Call) (Part, error) {
	book := newPatternBook("chords", m.Channel, m.Program)
	grid := m.Patterns[c.Rand.IntN(len(m.Patterns))]
	for bar := range c.Bars {
		place := bar % len(c.Progression)
		book.play(strconv.Itoa(place), func() []Note { return m.bar(c, grid, c.Progression[place]) })
	}
	return book.part, nil
}

func (m *chords) bar(c Call, grid string, degree int) []Note {
	pitches := m.voicing(c, degree, m.Inversions[c.Rand.IntN(len(m.Inversions))])
	notes := []Note{}
	for step := range stepsPerBar {
		if grid[step] == '.' {
			continue
		}
		length := min(2, gap(grid, step))
		if grid[step] == 'X' {
			length = gap(grid, step)
		}
		velocity := c.Rand.Between(m.VelocityLow, m.VelocityHigh)
		for _, p := range pitches {
			notes = append(notes, Note{Step: step, Length: length, Pitch: p, Velocity: velocity})
		}
	}
	return notes
}

// voicing is the triad on a degree, lowest note first.
func (m *chords) voicing(c Call, degree, inversion int) []int {
	root := lift(12*(m.Octave+1)-5, c.pitchClass(degree))
	pitches := []int{root}
	for _, above := range []int{degree + 2, degree + 4} {
		pitches = append(pitches, root+(c.pitchClass(above)-c.pitchClass(degree)+12)%12)
	}
	for range inversion {
		slices.Sort(pitches)
		pitches[0] += 12
	}
	slices.Sort(pitches)
	return pitches
}
