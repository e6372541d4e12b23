package traffic

import (
	"maps"
	"time"
)

// WindowState says whether a window tells anything about the canary.
type WindowState string

const (
	WindowFresh WindowState = "fresh" // the canary had at least one event
	WindowEmpty WindowState = "empty" // it had none
)

// Window is what happened in one stretch of time under one weight. As JSON it
// is one line of what `govern canary judge --windows` reads; fields beyond that
// shape are for people and do not travel.
type Window struct {
	Seq      int         `json:"seq"`     // 1, 2, 3, … without gaps
	Seconds  float64     `json:"seconds"` // length; shorter where a weight or an upstream changed
	Weight   int         `json:"weight"`  // percent, of every request dispatched in it
	Canary   Arm         `json:"canary"`
	Baseline Arm         `json:"baseline"`
	State    WindowState `json:"state"`

	Retired Arm       `json:"-"` // late outcomes of upstreams that were replaced meanwhile: nobody is judged by them
	Start   time.Time `json:"-"`
	End     time.Time `json:"-"`
}

// Arm counts the events of one upstream in one window. Each event belongs to
// the window in which it happened, so a request may be dispatched in one
// window and end in a later one.
//
// Requests counts known outcomes, Errors how many of them were the upstream's
// failures, so Errors <= Requests and Slow[x] <= Requests in every window. An
// ordinary response is known when its body ended, a stream (server-sent events
// or an upgraded connection) when it began. A stream that the upstream breaks
// later is one more request, and an error.
//
// Errors are: no connection, no answer in time, status 500 and above, a body
// that stalled or broke off, a gRPC status that stands for one of these.
//
// Completed counts dispatched requests that are settled so far as throughput
// goes: the upstream answered (any status; its response header came), or the
// client left while it could not yet complain. Dispatched minus completed,
// over all windows, is what the upstream still owes or never gave.
//
// Latency is the time to the response header, less the time spent waiting for
// the client's own request body. Slow["500"] counts requests that took more
// than 500 ms, timeouts always among them. A client that left unanswered after
// more than a limit counts as a request slower than that limit, is no error and
// is not completed; one that left sooner counts in ClientAborted only.
type Arm struct {
	Requests   int64            `json:"requests"`
	Errors     int64            `json:"errors"`
	Dispatched int64            `json:"dispatched"`
	Completed  int64            `json:"completed"`
	Slow       map[string]int64 `json:"slow"` // limit in ms → requests slower than it; every configured limit is there

	ClientAborted int64   `json:"-"` // clients that left before the end
	P95           float64 `json:"-"` // ms, DDSketch within 1 %, for display; 0 when nothing was answered
}

// clone keeps readers from sharing maps with the ring.
func (w Window) clone() Window {
	for _, a := range []*Arm{&w.Canary, &w.Baseline, &w.Retired} {
		a.Slow = maps.Clone(a.Slow)
	}
	return w
}
