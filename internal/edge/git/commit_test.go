package git

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

var bob = Author{Name: "Bob Ö", Email: "bob@example.org", When: time.Unix(1_700_000_000, 0).UTC()}

func TestAddFilesToABranchThatIsNotCheckedOut(t *testing.T) {
	r := newRepo(t)
	r.git("branch", "feature")
	r.write("README", "dirty\n")
	r.write("staged", "staged\n")
	r.git("add", "staged")
	before := r.git("status", "--porcelain")
	envelope := []byte(envelope("CHANGE-1"))
	author := bob
	author.SignOff = true
	commit := must(r.open().AddFiles(t.Context(), "feature", StatementFiles("CHANGE-1", envelope), "Approve CHANGE-1", author))(t)
	if r.git("rev-parse", "feature") != commit || r.git("rev-parse", "feature^") != r.head() {
		t.Error("the branch did not move by one commit")
	}
	if diff := cmp.Diff(before, r.git("status", "--porcelain")); diff != "" {
		t.Errorf("work tree or index changed: %s", diff)
	}
	shown := r.git("show", "-s", "--format=%an|%ae|%cn|%ce|%at|%B", commit)
	if diff := cmp.Diff("Bob Ö|bob@example.org|Bob Ö|bob@example.org|1700000000|Approve CHANGE-1\n\nSigned-off-by: Bob Ö <bob@example.org>", shown); diff != "" {
		t.Error(diff)
	}
	files := must(r.open().Statements(t.Context(), "feature", "CHANGE-1"))(t)
	want := []File{{Path: StatementPath("CHANGE-1", gov.DigestOf(envelope)), Digest: gov.DigestOf(envelope), Data: envelope}}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
	again := must(r.open().AddFiles(t.Context(), "feature", StatementFiles("CHANGE-1", envelope), "again", bob))(t)
	if again != commit {
		t.Error("the same files made another commit")
	}
}

func TestAddFilesToTheCheckedOutBranch(t *testing.T) {
	r := newRepo(t)
	linked := filepath.Join(t.TempDir(), "linked")
	r.git("worktree", "add", "-q", "-b", "feature", linked)
	r.write("README", "dirty\n")
	files := map[string][]byte{"x/y/new": []byte("new\n"), "src/a.txt": []byte("replaced\n")}
	must(r.open().AddFiles(t.Context(), "main", files, "add", bob))(t)
	if got := r.git("status", "--porcelain"); got != "M README" {
		t.Errorf("status %q", got)
	}
	if r.read("x/y/new") != "new\n" || r.read("src/a.txt") != "replaced\n" || r.read("README") != "dirty\n" {
		t.Error("the work tree did not follow")
	}
	must(r.open().AddFiles(t.Context(), "feature", files, "add", bob))(t)
	other := &repo{TB: t, dir: linked}
	if got := other.git("status", "--porcelain"); got != "" || other.read("x/y/new") != "new\n" {
		t.Errorf("linked work tree: status %q", got)
	}
	fromLinked := other.open()
	if fromLinked.GitDir == fromLinked.CommonDir || fromLinked.DataDir() != filepath.Join(r.open().CommonDir, "govern") {
		t.Errorf("data of a linked work tree is at %q", fromLinked.DataDir())
	}
	must(fromLinked.AddFiles(t.Context(), "main", map[string][]byte{"z": nil}, "add", bob))(t)
	if got := r.git("status", "--porcelain"); got != "M README" {
		t.Errorf("status %q", got)
	}
}

