package git

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/governhq/govern/internal/gov"
)

var (
	idA = strings.Repeat("a", 40)
	idB = strings.Repeat("0", 40)
)

func FuzzParseDeltas(f *testing.F) {
	f.Add([]byte(":100644 000000 " + idA + " " + idB + " D\x00a\nb\x00"))
	f.Add([]byte(":100644 100644 " + idA + " " + idB + " R100\x00a\x00b\x00"))
	f.Add([]byte(":\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		deltas, err := parseDeltas(in)
		if err != nil {
			wantCode(t, err, "git_output_malformed")
			return
		}
		var out bytes.Buffer
		rest := in
		for _, d := range deltas {
			status := rest[bytes.IndexByte(rest, 0)-1] // the only field that is not kept
			fmt.Fprintf(&out, ":%s %s %s %s %c\x00%s\x00", d.oldMode, d.newMode, d.oldID, d.newID, status, d.path)
			rest = in[out.Len():]
		}
		if !bytes.Equal(in, out.Bytes()) {
			t.Errorf("%q reads as %q", in, out.Bytes())
		}
	})
}

func FuzzParseEntries(f *testing.F) {
	f.Add([]byte("100644 blob " + idA + "\ta\nb\x00040000 tree " + idB + "\tx\x00160000 commit " + idB + "\ty\x00"))
	f.Add([]byte("100644 blob " + idA + "\t\x00"))
	f.Add([]byte("100644 tree " + idA + "\tx\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		entries, err := parseEntries(in)
		if err != nil {
			wantCode(t, err, "git_output_malformed")
			return
		}
		var out bytes.Buffer
		for _, e := range entries {
			kind := map[string]string{moduleMode: "commit", treeMode: "tree"}[e.mode]
			if kind == "" {
				kind = "blob"
			}
			fmt.Fprintf(&out, "%s %s %s\t%s\x00", e.mode, kind, e.id, e.path)
		}
		if !bytes.Equal(in, out.Bytes()) {
			t.Errorf("%q reads as %q", in, out.Bytes())
		}
	})
}

func FuzzParseTreeObject(f *testing.F) {
	f.Add([]byte("40000 changes\x0001234567890123456789100644 a\x0001234567890123456789"))
	f.Fuzz(func(t *testing.T, in []byte) {
		entries, err := parseTreeObject(in, 20)
		if err != nil {
			wantCode(t, err, "git_output_malformed")
			return
		}
		var out bytes.Buffer
		for _, e := range entries {
			out.WriteString(e.mode + " " + e.path + "\x00" + e.id)
		}
		if !bytes.Equal(in, out.Bytes()) {
			t.Errorf("%q reads as %q", in, out.Bytes())
		}
	})
}

func FuzzParseWorktrees(f *testing.F) {
	f.Add([]byte("worktree /a b\nc\x00HEAD " + idA + "\x00branch refs/heads/main\x00\x00worktree /d\x00bare\x00\x00"))
	f.Add([]byte("branch x\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		list, err := parseWorktrees(in)
		if err == nil && len(list) > bytes.Count(in, []byte("worktree")) {
			t.Errorf("%q has %d work trees", in, len(list))
		}
	})
}

func FuzzParseCommit(f *testing.F) {
	f.Add([]byte("tree " + idA + "\nauthor A <a@b> 1 +0000\ncommitter B <c@d> 1 +0000\n\nx\n\nGovern-Agent: z\n"))
	f.Add([]byte("author >< \n\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := parseCommit(in)
		for _, s := range append(c.emails, c.agents...) {
			if !isClean(s) {
				t.Errorf("%q gives %q", in, s)
			}
		}
	})
}

func FuzzNormal(f *testing.F) {
	for text := range canon {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		sum, ok := normal(in)
		again, ok2 := normal(append([]byte(" "), in...))
		if ok != ok2 || sum != again {
			t.Errorf("white space changes the form of %q", in)
		}
	})
}

func FuzzPaths(f *testing.F) {
	for _, p := range append(hostile, oraclePaths...) {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		shown := shownPath(path)
		if !isClean(shown) || isClean(path) && shown != path || strings.Count(shown, "/") != strings.Count(path, "/") {
			t.Errorf("%q is shown as %q", path, shown)
		}
		if id, ok := metadataID(path); ok && path != MetadataPath(id) {
			t.Errorf("%q is taken for metadata of %s", path, id)
		}
		if id, d, ok := statementID(path); ok && path != StatementPath(id, d) {
			t.Errorf("%q is taken for a statement of %s", path, id)
		}
		if CheckPath(path) == nil && (strings.HasPrefix(path, "/") || strings.Contains("/"+path+"/", "/../")) {
			t.Errorf("%q passes", path)
		}
	})
}

func TestParsersRefuse(t *testing.T) {
	for _, in := range []string{
		":100644 000000 " + idA + " " + idB + " D\x00a", ":100644 000000 " + idA + " " + idB + " D\x00\x00", "x", ":1 2 3 4 5\x00a\x00",
		":100644 100644 " + idA + " " + strings.Repeat("b", 64) + " M\x00a\x00", ":100644 100644 " + idA + " " + idB + " R\x00a\x00",
	} {
		_, err := parseDeltas([]byte(in))
		wantCode(t, err, "git_output_malformed")
	}
	for _, in := range []string{"100644 blob " + idA + "\ta", "100648 blob " + idA + "\ta\x00", "100644 blob " + idA + "\t\x00", "160000 blob " + idA + "\tx\x00", "\t\x00"} {
		_, err := parseEntries([]byte(in))
		wantCode(t, err, "git_output_malformed")
	}
	for _, line := range []string{"", "x blob 3\n", idA + " blob -1\n", idA + " blob\n", idA + " blob 99999999999999999999\n"} {
		if _, _, _, ok := parseBatchHead([]byte(line)); ok {
			t.Errorf("%q is taken for the head of an object", line)
		}
	}
	if _, err := parseTreeObject([]byte("100644 a\x00short"), 20); gov.CodeOf(err) != "git_output_malformed" {
		t.Error(err)
	}
}
