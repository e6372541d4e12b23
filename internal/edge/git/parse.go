package git

import (
	"bytes"
	"strconv"

	"github.com/governhq/govern/internal/gov"
)

const (
	absentMode  = "000000"
	regularMode = "100644"
	execMode    = "100755"
	linkMode    = "120000"
	moduleMode  = "160000"
	treeMode    = "040000"
)

// delta is one entry of a raw diff. Path is raw bytes.
type delta struct {
	oldMode, newMode string
	oldID, newID     string
	path             string
}

// entry is one entry of a listed tree. Path is raw bytes.
type entry struct {
	mode string
	id   string
	path string
}

func malformed(what string) error {
	return gov.Errorf(gov.KindIntegrity, "git_output_malformed", "git answered with a malformed %s", what).WithHint("git fsck")
}

// parseDeltas reads "git diff-tree -z --raw --full-index --no-renames":
//
//	":" old-mode SP new-mode SP old-id SP new-id SP status NUL path NUL
func parseDeltas(out []byte) ([]delta, error) {
	deltas := make([]delta, 0, bytes.Count(out, []byte{0})/2)
	for len(out) > 0 {
		head, rest, ok := bytes.Cut(out, []byte{0})
		if !ok {
			return nil, malformed("difference")
		}
		d, ok := parseDeltaHead(head)
		if !ok {
			return nil, malformed("difference")
		}
		path, rest, ok := bytes.Cut(rest, []byte{0})
		if !ok || len(path) == 0 {
			return nil, malformed("difference")
		}
		d.path = string(path)
		deltas, out = append(deltas, d), rest
	}
	return deltas, nil
}

func parseDeltaHead(head []byte) (delta, bool) {
	if len(head) < 2 || head[0] != ':' {
		return delta{}, false
	}
	f := bytes.Split(head[1:], []byte{' '})
	if len(f) != 5 {
		return delta{}, false
	}
	d := delta{oldMode: string(f[0]), newMode: string(f[1]), oldID: string(f[2]), newID: string(f[3])}
	ok := isMode(d.oldMode) && isMode(d.newMode) && isObjectID(d.oldID) && isObjectID(d.newID) &&
		len(d.oldID) == len(d.newID) && len(f[4]) == 1 && bytes.Contains([]byte("AMDT"), f[4])
	return d, ok
}

// parseEntries reads "git ls-tree -r -z --full-tree":
//
//	mode SP type SP id TAB path NUL
func parseEntries(out []byte) ([]entry, error) {
	entries := make([]entry, 0, bytes.Count(out, []byte{0}))
	for len(out) > 0 {
		end := bytes.IndexByte(out, 0)
		if end < 0 {
			return nil, malformed("tree listing")
		}
		e, ok := parseEntry(out[:end])
		if !ok {
			return nil, malformed("tree listing")
		}
		entries, out = append(entries, e), out[end+1:]
	}
	return entries, nil
}

func parseEntry(line []byte) (entry, bool) {
	tab := bytes.IndexByte(line, '\t')
	if tab < 0 || tab == len(line)-1 || tab < 7 || line[6] != ' ' {
		return entry{}, false
	}
	kind, id, ok := bytes.Cut(line[7:tab], []byte{' '})
	// One string for the whole line keeps allocations to one an entry.
	whole := string(line)
	e := entry{mode: whole[:6], id: whole[tab-len(id) : tab], path: whole[tab+1:]}
	return e, ok && isMode(e.mode) && isObjectID(e.id) && kindFits(string(kind), e.mode)
}

func kindFits(kind, mode string) bool {
	switch mode {
	case moduleMode:
		return kind == "commit"
	case treeMode:
		return kind == "tree"
	default:
		return kind == "blob"
	}
}

func isMode(s string) bool {
	if len(s) != 6 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '7' {
			return false
		}
	}
	return true
}

// parseTreeObject reads a raw tree object with ids of size bytes:
//
//	mode SP name NUL id
//
// Only names and raw ids are given; modes keep git's short form.
func parseTreeObject(raw []byte, size int) ([]entry, error) {
	var entries []entry
	for len(raw) > 0 {
		mode, rest, ok := bytes.Cut(raw, []byte{' '})
		name, rest, ok2 := bytes.Cut(rest, []byte{0})
		if !ok || !ok2 || len(name) == 0 || len(rest) < size {
			return nil, malformed("tree")
		}
		entries = append(entries, entry{mode: string(mode), id: string(rest[:size]), path: string(name)})
		raw = rest[size:]
	}
	return entries, nil
}

// parseBatchHead reads "id SP type SP size" of cat-file --batch.
func parseBatchHead(line []byte) (id, kind string, size int64, ok bool) {
	f := bytes.Split(bytes.TrimSuffix(line, []byte{'\n'}), []byte{' '})
	if len(f) != 3 {
		return "", "", 0, false
	}
	size, err := strconv.ParseInt(string(f[2]), 10, 64)
	return string(f[0]), string(f[1]), size, err == nil && size >= 0 && isObjectID(string(f[0]))
}

// splitNUL splits NUL-terminated fields; the last one must be terminated.
func splitNUL(out []byte) ([]string, error) {
	if len(out) == 0 {
		return nil, nil
	}
	if out[len(out)-1] != 0 {
		return nil, malformed("list")
	}
	var fields []string
	for field := range bytes.SplitSeq(out[:len(out)-1], []byte{0}) {
		fields = append(fields, string(field))
	}
	return fields, nil
}
