package git

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/governhq/govern/internal/gov"
)

// ChangesDir is the folder of change metadata and statements.
const ChangesDir = "changes"

const (
	metadataName  = "change_metadata.json"
	statementsDir = "statements"
)

// MetadataPath is the path of a change's metadata file.
func MetadataPath(id gov.ChangeID) string { return ChangesDir + "/" + string(id) + "/" + metadataName }

// StatementPath is the path of a statement whose file has digest d.
func StatementPath(id gov.ChangeID, d gov.Digest) string {
	return ChangesDir + "/" + string(id) + "/" + statementsDir + "/" + d.Hex() + ".json"
}

// metadataID gives the change whose metadata file path is.
func metadataID(path string) (gov.ChangeID, bool) {
	id, rest, ok := cutChange(path)
	return id, ok && rest == metadataName
}

// statementID gives the change and digest of a statement file by its name.
func statementID(path string) (gov.ChangeID, gov.Digest, bool) {
	id, rest, ok := cutChange(path)
	if !ok {
		return "", "", false
	}
	name, ok := strings.CutPrefix(rest, statementsDir+"/")
	if !ok {
		return "", "", false
	}
	name, ok = strings.CutSuffix(name, ".json")
	if !ok || len(name) != 64 || !isObjectID(name) {
		return "", "", false
	}
	return id, gov.Digest("sha256:" + name), true
}

func cutChange(path string) (id gov.ChangeID, rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, ChangesDir+"/CHANGE-")
	if !ok {
		return "", "", false
	}
	number, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", false
	}
	id, err := gov.ParseChangeID("CHANGE-" + number)
	return id, rest, err == nil
}

// isClean tells whether a name can stand in JSON and on a terminal: valid
// UTF-8 without control characters.
func isClean(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return strings.IndexFunc(s, unicode.IsControl) < 0
}

// CheckPath refuses a path that cannot enter JSON, owners or a command line
// unchanged (path_not_utf8), or that git would never check out (path_unsafe).
func CheckPath(path string) error {
	if !isClean(path) {
		return gov.Errorf(gov.KindInvalid, "path_not_utf8", "the file name %q is not UTF-8 text or holds a control character", path).
			WithHint("rename the file: git mv")
	}
	return checkComponents(path)
}

// checkComponents refuses names with which a path could mean another file than
// it seems to.
func checkComponents(path string) error {
	for rest, more := path, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		if part == "" || part == "." || part == ".." || len(part) == 4 && strings.EqualFold(part, ".git") {
			return gov.Errorf(gov.KindInvalid, "path_unsafe", "the tree holds the file name %q, which no checkout can have", path).
				WithHint("git fsck --strict")
		}
	}
	return nil
}

// shownPath makes a name fit for JSON with U+FFFD for every offending byte; it
// keeps folders and endings, so that owners of the place still match.
func shownPath(path string) string {
	if isClean(path) {
		return path
	}
	var b strings.Builder
	for len(path) > 0 {
		c, n := utf8.DecodeRuneInString(path)
		if c == utf8.RuneError && n == 1 || unicode.IsControl(c) {
			c = utf8.RuneError
		}
		b.WriteRune(c)
		path = path[n:]
	}
	return b.String()
}
