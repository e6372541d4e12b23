package canary

// Tail encloses a number of requests slower than a limit.
type Tail struct {
	AtLeast int64 `json:"at_least,omitempty"`
	AtMost  int64 `json:"at_most,omitempty"`
}

func (t Tail) plus(o Tail) Tail { return Tail{t.AtLeast + o.AtLeast, t.AtMost + o.AtMost} }

// Side is what one side added up to. Over counts requests slower than the
// rollback limit, Crit those slower than the bound of the promotion criterion.
type Side struct {
	Requests   int64 `json:"requests,omitempty"`
	Errors     int64 `json:"errors,omitempty"`
	Dispatched int64 `json:"dispatched,omitempty"`
	Completed  int64 `json:"completed,omitempty"`
	Over       Tail  `json:"over,omitzero"`
	Crit       Tail  `json:"crit,omitzero"`
}

func (a Side) plus(b Side) Side {
	return Side{
		a.Requests + b.Requests, a.Errors + b.Errors, a.Dispatched + b.Dispatched, a.Completed + b.Completed,
		a.Over.plus(b.Over), a.Crit.plus(b.Crit),
	}
}

// Share is the canary's traffic against what its weight lets expect from the
// baseline's, from windows that do not count dispatched requests.
type Share struct {
	Got      int64   `json:"got,omitempty"`
	Expected float64 `json:"expected,omitempty"`
	Base     int64   `json:"base,omitempty"` // requests of the baseline behind Expected
}

// Pair is what a stretch of fresh windows added up to. Its size is constant.
type Pair struct {
	Seconds  float64 `json:"seconds,omitempty"`
	Canary   Side    `json:"canary,omitzero"`
	Baseline Side    `json:"baseline,omitzero"`
	Share    Share   `json:"share,omitzero"`
}

func (a Pair) plus(b Pair) Pair {
	return Pair{
		a.Seconds + b.Seconds, a.Canary.plus(b.Canary), a.Baseline.plus(b.Baseline),
		Share{a.Share.Got + b.Share.Got, a.Share.Expected + b.Share.Expected, a.Share.Base + b.Share.Base},
	}
}

// tally turns a window into sums under the limits of c.
func (c Config) tally(w Window) Pair {
	over := c.Strategy.RollbackThresholds.LatencyP95MS
	crit := over
	if k, ok := c.Strategy.PromotionCriteria[Latency]; ok {
		crit = k.Bound
	}
	side := func(n Counts) Side {
		return Side{n.Requests, n.Errors, deref(n.Dispatched), deref(n.Completed), n.bounds(over), n.bounds(crit)}
	}
	p := Pair{Seconds: w.Seconds, Canary: side(w.Canary), Baseline: side(w.Baseline)}
	if w.Canary.Dispatched == nil && w.Baseline.Requests > 0 && w.Weight > 0 && w.Weight < 100 {
		p.Share = Share{
			Got: w.Canary.Requests, Base: w.Baseline.Requests,
			Expected: float64(float64(w.Baseline.Requests)*w.Weight) / (100 - w.Weight),
		}
	}
	return p
}

// Recent is a look-back of bounded length in constant space: two halves, the
// older of which is dropped when the newer is full.
type Recent struct {
	Older Pair `json:"older,omitzero"`
	Newer Pair `json:"newer,omitzero"`
}

func (r Recent) plus(p Pair, length float64) Recent {
	if r.Newer.Seconds >= length/2 {
		r.Older, r.Newer = r.Newer, Pair{}
	}
	r.Newer = r.Newer.plus(p)
	return r
}

func (r Recent) sum() Pair { return r.Older.plus(r.Newer) }