func TestAddFilesRefusesWhatWouldBeLost(t *testing.T) {
	file := func(path string) map[string][]byte { return map[string][]byte{path: []byte("x")} }
	cases := map[string]struct {
		prepare func(r *repo)
		files   map[string][]byte
		code    string
	}{
		"edited in the work tree":   {func(r *repo) { r.write("README", "dirty") }, file("README"), "files_dirty"},
		"staged":                    {func(r *repo) { r.write("README", "dirty"); r.git("add", "-A"); r.write("README", "hello\n") }, file("README"), "files_dirty"},
		"untracked in the way":      {func(r *repo) { r.write("new", "mine") }, file("new"), "files_dirty"},
		"removed":                   {func(r *repo) { _ = os.Remove(filepath.Join(r.dir, "README")) }, file("README"), "files_dirty"},
		"staged for removal":        {func(r *repo) { r.git("rm", "-q", "--cached", "README") }, file("README"), "files_dirty"},
		"link on the way":           {func(r *repo) { r.link("out", "/tmp") }, file("out/x"), "path_occupied"},
		"link to a file":            {func(r *repo) { r.link("out", "README") }, file("out"), "files_dirty"},
		"untracked file on the way": {func(r *repo) { r.write("out", "mine") }, file("out/x"), "path_occupied"},
		"tracked file on the way":   {func(*repo) {}, file("README/x"), "path_occupied"},
		"a folder there":            {func(*repo) {}, file("src"), "path_occupied"},
		"a link committed there":    {func(r *repo) { r.link("l", "README"); r.commit("l") }, file("l"), "path_occupied"},
		"up":                        {func(*repo) {}, file("../x"), "path_unsafe"},
		"git folder":                {func(*repo) {}, file(".Git/hooks/pre-receive"), "path_unsafe"},
		"absolute":                  {func(*repo) {}, file("/etc/x"), "path_unsafe"},
		"backslash":                 {func(*repo) {}, file(`a\..\b`), "path_unsafe"},
		"newline":                   {func(*repo) {}, file("a\nb"), "path_not_utf8"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			c.prepare(r)
			head, status := r.head(), r.git("status", "--porcelain")
			_, err := r.open().AddFiles(t.Context(), "main", c.files, "add", bob)
			wantCode(t, err, c.code)
			if r.head() != head || r.git("status", "--porcelain") != status {
				t.Error("something was written all the same")
			}
		})
	}
	r := newRepo(t)
	for branch, code := range map[string]string{"nowhere": "branch_not_found", "-x": "branch_invalid", "a b": "branch_invalid", "../x": "branch_invalid", "": "branch_invalid"} {
		_, err := r.open().AddFiles(t.Context(), branch, file("x"), "add", bob)
		wantCode(t, err, code)
	}
	_, err := r.open().AddFiles(t.Context(), "main", file("x"), "add", Author{Name: "A\nB", Email: "x"})
	wantCode(t, err, "author_invalid")
	_, err = r.open().AddFiles(t.Context(), "main", file("x"), "a\x00b", bob)
	wantCode(t, err, "message_invalid")
}

func TestAddFilesDuringARebase(t *testing.T) {
	r := newRepo(t)
	r.git("switch", "-q", "-c", "feature")
	r.edit("src/a.txt", "a 1", "x")
	r.commit("x")
	r.git("switch", "-q", "main")
	r.edit("src/a.txt", "a 1", "y")
	r.commit("y")
	if _, err := r.try("rebase", "main", "feature"); err == nil {
		t.Fatal("the rebase has no conflict")
	}
	_, err := r.open().AddFiles(t.Context(), "feature", map[string][]byte{"x": nil}, "add", bob)
	wantCode(t, err, "branch_busy")
}

func TestUpdateRefLosesARaceCleanly(t *testing.T) {
	r := newRepo(t)
	first := r.head()
	second := r.commit("second")
	o := r.open()
	wantCode(t, o.UpdateRef(t.Context(), "refs/heads/main", first, first, "x"), "ref_moved")
	wantCode(t, o.UpdateRef(t.Context(), "refs/heads/main", first, "", "x"), "ref_moved")
	wantCode(t, o.UpdateRef(t.Context(), "HEAD", first, second, "x"), "ref_invalid")
	if r.head() != second {
		t.Error("the branch moved")
	}
	if err := o.UpdateRef(t.Context(), "refs/heads/other", first, "", "x"); err != nil {
		t.Error(err)
	}
}

