package git

import (
	"crypto/sha1"
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

// node is a file as a plain walk of the directory sees it.
type node struct{ mode, text string }

// canon are metadata texts and what they are without approvals by RFC 8785,
// worked out by hand; "" where they have no such form.
var canon = map[string]string{
	`{"a":1}`:                                 "{\"a\":1}",
	"{ \"a\" : 1.0, \"approvals\": [1] }":     "{\"a\":1}",
	`{"approvals":{"x":"y"},"b":"\u0041"}`:    "{\"b\":\"A\"}",
	`{"b":"A"}`:                               "{\"b\":\"A\"}",
	`{"z":[],"approvals":null,"b":{"y":"<"}}`: "{\"b\":{\"y\":\"<\"},\"z\":[]}",
	"{}": "{}",
	"":   "", "not json": "", `{"a":1,"a":1}`: "", `["approvals"]`: "", `{"a":1} x`: "",
}

var (
	oracleMetadata  = regexp.MustCompile(`^changes/(CHANGE-[1-9][0-9]*)/change_metadata\.json$`)
	oracleStatement = regexp.MustCompile(`^changes/(CHANGE-[1-9][0-9]*)/statements/([0-9a-f]{64})\.json$`)
)

// oracleTexts are statement files and the changes that they are about, by
// construction.
var oracleTexts = map[string]string{
	envelope("CHANGE-1"): "CHANGE-1", envelope("CHANGE-1", "again"): "CHANGE-1", envelope("CHANGE-2"): "CHANGE-2", envelope("CHANGE-12"): "CHANGE-12",
}

// statement tells whether a file is one that digests leave out.
func (n node) statement(path string) bool {
	m := oracleStatement.FindStringSubmatch(path)
	return m != nil && n.mode == "100644" && oracleTexts[n.text] == m[1] && fmt.Sprintf("%x", sha256.Sum256([]byte(n.text))) == m[2]
}

// walk reads a directory without git.
func walk(t *rapid.T, dir string) map[string]node {
	files := map[string]node{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == ".git" {
			return filepath.SkipDir
		}
		name, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		switch {
		case err != nil || d.IsDir():
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			files[name] = node{"120000", to}
			return err
		}
		text, err := os.ReadFile(path)
		mode := "100644"
		if info.Mode()&0o100 != 0 {
			mode = "100755"
		}
		files[name] = node{mode, string(text)}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (n node) blob(format string) string {
	object := fmt.Sprintf("blob %d\x00%s", len(n.text), n.text)
	if format == "sha256" {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(object)))
	}
	return fmt.Sprintf("%x", sha1.Sum([]byte(object)))
}

// content is what stands for a file in a digest.
func (n node) content(format string, special bool) string {
	form := canon[n.text]
	if oracleTexts[n.text] != "" {
		form = strings.TrimSuffix(n.text, "\n") // an envelope is canonical but for its line feed
	}
	if special && (n.mode == "100644" || n.mode == "100755") && form != "" {
		return fmt.Sprintf("jcs:%x", sha256.Sum256([]byte(form)))
	}
	return n.blob(format)
}

func oracleTree(files map[string]node, format string) gov.Digest {
	text := "govern-tree-v1\n"
	for _, path := range slices.Sorted(maps.Keys(files)) {
		n := files[path]
		if !n.statement(path) {
			text += n.mode + " " + n.content(format, oracleMetadata.MatchString(path)) + "\t" + path + "\x00"
		}
	}
	return gov.DigestOf([]byte(text))
}

func oracleChange(before, after map[string]node, id, format string) gov.Digest {
	all := maps.Clone(before)
	maps.Copy(all, after)
	zero := strings.Repeat("0", len(node{}.blob(format)))
	text := "govern-change-v1\n" + id + "\n"
	for _, path := range slices.Sorted(maps.Keys(all)) {
		m := oracleMetadata.FindStringSubmatch(path)
		special := m != nil && m[1] == id
		side := func(files map[string]node) (mode, content string) {
			if n, ok := files[path]; ok {
				return n.mode, n.content(format, special)
			}
			return "000000", zero
		}
		oldMode, oldContent := side(before)
		newMode, newContent := side(after)
		omits := func(files map[string]node) bool {
			n, ok := files[path]
			return !ok || n.statement(path)
		}
		s := oracleStatement.FindStringSubmatch(path)
		if s != nil && s[1] == id && omits(before) && omits(after) || oldMode == newMode && oldContent == newContent {
			continue
		}
		text += oldMode + " " + oldContent + " " + newMode + " " + newContent + "\t" + path + "\x00"
	}
	return gov.DigestOf([]byte(text))
}

var oraclePaths = func() []string {
	hash := strings.Repeat("0a", 32)
	paths := []string{"a", "a-b", "a.b", "a/b", "a/b/c", "a0", "A", "é", "x y", "-z", "dir/\"q\"", "changes/x", "changes/CHANGE-3", "changes/CHANGE-1/statements/x.json"}
	for _, id := range []string{"CHANGE-1", "CHANGE-2", "CHANGE-12", "CHANGE-0"} {
		paths = append(paths, "changes/"+id+"/change_metadata.json", "changes/"+id+"/statements/"+hash+".json")
		for _, text := range []string{envelope(id), envelope(id, "again"), "{}", envelope("CHANGE-2")} {
			if p := statementPath(id, text); !slices.Contains(paths, p) {
				paths = append(paths, p)
			}
		}
	}
	return paths
}()

// scribble makes random edits in the work tree.
func scribble(t *rapid.T, r *repo, label string) {
	texts := append(slices.Sorted(maps.Keys(canon)), slices.Sorted(maps.Keys(oracleTexts))...)
	right := map[string]string{} // what is named so
	for _, text := range texts {
		right[filepath.Base(statementPath("CHANGE-1", text))] = text
	}
	for range rapid.IntRange(1, 8).Draw(t, label) {
		path := rapid.SampledFrom(oraclePaths).Draw(t, "path")
		full := filepath.Join(r.dir, path)
		for up := filepath.Dir(path); up != "."; up = filepath.Dir(up) {
			if info, err := os.Lstat(filepath.Join(r.dir, up)); err == nil && !info.IsDir() {
				_ = os.Remove(filepath.Join(r.dir, up))
			}
		}
		_ = os.RemoveAll(full)
		text := rapid.SampledFrom(texts).Draw(t, "text")
		if named, ok := right[filepath.Base(path)]; ok && rapid.IntRange(0, 3).Draw(t, "named right") > 0 {
			text = named
		}
		switch rapid.SampledFrom([]string{"write", "write", "write", "program", "link", "remove"}).Draw(t, "kind") {
		case "write":
			r.write(path, text)
		case "program":
			r.write(path, text)
			_ = os.Chmod(full, 0o755)
		case "link":
			r.link(path, "to "+text)
		}
	}
}

// TestDigestsAgreeWithAPlainWalk compares both digests with an oracle that
// knows neither git nor this package: it walks the directory and hashes.
func TestDigestsAgreeWithAPlainWalk(t *testing.T) {
	checks := "12"
	if os.Getenv("GOVERN_TEST_FULL") == "1" {
		checks = "600"
	}
	before := flag.Lookup("rapid.checks").Value.String()
	if err := flag.Set("rapid.checks", checks); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = flag.Set("rapid.checks", before) }()
	r := newRepo(t)
	rapid.Check(t, func(t *rapid.T) {
		format := rapid.SampledFrom([]string{"sha1", "sha256"}).Draw(t, "format")
		r := &repo{TB: r.TB, dir: r.TempDir()}
		r.git("init", "-q", "--object-format="+format)
		scribble(t, r, "base edits")
		base := r.commit("base")
		old := walk(t, r.dir)
		r.git("switch", "-q", "-c", "feature")
		scribble(t, r, "edits")
		head := r.commit("head")
		now := walk(t, r.dir)
		for _, id := range []string{"CHANGE-1", "CHANGE-2"} {
			c, err := r.open().Revision(r.Context(), base, head, gov.ChangeID(id))
			if err != nil {
				t.Fatal(err)
			}
			if want := oracleChange(old, now, id, format); c.Revision.Change != want {
				t.Fatalf("change digest of %s is %s, want %s", id, c.Revision.Change, want)
			}
			if want := oracleTree(now, format); c.Revision.Tree != want {
				t.Fatalf("tree digest is %s, want %s", c.Revision.Tree, want)
			}
		}
	})
}
