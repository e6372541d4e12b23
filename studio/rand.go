package studio

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"strconv"
)

// Rand is a module's source of random choices: PCG-DXSM (math/rand/v2.PCG),
// whose 128 bits of state are the first half of
// SHA-256("studio/pcg/v1" NUL module NUL decimal seed), big-endian. The
// choices are computed here, on integers, so that they do not change with the
// library.
type Rand struct{ pcg *rand.PCG }

// NewRand is the source of one module for one seed.
func NewRand(seed int64, module string) *Rand {
	sum := sha256.Sum256([]byte("studio/pcg/v1\x00" + module + "\x00" + strconv.FormatInt(seed, 10)))
	return &Rand{pcg: rand.NewPCG(binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16]))}
}

// IntN is uniform in [0, n) for n >= 1 (up to a bias below 2^-50 for the n used
// here).
func (r *Rand) IntN(n int) int {
	hi, _ := bits.Mul64(r.pcg.Uint64(), uint64(n))
	return int(hi)
}

// Between is uniform in [low, high]; low when high is not above it.
func (r *Rand) Between(low, high int) int {
	if high <= low {
		return low
	}
	return low + r.IntN(high-low+1)
}

// Permille is true in n of a thousand cases.
func (r *Rand) Permille(n int) bool { return r.IntN(1000) < n }
