package git

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

// hostile are names that a tree can hold and a checkout too.
var hostile = []string{
	"new\nline", "tab\tname", "quote\"d", "back\\slash", "caf\xe9", "\x01ctrl", "-rf", "--", ":(top)magic", ":!x", "*", "sp ace ",
	"$(touch pwned)", "sub dir/-x/\xff\xfe", "…dots…", "..x", ".gitx", "changes/CHANGE-1/statements/\n.json", "del\x7f", "c1\u0085",
}

// object stores an object the way git mktree would refuse to.
func (r *repo) object(kind string, data []byte) string {
	r.Helper()
	cmd := exec.Command("git", "hash-object", "--literally", "-w", "-t", kind, "--stdin")
	cmd.Dir, cmd.Stdin = r.dir, bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		r.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// treeObject makes a tree with blobs under the given raw names, in that order.
func (r *repo) treeObject(id string, names ...string) string {
	r.Helper()
	raw, _ := hex.DecodeString(id)
	var tree bytes.Buffer
	for _, n := range names {
		fmt.Fprintf(&tree, "100644 %s\x00%s", n, raw)
	}
	return r.object("tree", tree.Bytes())
}

func (r *repo) commitOf(tree string, parents ...string) string {
	r.Helper()
	args := []string{"commit-tree", "-m", "x", tree}
	for _, p := range parents {
		args = append(args, "-p", p)
	}
	return r.git(args...)
}

func TestHostileNamesReachDigestsLossFree(t *testing.T) {
	r := newRepo(t)
	base := r.head()
	blob := r.git("rev-parse", "HEAD:README")
	tree := map[string]string{}
	for _, name := range hostile {
		flat := strings.ReplaceAll(name, "/", "-")
		commit := r.commitOf(r.treeObject(blob, flat))
		digest := must(r.open().TreeDigest(t.Context(), commit))(t)
		want := gov.DigestOf([]byte("govern-tree-v1\n100644 " + blob + "\t" + flat + "\x00"))
		if digest != want {
			t.Errorf("%q: the tree digest does not hold the raw name", flat)
		}
		if other, ok := tree[string(digest)]; ok {
			t.Errorf("%q and %q have one digest", flat, other)
		}
		tree[string(digest)] = flat
	}
	for _, name := range hostile {
		r.write(name, "x")
	}
	r.commit("hostile")
	_, err := r.open().Revision(t.Context(), base, "HEAD", "CHANGE-1")
	wantCode(t, err, "path_not_utf8")
	files := must(r.open().ListFiles(t.Context(), "HEAD", ""))(t)
	for _, name := range hostile {
		if !slices.ContainsFunc(files, func(e Entry) bool { return e.Path == name }) {
			t.Errorf("%q is not listed as it is", name)
		}
		if got := must(r.open().ReadFile(t.Context(), "HEAD", name))(t); string(got) != "x" {
			t.Errorf("%q reads as %q", name, got)
		}
	}
	if len(must(r.open().ListFiles(t.Context(), "HEAD", "sub dir"))(t)) != 1 || len(must(r.open().ListFiles(t.Context(), "HEAD", "*"))(t)) != 1 {
		t.Error("a prefix is taken for a pattern")
	}
}

func TestWhichNamesAChangeMayTouch(t *testing.T) {
	for _, name := range hostile {
		t.Run(fmt.Sprintf("%q", name), func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			base := r.head()
			r.write(name, "x")
			added := r.commit("add")
			r.write(name, "y")
			edited := r.commit("edit")
			r.git("rm", "-q", "--", ":(literal)"+name)
			removed := r.commit("remove")
			o := r.open()
			for _, pair := range [][2]string{{base, added}, {added, edited}} {
				c, err := o.Between(t.Context(), pair[0], pair[1], "CHANGE-1")
				if clean := utf8.ValidString(name) && !strings.ContainsAny(name, "\n\t\x01\x7f\u0085"); !clean {
					wantCode(t, err, "path_not_utf8")
				} else if err != nil || len(c.Paths) != 1 || c.Paths[0].Path != name {
					t.Errorf("got %v, %v", c.Paths, err)
				}
			}
			c := must(o.Between(t.Context(), edited, removed, "CHANGE-1"))(t)
			if len(c.Paths) != 1 || !utf8.ValidString(c.Paths[0].Path) {
				t.Fatalf("a removal gives %q", c.Paths)
			}
			b, err := json.Marshal(c.Paths[0].Path)
			var back string
			if err != nil || json.Unmarshal(b, &back) != nil || back != c.Paths[0].Path || strings.ContainsAny(back, "\n\x01") {
				t.Errorf("%q does not survive JSON", c.Paths[0].Path)
			}
		})
	}
}

