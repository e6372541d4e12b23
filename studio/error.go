package studio

import "errors"

// Error is why studio did not do something. Status is the HTTP status that
// says who must act: 4xx the caller, 500 the bundle, 503 the machine.
type Error struct {
	Status  int
	Code    string // stable, snake_case
	Message string // one sentence; never a value of the input
	Hint    string // what to do next, or empty
	Err     error
}

func (e *Error) Error() string { return e.Message + " [" + e.Code + "]" }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode is the stable code, which the audit record of a failure carries.
func (e *Error) ErrorCode() string { return e.Code }

// codeAudit is the code of an operation whose record the log did not take.
const codeAudit = "audit_unavailable"

// asError gives the first *Error in err's chain; anything else is a bug.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Status: 500, Code: "internal", Message: "studio has a bug", Err: err}
}
