// Package git reads and writes git repositories through the stock git binary
// (2.38 or newer), and names their content by digests that statements bind to.
//
// It promises: only plumbing commands with NUL-terminated output; every name
// that reaches git is checked or stands behind "--"; file names are bytes and
// survive loss-free in digests; user and system configuration, replace refs,
// grafts, attributes of the work tree and GIT_* variables of the caller never
// change a digest; inside a receive hook the quarantine of that very
// repository is read; a cancelled context ends the child. What it cannot find
// out it refuses.
//
// It never decides whether a change may go ahead, never parses metadata,
// policy or owners, never rewrites history, never touches a file that it was
// not told to write, and never follows a symbolic link in a work tree.
//
// # The change digest
//
// A change digest is SHA-256 over one header and the entries of the difference
// between the merge base and the head, sorted by the bytes of the path:
//
//	digest  = SHA-256( "govern-change-v1" LF change-id LF entry… )
//	entry   = old-mode SP old-content SP new-mode SP new-content TAB path NUL
//	mode    = six octal digits as git prints them, "000000" where absent
//	content = git object id in lower-case hex (zeros where absent), or "jcs:" and
//	          the hex SHA-256 of normalised metadata
//
// A path is the raw bytes of the tree entry; it holds no NUL, and none of the
// fields before it holds a TAB, so the encoding reads back in one way only.
// Renames are a removal and an addition. Symbolic links (120000) and submodules
// (160000) are entries like others. Without a change id the line is empty.
//
// Two kinds of file are special, for the change's own id:
//
//   - changes/ID/change_metadata.json, a regular file: its content is the
//     digest of its RFC 8785 form without the top-level member "approvals". A
//     file that is no JSON object, has duplicate members, is not UTF-8 or is
//     larger than 1 MiB stands with its object id. An entry whose two sides
//     became equal is dropped.
//   - changes/ID/statements/NAME.json, mode 100644, that is a statement file of
//     change ID, as below: left out. An entry is dropped when each of its sides
//     is absent or such a file. Everything else in that folder counts like any
//     file, whatever its name, so that nothing can be smuggled past an approval
//     there.
//
// A statement file of change ID has at most 65536 bytes, the SHA-256 of which is
// NAME in 64 lower-case hex digits, and which are, without a byte more or less:
//
//	{"payload":"P","payloadType":"application/vnd.in-toto+json",
//	"signatures":[{"keyid":"SHA256:F","sig":"S"}]} LF     (in one line, without spaces)
//
// P and S are standard base64 with padding, not empty; F is 43 digits of standard
// base64 without padding, for 32 bytes; unused bits are zero. P decodes to one
// JSON object in UTF-8, without duplicate members at any depth, U+0000 and lone
// surrogates, nested at most 64 deep, numbers within a float64, with no members
// but "_type" = "https://in-toto.io/Statement/v1", "predicateType" =
// "https://governhq.github.io/govern/statement/v1", "subject", an array, and
// "predicate", an object whose member "change" is the string ID. That is a shape,
// not a proof: who signed is judged where statements are verified, and a push
// that adds one by nobody known is refused there.
//
// The git object ids inside are SHA-1 in most repositories; git's collision
// detection stands behind them.
//
// # The tree digest
//
//	digest = SHA-256( "govern-tree-v1" LF entry… )
//	entry  = mode SP content TAB path NUL
//
// over all files of the tree, sorted by the bytes of the path, with the same
// two exceptions for every change id. Adding a statement, or writing approvals
// into any metadata file, leaves it as it is.
//
// # File names
//
// Names that are not UTF-8 or hold control characters enter digests as they
// are. A change that adds or modifies such a name is refused (path_not_utf8),
// because its paths go into JSON and are matched with owners. One that removes
// such a name passes, with U+FFFD for every offending byte in the reported
// path. Names that git itself never checks out ("..", ".git", empty) are
// refused anywhere (path_unsafe).
//
// Requirements: the specification "Governance & Audit", sections Change
// Metadata Requirements, Approval Workflows (merge), Rollback Plan (revert).
package git
