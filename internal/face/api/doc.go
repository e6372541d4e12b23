// Package api serves the engine over HTTP: operations described by OpenAPI 3.1,
// problems as RFC 9457, the log as C2SP tlog-tiles under /log/.
//
// It promises that every operation is served by the same handler, whether the
// call comes from the same process, the socket or a network address; that a
// request body is read strictly (unknown and duplicate keys are refused); that
// who calls comes from the context, never from a header that the caller wrote;
// and that an error carries kind, code and hint, and never an internal cause.
// It never decides and never writes to the log but through the engine.
package api
