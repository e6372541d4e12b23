package git

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/governhq/govern/internal/gov"
)

// large makes a repository of 20,000 files in 400 folders with 1,000 changes of
// two statements each on main, and a branch that touches 50 files; main moved
// on since.
func large(b *testing.B) *Repo {
	b.Helper()
	r := &repo{TB: b, dir: b.TempDir()}
	r.git("init", "-q")
	var in bytes.Buffer
	file := func(path, text string) { fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", path, len(text), text) }
	commit := func(branch, from string) {
		fmt.Fprintf(&in, "commit refs/heads/%s\ncommitter A <a@b> 1700000000 +0000\ndata 1\nx\n%s", branch, from)
	}
	commit("main", "")
	for i := range 17_000 {
		file(fmt.Sprintf("pkg%03d/dir/file%d.go", i%400, i), fmt.Sprint("text ", i))
	}
	for n := 1; n <= 1000; n++ {
		id := gov.NewChangeID(n)
		file(MetadataPath(id), metadata(string(id), fmt.Sprintf(`, "impact": "%d"`, n)))
		for s := range 2 {
			text := envelope(string(id), fmt.Sprint(s), strings.Repeat("why ", 250)) // 1.8 KB, as real ones are
			fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s", statementPath(string(id), text), len(text), text)
		}
	}
	commit("feature", "from refs/heads/main\n")
	for i := range 50 {
		file(fmt.Sprintf("pkg%03d/dir/file%d.go", i, i), "changed")
	}
	file(MetadataPath("CHANGE-1001"), metadata("CHANGE-1001", ""))
	commit("main", "")
	file("pkg399/dir/other.go", "moved")
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin = r.dir, &in
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return r.open()
}

// BenchmarkRevision measures both digests of a repository of 20,000 files; the
// promise is 300 ms.
func BenchmarkRevision(b *testing.B) {
	r := large(b)
	for name, target := range map[string]string{"target at base": "main~1", "target moved": "main"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Revision(b.Context(), target, "feature", "CHANGE-1001"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
