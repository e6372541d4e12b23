package gov

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says who must act on an error. It is the only thing from which the exit
// code of a command and the status of an HTTP answer are derived (face/cli and
// face/api each hold one table).
type Kind string

const (
	KindInvalid     Kind = "invalid"     // the caller sent something malformed; exit 2, HTTP 400/422
	KindRefused     Kind = "refused"     // policy or a check says no; exit 1, HTTP 409
	KindPending     Kind = "pending"     // only people or time are missing; exit 9, HTTP 409
	KindDenied      Kind = "denied"      // the caller may not do this; exit 6, HTTP 403
	KindNotFound    Kind = "not_found"   // no such thing; exit 4, HTTP 404
	KindConflict    Kind = "conflict"    // somebody was faster, or state forbids it; exit 5, HTTP 409
	KindIntegrity   Kind = "integrity"   // not verified, or tampered with; exit 3, HTTP 500
	KindTimeout     Kind = "timeout"     // waited as long as asked; exit 7, HTTP 504
	KindUnavailable Kind = "unavailable" // something outside does not answer; exit 8, HTTP 503
	KindInternal    Kind = "internal"    // a bug of ours; exit 70, HTTP 500
)

// Error is the one error type that crosses package boundaries.
//
// Code is stable, snake_case and documented (govern explain CODE). Op is what
// we were doing, lower case ("read change metadata"). Message is one sentence
// for a person. Hint is the next command to run, or empty. Err is the cause,
// for logs; it is not shown to remote callers.
type Error struct {
	Kind    Kind
	Code    string
	Op      string
	Message string
	Hint    string
	Err     error
}

// Errorf makes an Error. A %w verb in format keeps the cause reachable.
func Errorf(kind Kind, code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint returns e with the next command set.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithOp returns e with the operation set.
func (e *Error) WithOp(op string) *Error {
	e.Op = op
	return e
}

// Error prints "op: message [code]".
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	if e.Code != "" {
		b.WriteString(" [")
		b.WriteString(e.Code)
		b.WriteByte(']')
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf gives the Kind of the first *Error in err's chain, KindInternal when
// there is none, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// CodeOf gives the stable code of the first *Error in err's chain, or "".
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}
