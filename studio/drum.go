package studio

import (
	"context"
	"encoding/json"
	"strconv"
)

// drumConfig is the configuration of kick, snare and hat. Grids have 16 steps:
// x a hit, X an accent (on the hat: open), . a rest.
type drumConfig struct {
	Channel       int      `json:"channel"`
	Pitch         int      `json:"pitch"`
	OpenPitch     int      `json:"open_pitch"` // hat only
	VelocityLow   int      `json:"velocity_low"`
	VelocityHigh  int      `json:"velocity_high"`
	Patterns      []string `json:"patterns"`
	Fill          string   `json:"fill"`
	FillEvery     int      `json:"fill_every"`
	GhostPermille int      `json:"ghost_permille"`
}

type drum struct {
	name string
	drumConfig
}

func newDrum(name string) Factory {
	return func(config json.RawMessage) (Module, error) {
		d := &drum{name: name}
		return d, decode(config, &d.drumConfig)
	}
}

// drumVariants is how many variants of its groove a drum alternates between.
const drumVariants = 4

// Compose picks a groove, plays it in variants that differ by ghost notes and
// velocities, four bars each, and a fill in every FillEvery-th bar.
func (d *drum) Compose(_ context.Context, c Call) (Part, error) {
	book := newPatternBook(d.name, d.Channel, -1)
	groove := d.Patterns[c.Rand.IntN(len(d.Patterns))]
	var variants [drumVariants][]Note
	for i := range variants {
		variants[i] = d.hits(c.Rand, groove, d.GhostPermille)
	}
	fill := d.hits(c.Rand, d.Fill, 0)
	for bar := range c.Bars {
		if d.FillEvery > 0 && bar%d.FillEvery == d.FillEvery-1 {
			book.play("fill", func() []Note { return fill })
			continue
		}
		v := bar / 4 % drumVariants
		book.play(strconv.Itoa(v), func() []Note { return variants[v] })
	}
	return book.part, nil
}

// hits turns a grid into notes; a rest becomes a soft ghost note with the given
// chance.
func (d *drum) hits(r *Rand, grid string, ghost int) []Note {
	notes := []Note{}
	for step := range stepsPerBar {
		n := Note{Step: step, Length: 1, Pitch: d.Pitch, Velocity: r.Between(d.VelocityLow, d.VelocityHigh)}
		switch grid[step] {
		case 'X':
			n.Velocity = d.VelocityHigh
			if d.OpenPitch != 0 {
				n.Pitch = d.OpenPitch
			}
		case '.':
			if !r.Permille(ghost) {
				continue
			}
			n.Velocity = max(1, n.Velocity/2)
		}
		notes = append(notes, n)
	}
	return notes
}
