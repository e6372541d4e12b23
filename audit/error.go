package audit

import (
	"errors"

	"github.com/governhq/govern/internal/gov"
)

// ErrorCode is the stable snake_case code of an error of this package, for
// programs: audit_record_invalid, audit_record_too_large, audit_closed,
// ledger_… and so on; "" for an error from elsewhere.
func ErrorCode(err error) string { return gov.CodeOf(err) }

// ErrorKind says who must act on an error of this package: "invalid" the
// caller, "conflict" whoever holds the log, "integrity" whoever keeps it,
// "unavailable" the machine (disk full, failed sync). It is "" for nil and
// "internal" for an error from elsewhere.
func ErrorKind(err error) string { return string(gov.KindOf(err)) }

// ErrorHint is the next thing to do about an error of this package, or "".
func ErrorHint(err error) string {
	if e, ok := errors.AsType[*gov.Error](err); ok {
		return e.Hint
	}
	return ""
}

// explain gives code and message for a line of the JSON-lines protocol.
func explain(err error) (code, message string) {
	if e, ok := errors.AsType[*gov.Error](err); ok {
		return e.Code, e.Message
	}
	return "audit_failed", err.Error()
}

var errClosed = gov.Errorf(gov.KindUnavailable, "audit_closed", "the audit log is closed")
