package cli

import (
	"errors"

	"github.com/governhq/govern/internal/gov"
)

// Exit codes of every command.
const (
	ExitOK          = 0
	ExitRefused     = 1 // refused by policy or a check
	ExitUsage       = 2 // the command line, or what was sent, is malformed
	ExitIntegrity   = 3 // not verified, or tampered with
	ExitNotFound    = 4
	ExitConflict    = 5
	ExitDenied      = 6
	ExitTimeout     = 7
	ExitUnavailable = 8
	ExitPending     = 9  // only people or time are missing
	ExitInternal    = 70 // a bug of ours
)

var exitOf = map[gov.Kind]int{
	gov.KindRefused: ExitRefused, gov.KindInvalid: ExitUsage, gov.KindIntegrity: ExitIntegrity, gov.KindNotFound: ExitNotFound,
	gov.KindConflict: ExitConflict, gov.KindDenied: ExitDenied, gov.KindTimeout: ExitTimeout,
	gov.KindUnavailable: ExitUnavailable, gov.KindPending: ExitPending, gov.KindInternal: ExitInternal,
}

// Exit is an exit code without a message: the answer has been printed.
type Exit int

func (e Exit) Error() string { return "exit" }

// exitCode is the one place where an error becomes an exit code.
func exitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if e, ok := errors.AsType[Exit](err); ok {
		return int(e)
	}
	if code, ok := exitOf[gov.KindOf(err)]; ok {
		return code
	}
	return ExitInternal
}

// exitOfAnswer is the exit code of a verdict.
func exitOfAnswer(a gov.Answer) error {
	switch a {
	case gov.Allowed:
		return nil
	case gov.Pending:
		return Exit(ExitPending)
	default:
		return Exit(ExitRefused)
	}
}
