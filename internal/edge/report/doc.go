// Package report reads the report files of other tools and brings them into
// normal form, gov.Evidence.
//
// It promises: the format is found by content, never by a file's name, and what
// fits two formats is an error with the candidates; counts are counted from the
// single results, never taken from a summary; a test without an end, a package
// that did not build and a scan that did not run are failures; what could not
// be read is named in Evidence.Unread, which no rule lets pass, or the whole
// report is refused with an error; the digest is that of the raw bytes; the same
// bytes give the same Report. Input is read once, in order, with bounds on
// bytes, depth and results.
//
// It never decides whether evidence suffices (rule/evidence does), never opens a
// file, follows a reference, expands an entity or runs a tool, and never drops a
// failed or unreadable part without a word.
//
// Formats: "go-test" (go test -json), "junit" (JUnit XML as pytest, Surefire,
// gotestsum and many others write it), "go-cover" (go test -coverprofile) and
// "sarif" (SARIF 2.1.0). A new one is a row of the table in format.go.
//
// What a format cannot show, this package cannot see: a go test -json stream
// cut exactly between two packages that run one after the other has no sign of
// the loss, since the format has no end mark.
//
// Errors are *gov.Error of KindInvalid with the codes report_empty,
// report_too_large, report_too_deep, report_encoding, report_unknown,
// report_ambiguous, report_format, report_kind, report_version and
// report_syntax; reading data that itself fails gives KindUnavailable and
// report_read.
//
// Requirements: the specification, sections "Change Metadata Requirements"
// (tests_run) and "Approval Workflows" (CI validates, security scan).
package report
