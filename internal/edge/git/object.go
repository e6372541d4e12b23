package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// FileLimit is the size in bytes up to which ReadFile and Blob read.
const FileLimit = 16 << 20

// Entry is one file of a tree. Path is the raw bytes of its name: see
// CheckPath before it goes anywhere but back into this package.
type Entry struct {
	Path string
	Mode string // "100644", "100755", "120000" (symbolic link), "160000" (submodule)
	ID   string // git object id
}

// ReadFile gives the content of a regular file at a commit.
// Errors: file_not_found, not_a_regular_file, file_too_large (FileLimit).
func (r *Repo) ReadFile(ctx context.Context, commit, path string) ([]byte, error) {
	if err := checkComponents(path); err != nil {
		return nil, err
	}
	tree, err := r.TreeOf(ctx, commit)
	if err != nil {
		return nil, err
	}
	out, err := r.git(ctx, "ls-tree", "-z", "--full-tree", tree, "--", path)
	if err != nil {
		return nil, err
	}
	entries, err := parseEntries(out)
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 || entries[0].path != path {
		return nil, gov.Errorf(gov.KindNotFound, "file_not_found", "there is no file %q at %.12s", path, commit)
	}
	if m := entries[0].mode; m != regularMode && m != execMode {
		return nil, gov.Errorf(gov.KindInvalid, "not_a_regular_file", "%q is not a regular file at %.12s (mode %s)", path, commit, m)
	}
	data, err := r.Blob(ctx, entries[0].id)
	if e, ok := errors.AsType[*gov.Error](err); ok && e.Code == "file_too_large" {
		e.Message = "the file " + shownPath(path) + " is larger than 16 MiB"
	}
	return data, err
}

// ListFiles gives every file below a folder of a commit, sorted by the bytes of
// the path; prefix "" means the whole tree. A folder that is not there is empty.
func (r *Repo) ListFiles(ctx context.Context, commit, prefix string) ([]Entry, error) {
	tree, err := r.TreeOf(ctx, commit)
	if err != nil {
		return nil, err
	}
	entries, err := r.list(ctx, tree, strings.TrimSuffix(prefix, "/"))
	if err != nil {
		return nil, err
	}
	files := make([]Entry, len(entries))
	for i, e := range entries {
		files[i] = Entry{Path: e.path, Mode: e.mode, ID: e.id}
	}
	return files, nil
}

func (r *Repo) list(ctx context.Context, tree, prefix string) ([]entry, error) {
	args := []string{"ls-tree", "-r", "-z", "--full-tree", tree}
	if prefix != "" {
		if err := checkComponents(prefix); err != nil {
			return nil, err
		}
		args = append(args, "--", prefix)
	}
	out, err := r.git(ctx, args...)
	if err != nil {
		return nil, err
	}
	return parseEntries(out)
}

// Blob gives the content of a blob by its full object id.
// Errors: object_id_invalid, object_missing, not_a_regular_file, file_too_large.
func (r *Repo) Blob(ctx context.Context, id string) ([]byte, error) {
	if !isObjectID(id) {
		return nil, gov.Errorf(gov.KindInvalid, "object_id_invalid", "%q is not a full object id", printable(id))
	}
	var data []byte
	err := r.objects(ctx, []string{id}, FileLimit, func(_ int, kind string, content []byte, large bool) error {
		switch {
		case kind != "blob":
			return gov.Errorf(gov.KindInvalid, "not_a_regular_file", "object %.12s is a %s, not a file", id, kind)
		case large:
			return gov.Errorf(gov.KindInvalid, "file_too_large", "the file with object id %.12s is larger than 16 MiB", id)
		}
		data = content
		return nil
	})
	return data, err
}

// objects reads objects by id in one child. Content over limit bytes is skipped
// and given as large.
func (r *Repo) objects(ctx context.Context, ids []string, limit int64, take func(i int, kind string, data []byte, large bool) error) error {
	if len(ids) == 0 {
		return nil
	}
	read := func(out *bufio.Reader) error {
		for i, id := range ids {
			kind, data, large, err := readObject(out, id, limit)
			if err != nil {
				return err
			}
			if err := take(i, kind, data, large); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := r.run(ctx, call{
		args:  []string{"cat-file", "--batch", "--buffer"},
		stdin: strings.NewReader(strings.Join(ids, "\n") + "\n"),
		read:  read,
	})
	return err
}

func readObject(out *bufio.Reader, want string, limit int64) (kind string, data []byte, large bool, err error) {
	line, err := out.ReadSlice('\n')
	if err != nil {
		return "", nil, false, malformed("object")
	}
	if bytes.HasSuffix(line, []byte(" missing\n")) {
		return "", nil, false, gov.Errorf(gov.KindIntegrity, "object_missing", "object %.12s is not in this repository", want).WithHint("git fsck")
	}
	id, kind, size, ok := parseBatchHead(line)
	if !ok || id != want {
		return "", nil, false, malformed("object")
	}
	if size > limit {
		if _, err := io.CopyN(io.Discard, out, size); err != nil {
			return "", nil, false, malformed("object")
		}
		large = true
	} else {
		data = make([]byte, size)
		if _, err := io.ReadFull(out, data); err != nil {
			return "", nil, false, malformed("object")
		}
	}
	if c, err := out.ReadByte(); err != nil || c != '\n' {
		return "", nil, false, malformed("object")
	}
	return kind, data, large, nil
}
