package git

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/governhq/govern/internal/gov"
)

// RefUpdate is one line that git gives a receive hook: object ids of old and
// new value (zeros for "does not exist") and the full ref name.
type RefUpdate struct {
	Old, New string
	Ref      string
}

// UpdateKind says what a push does to a ref.
type UpdateKind string

const (
	UpdateNone    UpdateKind = "none"         // old and new are the same
	UpdateCreate  UpdateKind = "create"       // the ref did not exist
	UpdateDelete  UpdateKind = "delete"       // the ref goes away
	UpdateForward UpdateKind = "fast_forward" // new contains old
	UpdateForce   UpdateKind = "forced"       // history is rewritten
)

// Classify tells what an update does. Errors: ref_update_invalid,
// commit_not_found, repository_shallow.
func (r *Repo) Classify(ctx context.Context, u RefUpdate) (UpdateKind, error) {
	if !isObjectID(u.Old) || !isObjectID(u.New) || len(u.Old) != len(u.New) || isZeroID(u.Old) && isZeroID(u.New) {
		return "", gov.Errorf(gov.KindInvalid, "ref_update_invalid", "%q to %q is not an update of a ref", printable(u.Old), printable(u.New))
	}
	switch {
	case u.Old == u.New:
		return UpdateNone, nil
	case isZeroID(u.New):
		return UpdateDelete, nil
	case isZeroID(u.Old):
		return UpdateCreate, nil
	}
	for _, id := range []string{u.Old, u.New} {
		if _, err := r.Resolve(ctx, id); err != nil {
			return "", err
		}
	}
	contains, err := r.Contains(ctx, u.New, u.Old)
	if err != nil {
		return "", err
	}
	if contains {
		return UpdateForward, nil
	}
	return UpdateForce, nil
}

// Contains tells whether ancestor is reachable from commit (a commit contains
// itself).
func (r *Repo) Contains(ctx context.Context, commit, ancestor string) (bool, error) {
	if err := r.deep(); err != nil {
		return false, err
	}
	commit, ancestor, err := r.pair(ctx, commit, ancestor)
	if err != nil {
		return false, err
	}
	_, err = r.git(ctx, "merge-base", "--is-ancestor", ancestor, commit)
	if exitCode(err) == 1 {
		return false, nil
	}
	return err == nil, err
}

const (
	hookLineLimit  = 8 << 10
	hookLinesLimit = 100_000
)

// ParseHookInput reads the standard input of a pre-receive or post-receive
// hook: lines of "old SP new SP ref LF". Errors: hook_input_invalid,
// ref_not_utf8.
func ParseHookInput(in io.Reader) ([]RefUpdate, error) {
	var updates []RefUpdate
	lines := bufio.NewReaderSize(in, hookLineLimit)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return updates, nil
		}
		if err != nil {
			return nil, hookInvalid(len(updates)+1, "it does not end with a newline")
		}
		if len(updates) == hookLinesLimit {
			return nil, hookInvalid(len(updates)+1, "there are too many lines")
		}
		u, err := parseUpdate(string(line[:len(line)-1]), len(updates)+1)
		if err != nil {
			return nil, err
		}
		if len(updates) > 0 && len(u.Old) != len(updates[0].Old) {
			return nil, hookInvalid(len(updates)+1, "its object ids have another format than those before")
		}
		updates = append(updates, u)
	}
}

func parseUpdate(line string, number int) (RefUpdate, error) {
	f := strings.SplitN(line, " ", 3)
	if len(f) != 3 || !isObjectID(f[0]) || !isObjectID(f[1]) || len(f[0]) != len(f[1]) {
		return RefUpdate{}, hookInvalid(number, "it is not: old id, new id, ref")
	}
	if !utf8.ValidString(f[2]) {
		return RefUpdate{}, gov.Errorf(gov.KindInvalid, "ref_not_utf8", "the ref name %q is not UTF-8 text", f[2]).
			WithHint("rename the branch: git branch -m")
	}
	if err := CheckRef(f[2]); err != nil {
		return RefUpdate{}, hookInvalid(number, "its ref name is not valid")
	}
	return RefUpdate{Old: f[0], New: f[1], Ref: f[2]}, nil
}

func hookInvalid(line int, why string) error {
	return gov.Errorf(gov.KindInvalid, "hook_input_invalid", "line %d of the hook's input cannot be read: %s", line, why)
}

// CheckRef refuses anything but a full ref name ("refs/heads/main") that git
// accepts (rules of git-check-ref-format), is UTF-8 and has no control
// characters. Error: ref_invalid.
func CheckRef(ref string) error {
	bad := !strings.HasPrefix(ref, "refs/") || len(ref) > 1024 || !isClean(ref) ||
		strings.ContainsAny(ref, " ~^:?*[\\") || strings.Contains(ref, "..") || strings.Contains(ref, "@{") ||
		strings.HasSuffix(ref, ".")
	for part := range strings.SplitSeq(ref, "/") {
		bad = bad || part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock")
	}
	if bad {
		return gov.Errorf(gov.KindInvalid, "ref_invalid", "%q is not a full ref name such as refs/heads/main", printable(ref))
	}
	return nil
}
