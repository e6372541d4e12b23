package policy

import (
	"strconv"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Duration is a length of time in the file's form: a number and a unit, as
// time.ParseDuration reads it ("60m", "24h", "1h30m"), not negative. It prints
// in whole hours from two hours on, in whole minutes below, in seconds or less
// where that is needed to be exact.
type Duration time.Duration

// Std gives the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the canonical form, which ParseDuration reads back exactly.
func (d Duration) String() string {
	t := time.Duration(d)
	switch {
	case t >= 2*time.Hour && t%time.Hour == 0:
		return strconv.FormatInt(int64(t/time.Hour), 10) + "h"
	case t >= time.Minute && t%time.Minute == 0:
		return strconv.FormatInt(int64(t/time.Minute), 10) + "m"
	default:
		return t.String()
	}
}

// MarshalText gives String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText refuses what has no unit and what is negative.
func (d *Duration) UnmarshalText(b []byte) error {
	t, err := time.ParseDuration(string(b))
	if err != nil || t < 0 {
		return gov.Errorf(gov.KindInvalid, "policy_duration", "%q is not a length of time; write a number and a unit, such as 60m or 24h", b)
	}
	*d = Duration(t)
	return nil
}