// Trees that no checkout can have could smuggle a file past an exception or
// show one thing to git and another to us.
func TestUnsafeTreesAreRefused(t *testing.T) {
	r := newRepo(t)
	base := r.head()
	blob := r.git("rev-parse", "HEAD:README")
	up := "changes/CHANGE-1/statements/../../../src/" + strings.Repeat("ab", 32) + ".json"
	cases := map[string]struct {
		tree string
		code string
	}{
		"dot dot":        {r.treeObject(blob, ".."), "path_unsafe"},
		"dot":            {r.treeObject(blob, "."), "path_unsafe"},
		"git folder":     {r.treeObject(blob, ".GIT"), "path_unsafe"},
		"slash in name":  {r.treeObject(blob, up), "path_unsafe"},
		"leading slash":  {r.treeObject(blob, "/etc/passwd"), "path_unsafe"},
		"the name twice": {r.treeObject(blob, "a", "a"), "tree_malformed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := r.open().TreeDigest(t.Context(), c.tree)
			wantCode(t, err, c.code)
			head := r.commitOf(c.tree, base)
			if _, err = r.open().Revision(t.Context(), base, head, "CHANGE-1"); err == nil {
				t.Error("the revision is not refused")
			}
			if _, err := r.open().Range(t.Context(), base, head); err == nil && c.code == "path_unsafe" {
				t.Error("the push is not refused")
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	r := newRepo(t)
	r.link("link", "README")
	r.write("big", strings.Repeat("x", FileLimit+1))
	r.write("full", strings.Repeat("x", FileLimit))
	r.write("empty", "")
	r.commit("files")
	o := r.open()
	for path, code := range map[string]string{
		"nothing": "file_not_found", "src": "not_a_regular_file", "src/": "path_unsafe", "link": "not_a_regular_file",
		"big": "file_too_large", "": "path_unsafe", "../x": "path_unsafe", "src/*": "file_not_found", "-x": "file_not_found",
	} {
		_, err := o.ReadFile(t.Context(), "HEAD", path)
		t.Run(path, func(t *testing.T) { wantCode(t, err, code) })
	}
	for path, size := range map[string]int{"empty": 0, "full": FileLimit, "README": 6} {
		if b := must(o.ReadFile(t.Context(), "HEAD", path))(t); len(b) != size {
			t.Errorf("%s has %d bytes", path, len(b))
		}
	}
	_, err := o.Blob(t.Context(), strings.Repeat("1", 40))
	wantCode(t, err, "object_missing")
	_, err = o.Blob(t.Context(), "HEAD:README")
	wantCode(t, err, "object_id_invalid")
	_, err = o.Blob(t.Context(), r.head())
	wantCode(t, err, "not_a_regular_file")
	id := fmt.Sprintf("%x", sha1.Sum([]byte("blob 6\x00hello\n")))
	if b := must(o.Blob(t.Context(), id))(t); string(b) != "hello\n" {
		t.Errorf("got %q", b)
	}
}

func TestShownPathKeepsThePlace(t *testing.T) {
	want := map[string]string{"a/b": "a/b", "sec/\xff.py": "sec/\uFFFD.py", "x\ny/z": "x\uFFFDy/z", "\xc3\x28": "\uFFFD("}
	for in, out := range want {
		if diff := cmp.Diff(out, shownPath(in)); diff != "" {
			t.Error(diff)
		}
	}
}
