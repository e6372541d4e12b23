package git

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/gowebpki/jcs"

	"github.com/governhq/govern/internal/gov"
)

const (
	changeHeader = "govern-change-v1\n"
	treeHeader   = "govern-tree-v1\n"
)

// metadataLimit is the size in bytes up to which metadata is normalised; a
// larger file stands with its object id.
const metadataLimit = 1 << 20

// normal gives the SHA-256 of metadata in RFC 8785 form without "approvals".
// It is not ok for anything but a JSON object in UTF-8 without duplicates.
func normal(raw []byte) (sum [sha256.Size]byte, ok bool) {
	if len(raw) > metadataLimit || !utf8.Valid(raw) {
		return sum, false
	}
	canonical, err := jcs.Transform(raw)
	if err != nil || canonical[0] != '{' {
		return sum, false
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(canonical, &members); err != nil {
		return sum, false
	}
	if _, there := members["approvals"]; there {
		delete(members, "approvals")
		rest, err := json.Marshal(members)
		if err != nil {
			return sum, false
		}
		if canonical, err = jcs.Transform(rest); err != nil {
			return sum, false
		}
	}
	return sha256.Sum256(canonical), true
}

// contents maps the object ids of metadata files to what stands for them in a
// digest; an id that is not in it stands for itself.
type contents map[string]string

func (c contents) of(id string) string {
	if s, ok := c[id]; ok {
		return s
	}
	return id
}

// normals reads and normalises metadata blobs.
func (r *Repo) normals(ctx context.Context, ids []string) (contents, error) {
	slices.Sort(ids)
	ids = slices.Compact(ids)
	c := make(contents, len(ids))
	err := r.objects(ctx, ids, metadataLimit, func(i int, kind string, data []byte, large bool) error {
		if kind != "blob" || large {
			return nil
		}
		if sum, ok := normal(data); ok {
			c[ids[i]] = "jcs:" + hex.EncodeToString(sum[:])
		}
		return nil
	})
	return c, err
}

func isRegular(mode string) bool { return mode == regularMode || mode == execMode }

// counted is what is left of a difference after the exceptions of one change.
type counted struct {
	id         gov.ChangeID
	deltas     []delta // sorted by path, statements and unchanged metadata left out
	statements []string
	contents   contents
}

// count applies the exceptions for change id to a difference. The empty id has
// none.
func (r *Repo) count(ctx context.Context, deltas []delta, id gov.ChangeID) (counted, error) {
	out := counted{id: id, deltas: make([]delta, 0, len(deltas))}
	var ids []string
	for _, d := range deltas {
		if err := checkComponents(d.path); err != nil {
			return counted{}, err
		}
		if of, _, ok := statementID(d.path); ok && of == id && leftOut(d.oldMode) && leftOut(d.newMode) {
			if d.newMode != absentMode {
				out.statements = append(out.statements, d.path)
			}
			continue
		}
		if of, ok := metadataID(d.path); ok && of == id {
			if isRegular(d.oldMode) {
				ids = append(ids, d.oldID)
			}
			if isRegular(d.newMode) {
				ids = append(ids, d.newID)
			}
		}
		out.deltas = append(out.deltas, d)
	}
	var err error
	if out.contents, err = r.normals(ctx, ids); err != nil {
		return counted{}, err
	}
	out.deltas = slices.DeleteFunc(out.deltas, func(d delta) bool {
		oldContent, newContent := out.sides(d)
		return d.oldMode == d.newMode && oldContent == newContent
	})
	slices.SortFunc(out.deltas, func(a, b delta) int { return cmp.Compare(a.path, b.path) })
	for i := 1; i < len(out.deltas); i++ {
		if out.deltas[i-1].path == out.deltas[i].path {
			return counted{}, malformedTree(out.deltas[i].path)
		}
	}
	slices.Sort(out.statements)
	return out, nil
}

// leftOut tells whether one side of a statement entry is absent or a plain file.
func leftOut(mode string) bool { return mode == absentMode || mode == regularMode }

// sides gives what stands for the old and new content. Only the change's own
// metadata is looked up: another file with the same bytes counts by its object
// id.
func (c counted) sides(d delta) (oldContent, newContent string) {
	if id, ok := metadataID(d.path); !ok || id != c.id {
		return d.oldID, d.newID
	}
	return c.side(d.oldMode, d.oldID), c.side(d.newMode, d.newID)
}

func (c counted) side(mode, id string) string {
	if isRegular(mode) {
		return c.contents.of(id)
	}
	return id
}

// digest writes the encoding that doc.go specifies.
func (c counted) digest() gov.Digest {
	h := sha256.New()
	w := bufio.NewWriter(h)
	write := func(parts ...string) {
		for _, p := range parts {
			_, _ = w.WriteString(p) // a hash takes everything
		}
	}
	write(changeHeader, string(c.id), "\n")
	for _, d := range c.deltas {
		oldContent, newContent := c.sides(d)
		write(d.oldMode, " ", oldContent, " ", d.newMode, " ", newContent, "\t", d.path, "\x00")
	}
	_ = w.Flush()
	return gov.DigestSum([sha256.Size]byte(h.Sum(nil)))
}

func malformedTree(path string) error {
	return gov.Errorf(gov.KindIntegrity, "tree_malformed", "the tree holds the file name %q twice", path).WithHint("git fsck --strict")
}

// TreeDigest gives the tree digest of a commit or tree. Errors: tree_not_found,
// path_unsafe, tree_malformed.
func (r *Repo) TreeDigest(ctx context.Context, treeish string) (gov.Digest, error) {
	tree, err := r.TreeOf(ctx, treeish)
	if err != nil {
		return "", err
	}
	return r.treeDigest(ctx, tree)
}

func (r *Repo) treeDigest(ctx context.Context, tree string) (gov.Digest, error) {
	entries, err := r.list(ctx, tree, "")
	if err != nil {
		return "", err
	}
	if !slices.IsSortedFunc(entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) }) {
		slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	}
	var ids []string
	for i, e := range entries {
		if err := checkComponents(e.path); err != nil {
			return "", err
		}
		if i > 0 && entries[i-1].path == e.path {
			return "", malformedTree(e.path)
		}
		if _, ok := metadataID(e.path); ok && isRegular(e.mode) {
			ids = append(ids, e.id)
		}
	}
	texts, err := r.normals(ctx, ids)
	if err != nil {
		return "", err
	}
	return sumTree(entries, texts), nil
}

func sumTree(entries []entry, texts contents) gov.Digest {
	h := sha256.New()
	w := bufio.NewWriterSize(h, 32<<10)
	_, _ = w.WriteString(treeHeader)
	for _, e := range entries {
		if _, _, ok := statementID(e.path); ok && e.mode == regularMode {
			continue
		}
		content := e.id
		if _, ok := metadataID(e.path); ok && isRegular(e.mode) {
			content = texts.of(e.id)
		}
		for _, s := range []string{e.mode, " ", content, "\t", e.path, "\x00"} {
			_, _ = w.WriteString(s)
		}
	}
	_ = w.Flush()
	return gov.DigestSum([sha256.Size]byte(h.Sum(nil)))
}
