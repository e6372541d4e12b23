package traffic

import (
	"context"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Driver moves a share of one target's traffic to its candidate. It is
// level-triggered: Set states the weight that shall hold, Observe reads back
// the weight that does hold, and a caller confirms one by the other. All
// methods may be called at any time from any goroutine.
//
// traffictest.Run is the conformance suite of every driver.
type Driver interface {
	// Observe reads the weight from where it takes effect, not from what was
	// last asked for. It renews nothing.
	Observe(ctx context.Context) (State, error)

	// Set makes weight percent (0..100) of new requests go to the candidate
	// and renews the lease. Key names the decision, stream/step/attempt, and
	// makes a retry harmless: the same key with the same weight only renews.
	//
	// Refused, with nothing changed: weight_invalid, key_missing; the same key
	// with another weight (key_reused); a key that a later one or a Kill has
	// replaced (key_stale); no candidate to send to (no_candidate). A weight of
	// 0 is never refused for its key.
	Set(ctx context.Context, weight int, key string) error

	// Kill takes all traffic from the candidate at once. The key in force is
	// spent: a late retry of it is refused as key_stale. Killing twice is fine.
	Kill(ctx context.Context) error
}

// Reason says what gave a State its weight.
type Reason string

const (
	ReasonStart    Reason = "start"         // nothing was ever set
	ReasonSet      Reason = "set"           // the last Set
	ReasonKilled   Reason = "killed"        // Kill
	ReasonLease    Reason = "lease_expired" // nobody renewed in time
	ReasonUpstream Reason = "upstreams"     // the candidate was replaced or taken away
)

// State is what a driver does right now.
type State struct {
	Weight int       `json:"weight"`         // percent of new requests that go to the candidate
	Key    string    `json:"key,omitempty"`  // of the last accepted Set, "" when there was none or it was killed
	Lease  time.Time `json:"lease,omitzero"` // when the weight falls to 0 unless set again; zero when it cannot fall
	Reason Reason    `json:"reason"`
}

// CheckSet refuses a weight outside 0..100 and a missing key, for every driver
// alike. A weight of 0 needs no key.
func CheckSet(weight int, key string) error {
	if weight < 0 || weight > 100 {
		return gov.Errorf(gov.KindInvalid, "weight_invalid", "a weight of %d is not a percentage from 0 to 100", weight).
			WithOp("set weight").WithHint("name a whole number of percent from 0 to 100")
	}
	if key == "" && weight > 0 {
		return gov.Errorf(gov.KindInvalid, "key_missing", "a weight above 0 needs the key of the decision behind it").
			WithOp("set weight").WithHint("pass stream/step/attempt")
	}
	return nil
}
