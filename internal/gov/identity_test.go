package gov

import (
	"slices"
	"testing"
)

func TestIdentities(t *testing.T) {
	t.Parallel()
	people := []Person{
		{Handle: "ann", Keys: []Key{{Fingerprint: "1"}}},
		{Handle: "ben", DelegateOf: "ann", Keys: []Key{{Fingerprint: "2"}}},
		{Handle: "cat", Keys: []Key{{Fingerprint: "2"}, {Fingerprint: "3"}}},
		{Handle: "dan", DelegateOf: "left", Keys: []Key{{Fingerprint: "4"}}},
		{Handle: "eve", DelegateOf: "eve", Keys: []Key{{Fingerprint: "5"}}},
		{Handle: "bot", Kind: Agent, Sponsor: "dan", Keys: []Key{{Fingerprint: "6"}}},
		{Handle: "sub", Kind: Agent, Sponsor: "bot", Keys: []Key{{Fingerprint: "7"}}},
	}
	for _, order := range []string{"as given", "reversed"} {
		ids := IdentitiesOf(people)
		for _, tc := range []struct {
			a, b string
			one  bool
		}{
			{"ann", "ben", true},
			{"ben", "cat", true},
			{"ann", "cat", true},
			{"dan", "left", true},
			{"eve", "eve", true},
			{"ann", "dan", false},
			{"bot", "dan", false},
			{"nobody", "ann", false},
			{"nobody", "nobody", true},
		} {
			if got := ids.Of(tc.a) == ids.Of(tc.b); got != tc.one {
				t.Errorf("%s: %s and %s are one: %v", order, tc.a, tc.b, got)
			}
		}
		behind := ids.Behind([]string{"sub", "cat"})
		for _, h := range []string{"sub", "bot", "dan", "left", "ann", "ben", "cat"} {
			if !behind[ids.Of(h)] {
				t.Errorf("%s: %s stands behind sub and cat", order, h)
			}
		}
		if behind[ids.Of("eve")] {
			t.Errorf("%s: eve has nothing to do with it", order)
		}
		if up := ids.Behind([]string{"dan"}); up[ids.Of("bot")] {
			t.Errorf("%s: a sponsor's work is not the agent's", order)
		}
		slices.Reverse(people)
	}
}
