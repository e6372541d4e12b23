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

// contents holds what is known of the special files by their object ids.
type contents struct {
	texts      map[string]string // metadata: what stands for it in a digest
	statements map[string]stamp  // files of a statement's shape
}

// stamp is what the bytes of a statement file say: the name it must have, and
// the change it is about.
type stamp struct {
	digest gov.Digest
	change gov.ChangeID
}

// of gives what stands for metadata; an id that is not known stands for itself.
func (c contents) of(id string) string {
	if s, ok := c.texts[id]; ok {
		return s
	}
	return id
}

// isStatement tells whether a file is left out of digests: a regular file in
// the folder of the change that its content is about, named by its content.
func (c contents) isStatement(mode, id, path string) bool {
	if mode != regularMode {
		return false
	}
	of, digest, ok := statementID(path)
	return ok && c.statements[id] == stamp{digest: digest, change: of}
}

// omits tells whether a difference is in nothing but a statement: on either
// side it is one, or absent.
func (c contents) omits(d delta) bool {
	return (d.oldMode == absentMode || c.isStatement(d.oldMode, d.oldID, d.path)) &&
		(d.newMode == absentMode || c.isStatement(d.newMode, d.newID, d.path))
}

// addsStatement tells whether a difference is a statement that was not there.
func (c contents) addsStatement(d delta) bool { return d.oldMode == absentMode && c.omits(d) }

// special collects the object ids of files whose content has to be read.
type special struct{ metadata, statements []string }

func (s *special) add(mode, id, path string) {
	if _, ok := metadataID(path); ok && isRegular(mode) {
		s.metadata = append(s.metadata, id)
	}
	if _, _, ok := statementID(path); ok && mode == regularMode {
		s.statements = append(s.statements, id)
	}
}

// read reads and judges special files, in one child.
func (r *Repo) read(ctx context.Context, s special) (contents, error) {
	slices.Sort(s.metadata)
	slices.Sort(s.statements)
	ids := slices.Concat(s.metadata, s.statements)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	c := contents{texts: make(map[string]string, len(s.metadata)), statements: make(map[string]stamp, len(s.statements))}
	err := r.objects(ctx, ids, metadataLimit, func(i int, kind string, data []byte, large bool) error {
		if kind != "blob" || large {
			return nil
		}
		if _, ok := slices.BinarySearch(s.metadata, ids[i]); ok {
			if sum, ok := normal(data); ok {
				c.texts[ids[i]] = "jcs:" + hex.EncodeToString(sum[:])
			}
		}
		if _, ok := slices.BinarySearch(s.statements, ids[i]); ok {
			if of := envelopeOf(data); of != "" {
				c.statements[ids[i]] = stamp{digest: gov.DigestOf(data), change: of}
			}
		}
		return nil
	})
	return c, err
}

// readStatements reads what contents.omits has to know of differences.
func (r *Repo) readStatements(ctx context.Context, lists ...[]delta) (contents, error) {
	var s special
	for _, deltas := range lists {
		for _, d := range deltas {
			s.add(d.oldMode, d.oldID, d.path)
			s.add(d.newMode, d.newID, d.path)
		}
	}
	s.metadata = nil
	return r.read(ctx, s)
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
	var ids special
	for _, d := range deltas {
		if err := checkComponents(d.path); err != nil {
			return counted{}, err
		}
		if of, _, ok := cutChange(d.path); ok && of == id {
			ids.add(d.oldMode, d.oldID, d.path)
			ids.add(d.newMode, d.newID, d.path)
		}
	}
	var err error
	if out.contents, err = r.read(ctx, ids); err != nil {
		return counted{}, err
	}
	for _, d := range deltas {
		if of, _, ok := statementID(d.path); !ok || of != id || !out.contents.omits(d) {
			out.deltas = append(out.deltas, d)
		} else if d.newMode != absentMode {
			out.statements = append(out.statements, d.path)
		}
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
	var ids special
	for i, e := range entries {
		if err := checkComponents(e.path); err != nil {
			return "", err
		}
		if i > 0 && entries[i-1].path == e.path {
			return "", malformedTree(e.path)
		}
		ids.add(e.mode, e.id, e.path)
	}
	c, err := r.read(ctx, ids)
	if err != nil {
		return "", err
	}
	return sumTree(entries, c), nil
}

func sumTree(entries []entry, c contents) gov.Digest {
	h := sha256.New()
	w := bufio.NewWriterSize(h, 32<<10)
	_, _ = w.WriteString(treeHeader)
	for _, e := range entries {
		if c.isStatement(e.mode, e.id, e.path) {
			continue
		}
		content := e.id
		if _, ok := metadataID(e.path); ok && isRegular(e.mode) {
			content = c.of(e.id)
		}
		for _, s := range []string{e.mode, " ", content, "\t", e.path, "\x00"} {
			_, _ = w.WriteString(s)
		}
	}
	_ = w.Flush()
	return gov.DigestSum([sha256.Size]byte(h.Sum(nil)))
}
