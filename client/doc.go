// Package client holds the wire types of govern's HTTP API and typed calls on
// them. The command line uses it for everything: in the same process, over the
// socket of a running `govern serve`, or against GOVERN_SERVER; only the
// http.RoundTripper differs.
//
// It promises that an error of the server arrives as the *Error it was there,
// with kind, code, message and hint, and that a response the client does not
// understand is an error. It never retries a call by itself, never follows a
// redirect, and never sends a key: statements are signed before they come here.
package client
