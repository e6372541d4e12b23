package studio

import (
	"context"
	"encoding/json"
	"fmt"
)

// bassConfig is the configuration of the bass. Grids have 16 steps: x a short
// note, X one held to the next, . a rest.
type bassConfig struct {
	Channel          int      `json:"channel"`
	Program          int      `json:"program"`
	Octave           int      `json:"octave"` // roots lie in the twelve keys from E of this octave; 1 begins at 28
	Spread           int      `json:"spread"` // widest leap above the root, semitones
	LeapPermille     int      `json:"leap_permille"`
	ApproachPermille int      `json:"approach_permille"`
	VelocityLow      int      `json:"velocity_low"`
	VelocityHigh     int      `json:"velocity_high"`
	Patterns         []string `json:"patterns"`
}

type bass struct{ bassConfig }

func newBass(config json.RawMessage) (Module, error) {
	b := &bass{}
	return b, decode(config, &b.bassConfig)
}

// Compose plays roots, fifths and octaves under the chords in one rhythm.
// Some bars lead to the next root by a step, and some sections have one leap,
// at their climax (three quarters in), of up to Spread semitones. The leap is
// where a Spread that is too wide leaves the range of the instrument; see the
// package comment.
func (b *bass) Compose(_ context.Context, c Call) (Part, error) {
	book := newPatternBook("bass", b.Channel, b.Program)
	grid := b.Patterns[c.Rand.IntN(len(b.Patterns))]
	leaps := c.Rand.Permille(b.LeapPermille)
	climax := c.Bars * 3 / 4
	approach := make([]bool, len(c.Progression))
	for i := range approach {
		approach[i] = c.Rand.Permille(b.ApproachPermille)
	}
	for bar := range c.Bars {
		place := bar % len(c.Progression)
		if leaps && bar == climax {
			book.play("climax", func() []Note { return b.climax(c, grid, c.degree(bar)) })
			continue
		}
		book.play(fmt.Sprint(place), func() []Note { return b.line(c, grid, place, approach[place]) })
	}
	return book.part, nil
}

// root is the key of a degree's root in the configured octave.
func (b *bass) root(c Call, degree int) int {
	return lift(12*(b.Octave+1)+4, c.pitchClass(degree))
}

// line is one bar over the chord at place.
func (b *bass) line(c Call, grid string, place int, approach bool) []Note {
	root := b.root(c, c.Progression[place])
	notes := b.rhythm(c.Rand, grid, func(i int) int {
		switch {
		case i == 0:
			return root
		case c.Rand.Permille(180):
			return root + 12
		case c.Rand.Permille(260):
			return root + 7
		}
		return root
	})
	if last := len(notes) - 1; approach && last > 0 {
		next := b.root(c, c.Progression[(place+1)%len(c.Progression)])
		if notes[last].Pitch = next + 2; next > root {
			notes[last].Pitch = max(root, next-1)
		}
	}
	return notes
}

// climax is a bar whose last note leaps: to a tone of the scale at most Spread
// semitones above the root.
func (b *bass) climax(c Call, grid string, degree int) []Note {
	root := b.root(c, degree)
	reach := []int{root}
	for up := 1; up <= b.Spread; up++ {
		for d := range 7 {
			if (root+up)%12 == c.pitchClass(d) {
				reach = append(reach, root+up)
			}
		}
	}
	notes := b.rhythm(c.Rand, grid, func(int) int { return root })
	if len(notes) > 0 {
		notes[len(notes)-1].Pitch = reach[c.Rand.IntN(len(reach))]
	}
	return notes
}

// rhythm turns a grid into notes whose pitches come from pitch, called with the
// number of the note.
func (b *bass) rhythm(r *Rand, grid string, pitch func(i int) int) []Note {
	notes := []Note{}
	for step := range stepsPerBar {
		if grid[step] == '.' {
			continue
		}
		length := 1
		if grid[step] == 'X' {
			length = gap(grid, step)
		}
		velocity := r.Between(b.VelocityLow, b.VelocityHigh)
		notes = append(notes, Note{Step: step, Length: length, Pitch: pitch(len(notes)), Velocity: velocity})
	}
	return notes
}