func TestCommit(t *testing.T) {
	r := newRepo(t)
	o := r.open()
	_, err := o.Commit(t.Context(), "nothing", bob)
	wantCode(t, err, "nothing_staged")
	r.write("-x", "x")
	r.write("other", "x")
	_ = os.Remove(filepath.Join(r.dir, "src/b.txt"))
	if err := o.Stage(t.Context(), "-x", "src/b.txt"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, o.Stage(t.Context(), "../x"), "path_unsafe")
	parent := r.head()
	commit := must(o.Commit(t.Context(), "staged", bob))(t)
	if r.head() != commit || r.git("rev-parse", "HEAD^") != parent {
		t.Error("the branch did not move")
	}
	if diff := cmp.Diff("A\t-x\nD\tsrc/b.txt", r.git("diff", "--name-status", "HEAD^", "HEAD")); diff != "" {
		t.Error(diff)
	}
	if got := r.git("status", "--porcelain"); got != "?? other" {
		t.Errorf("status %q", got)
	}
	r.git("checkout", "-q", "--detach")
	_, err = o.Commit(t.Context(), "x", bob)
	wantCode(t, err, "head_detached")
	r.git("switch", "-q", "main")
	if err := os.WriteFile(filepath.Join(r.dir, ".git/MERGE_HEAD"), []byte(parent+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = o.Commit(t.Context(), "x", bob)
	wantCode(t, err, "merge_in_progress")
}

func TestFirstCommit(t *testing.T) {
	r := &repo{TB: t, dir: t.TempDir()}
	r.git("init", "-q")
	r.write("x", "x")
	o := r.open()
	if err := o.Stage(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if id := must(o.NextChangeID(t.Context(), 0))(t); id != "CHANGE-1" {
		t.Errorf("next id %s", id)
	}
	commit := must(o.Commit(t.Context(), "first", bob))(t)
	if r.head() != commit {
		t.Error("no first commit")
	}
}

func TestStatementsThatCannotCount(t *testing.T) {
	r := newRepo(t)
	good, other := envelope("CHANGE-1"), envelope("CHANGE-2")
	r.write(statementPath("CHANGE-1", good), good)
	r.write(statementPath("CHANGE-1", "x"), good)
	large := padded("CHANGE-1", EnvelopeLimit+4)
	r.write(statementPath("CHANGE-1", large), large)
	r.write(statementPath("CHANGE-1", "import os"), "import os")
	r.write(statementPath("CHANGE-1", other), other)
	r.write("changes/CHANGE-1/statements/readme.md", "x")
	r.write(statementPath("CHANGE-2", other), other)
	r.link(StatementPath("CHANGE-1", gov.DigestOf([]byte("link"))), "/etc/passwd")
	r.commit("statements")
	codes := map[string]string{}
	for _, f := range must(r.open().Statements(t.Context(), "HEAD", "CHANGE-1"))(t) {
		code := ""
		if f.Err != nil {
			code = f.Err.Code
		}
		if (f.Data == nil) != (f.Err != nil) {
			t.Errorf("%s has data %v and error %v", f.Path, f.Data != nil, f.Err)
		}
		codes[f.Digest.Hex()[:8]] = code
	}
	name := func(s string) string { return gov.DigestOf([]byte(s)).Hex()[:8] }
	if diff := cmp.Diff(map[string]string{
		name(good): "", name("x"): "statement_name_mismatch", name(large): "statement_too_large",
		name("import os"): "statement_shape", name(other): "statement_shape",
	}, codes); diff != "" {
		t.Error(diff)
	}
	if files := must(r.open().Statements(t.Context(), "HEAD", "CHANGE-3"))(t); len(files) != 0 {
		t.Errorf("got %v", files)
	}
	_, err := r.open().Statements(t.Context(), "HEAD", "../x")
	wantCode(t, err, "change_id_invalid")
}

func TestCommitters(t *testing.T) {
	r := newRepo(t)
	r.git("switch", "-q", "-c", "feature")
	r.git("-c", "user.email=author@example.org", "commit", "-q", "--allow-empty", "-m", "one\n\nGovern-Agent: claude\nCo-Authored-By: Eve <Eve@Example.org>\n\nmore text")
	r.git("-c", "user.email=rebaser@example.org", "commit", "-q", "--allow-empty", "--author", "Zed <zed@example.org>", "-m", "two\n\ngovern-agent:  copilot \n\nauthor Mallory <mallory@example.org> 1 +0000")
	r.git("switch", "-q", "main")
	r.git("-c", "user.email=target@example.org", "commit", "-q", "--allow-empty", "-m", "on the target")
	r.git("switch", "-q", "feature")
	r.git("merge", "-q", "-m", "update", "main")
	got := must(r.open().Committers(t.Context(), "main", "feature"))(t)
	want := Committers{
		Emails: []string{"Eve@Example.org", "ann@example.org", "author@example.org", "rebaser@example.org", "zed@example.org"},
		Agents: []string{"claude", "copilot"}, Commits: 3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNextChangeID(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		r := newRepo(t, "--object-format="+format)
		o := r.open()
		next := func(floor int) gov.ChangeID { t.Helper(); return must(o.NextChangeID(t.Context(), floor))(t) }
		if next(0) != "CHANGE-1" || next(41) != "CHANGE-42" || next(-3) != "CHANGE-1" {
			t.Error("the floor is not kept")
		}
		r.git("switch", "-q", "-c", "b/one")
		r.change(12, 1, true)
		r.write("changes/CHANGE-0099/x", "x")
		r.write("changes/CHANGE-x/x", "x")
		r.commit("more")
		r.git("switch", "-q", "main")
		r.git("update-ref", "refs/remotes/origin/feature", r.commitOf(r.git("rev-parse", "b/one^{tree}")))
		if got := next(3); got != "CHANGE-13" {
			t.Errorf("got %s", got)
		}
		_, err := o.NextChangeID(t.Context(), 999_999_999)
		wantCode(t, err, "change_ids_exhausted")
	}
}
