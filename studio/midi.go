package studio

import (
	"cmp"
	"fmt"
	"slices"

	"gitlab.com/gomidi/midi/v2"
	"gitlab.com/gomidi/midi/v2/smf"
)

// midiEvent is a message at an absolute time.
type midiEvent struct {
	tick int
	off  bool
	msg  midi.Message
}

// midiFile renders a Standard MIDI File of format 1, 480 ticks a quarter: a
// first track with the section's name, tempo and meter, then one named track a
// part. At one tick, notes end before others begin.
func midiFile(spec SectionSpec, parts []Part) ([]byte, error) {
	file := smf.NewSMF1()
	file.TimeFormat = smf.MetricTicks(ticksPerQuarter)
	end := spec.Bars * stepsPerBar * ticksPerStep
	var head smf.Track
	head.Add(0, smf.MetaTrackSequenceName(spec.Name))
	head.Add(0, smf.MetaTempo(float64(spec.Tempo)))
	head.Add(0, smf.MetaTimeSig(4, 4, 24, 8))
	head.Close(uint32(end))
	if err := file.Add(head); err != nil {
		return nil, fmt.Errorf("write MIDI: %w", err)
	}
	for _, p := range parts {
		if err := file.Add(midiTrack(p, end)); err != nil {
			return nil, fmt.Errorf("write MIDI: %w", err)
		}
	}
	b, err := file.Bytes()
	if err != nil {
		return nil, fmt.Errorf("write MIDI: %w", err)
	}
	return b, nil
}

func midiTrack(p Part, end int) smf.Track {
	events := make([]midiEvent, 0, 2*p.Notes())
	channel := uint8(p.Channel)
	for bar, pattern := range p.Bars {
		for _, n := range p.Patterns[pattern] {
			on := (bar*stepsPerBar + n.Step) * ticksPerStep
			events = append(events,
				midiEvent{tick: on, msg: midi.NoteOn(channel, uint8(n.Pitch), uint8(n.Velocity))},
				midiEvent{tick: on + n.Length*ticksPerStep, off: true, msg: midi.NoteOff(channel, uint8(n.Pitch))})
		}
	}
	slices.SortStableFunc(events, func(a, b midiEvent) int {
		if a.tick == b.tick && a.off != b.off {
			if a.off {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.tick, b.tick)
	})
	var track smf.Track
	track.Add(0, smf.MetaTrackSequenceName(p.Module))
	if p.program >= 0 {
		track.Add(0, midi.ProgramChange(channel, uint8(p.program)))
	}
	last := 0
	for _, e := range events {
		track.Add(uint32(e.tick-last), e.msg)
		last = e.tick
	}
	track.Close(uint32(end - last))
	return track
}
