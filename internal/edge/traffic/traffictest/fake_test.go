package traffictest_test

import (
	"errors"
	"testing"

	"github.com/governhq/govern/internal/edge/traffic/traffictest"
)

func TestFakeConforms(t *testing.T) {
	traffictest.Run(t, func(*testing.T) traffictest.Subject {
		return traffictest.Subject{Driver: new(traffictest.Fake)}
	})
}

func TestFakeFailsBothWays(t *testing.T) {
	lost := errors.New("the answer was lost")
	for _, c := range []struct {
		name      string
		persisted bool
		weight    int
	}{
		{"failed", false, 0},
		{"failed but persisted", true, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := new(traffictest.Fake)
			f.FailNext(lost, c.persisted)
			if err := f.Set(t.Context(), 5, "a/1/1"); !errors.Is(err, lost) {
				t.Fatalf("Set: %v", err)
			}
			if s, err := f.Observe(t.Context()); err != nil || s.Weight != c.weight {
				t.Fatalf("observed %+v, %v; want weight %d", s, err, c.weight)
			}
		})
	}
}
