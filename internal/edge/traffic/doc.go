// Package traffic decides which upstream answers a request, and counts what
// came of it. It holds the Driver interface that every actuator of a canary's
// weight fulfils, and Proxy, the reverse proxy that govern brings along.
//
// It promises:
//
//   - Level-triggered: Set says "the weight is 5", never "5 more". Saying it
//     again changes nothing but the lease.
//   - Exact split: of any run of consecutive requests under one weight w, the
//     candidate gets w % of them, off by at most a handful (see split.go).
//   - Fail safe: a proxy starts with weight 0; a new candidate starts with
//     weight 0; when nobody says Set within the lease the weight is 0; setting
//     0 and Kill are never refused.
//   - Exact windows: every event is counted in exactly one window, all counters
//     of one event in the same one, and a request is handed over under exactly
//     the weight its window names.
//   - A client that leaves is never an error of the upstream.
//   - Bodies are streamed, never held; upgrades, HTTP/2 and trailers pass.
//
// It never judges a canary, never raises a weight by itself, never retries a
// request on the other upstream, never reads proxy settings from the
// environment, and never tells a client which error the upstream made.
//
// # Seams
//
// HAProxy, the Gateway API and webhooks are further Drivers: they pass
// traffictest.Run and need nothing else from here. Sticky sessions replace
// split.pick, the one place where an upstream is chosen.
//
// Requirements: the specification "Governance & Audit", Canary Deployment
// Strategy (traffic_percentage and the figures behind its thresholds).
package traffic
