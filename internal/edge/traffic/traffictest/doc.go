// Package traffictest is the conformance suite of traffic.Driver, and a driver
// without traffic that fails on demand.
//
// It promises that a driver which passes Run keeps every promise written at
// traffic.Driver. It never sends traffic itself: whether a weight is honoured by
// the data path is for the Subject's Share to find out.
package traffictest
