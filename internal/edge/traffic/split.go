package traffic

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// split hands out requests by the golden-ratio sequence: request n goes to the
// candidate when frac(seed + n·φ) lies below weight/100.
//
// Its points spread evenly (Knuth, The Art of Computer Programming, vol. 3, 6.4,
// on Fibonacci hashing): of any N requests in a row the candidate's share is off
// by O(log N) requests; a test holds it to 5 in any 1,000 and 8 in any million.
// Unlike counting to 100 it follows no short period, so that every tenth request
// being a health check does not put all of those on one side.
//
// A sequence needs one place that counts; that atomic word is the only thing
// all processors share in a request.
type split struct {
	_ [64]byte
	n atomic.Uint64
	_ [64]byte
}

// golden is 2^64 divided by the golden ratio, made odd.
const golden = 0x9E3779B97F4A7C15

// pick tells whether the next request is the candidate's.
func (s *split) pick(threshold uint64) bool {
	switch threshold {
	case 0:
		return false
	case math.MaxUint64:
		return true
	}
	return s.n.Add(golden) < threshold
}

// threshold is weight/100 of 2^64; its ends stand for never and always.
func threshold(weight int) uint64 {
	switch {
	case weight <= 0:
		return 0
	case weight >= 100:
		return math.MaxUint64
	}
	q, _ := bits.Div64(uint64(weight), 0, 100)
	return q
}
