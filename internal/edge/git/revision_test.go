package git

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

// proposed makes a branch "feature" with two commits of CHANGE-1 that touch
// src/a.txt, and gives the repository with its revision against main.
func proposed(t *testing.T, initArgs ...string) (*repo, Change) {
	t.Helper()
	r := newRepo(t, initArgs...)
	r.git("switch", "-q", "-c", "feature")
	r.edit("src/a.txt", "a 1", "a one")
	r.commit("one")
	r.write("src/new.txt", "new\n")
	r.write(MetadataPath("CHANGE-1"), metadata("CHANGE-1", ""))
	r.commit("two")
	c, err := r.open().Revision(t.Context(), "main", "feature", "CHANGE-1")
	if err != nil {
		t.Fatal(err)
	}
	return r, c
}

// ways are the ways in which a branch gets onto a target that moved. Each gives
// the base and head of what lands.
var ways = map[string]func(r *repo) (base, head string){
	"rebase": func(r *repo) (string, string) {
		r.git("switch", "-q", "feature")
		r.git("rebase", "-q", "main")
		return r.git("rev-parse", "main"), r.head()
	},
	"squash": func(r *repo) (string, string) {
		r.git("switch", "-q", "main")
		base := r.head()
		r.git("merge", "-q", "--squash", "feature")
		return base, r.commit("squashed")
	},
	"cherry-pick": func(r *repo) (string, string) {
		r.git("switch", "-q", "main")
		base := r.head()
		r.git("cherry-pick", "main..feature")
		return base, r.head()
	},
	"merge commit": func(r *repo) (string, string) {
		r.git("switch", "-q", "main")
		base := r.head()
		r.git("merge", "-q", "--no-ff", "-m", "merge", "feature")
		return base, r.head()
	},
	"target merged into the branch": func(r *repo) (string, string) {
		r.git("switch", "-q", "feature")
		r.git("merge", "-q", "-m", "update", "main")
		return r.git("rev-parse", "main"), r.head()
	},
}

func TestChangeDigestFollowsContentNotCommits(t *testing.T) {
	moves := map[string]struct {
		move func(r *repo)
		same bool
	}{
		"target did not move":         {func(*repo) {}, true},
		"another file moved":          {func(r *repo) { r.edit("src/b.txt", "b 3", "b three") }, true},
		"a file was added":            {func(r *repo) { r.write("other/file", "x") }, true},
		"another change landed":       {func(r *repo) { r.write(MetadataPath("CHANGE-2"), metadata("CHANGE-2", "")) }, true},
		"a touched file moved":        {func(r *repo) { r.edit("src/a.txt", "a 18", "a eighteen") }, false},
		"a touched file's mode moved": {func(r *repo) { _ = os.Chmod(filepath.Join(r.dir, "src/a.txt"), 0o755) }, false},
	}
	for moveName, m := range moves {
		for wayName, way := range ways {
			t.Run(moveName+"/"+wayName, func(t *testing.T) {
				t.Parallel()
				r, before := proposed(t)
				r.git("switch", "-q", "main")
				m.move(r)
				r.commit("moved")
				opened := r.open()
				still := must(opened.Revision(t.Context(), "main", "feature", "CHANGE-1"))(t)
				if (len(still.Moved) == 0) != m.same {
					t.Errorf("moved %q, want same=%v", still.Moved, m.same)
				}
				base, head := way(r)
				landed := must(opened.Between(t.Context(), base, head, "CHANGE-1"))(t)
				if (landed.Revision.Change == before.Revision.Change) != m.same {
					t.Errorf("change digest stayed: %v, want %v", landed.Revision.Change == before.Revision.Change, m.same)
				}
				if landed.Revision.Tree != still.Revision.Tree {
					t.Errorf("the candidate tree that was promised is not the one that landed")
				}
			})
		}
	}
}

func TestDigestEncoding(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			r, c := proposed(t, "--object-format="+format)
			blob := func(ref string) string { return r.git("rev-parse", ref) }
			zero := strings.Repeat("0", len(blob("main")))
			meta := fmt.Sprintf("jcs:%x", sha256.Sum256([]byte(`{"change_id":"CHANGE-1","rationale":"because"}`)))
			change := "govern-change-v1\nCHANGE-1\n" +
				"000000 " + zero + " 100644 " + meta + "\tchanges/CHANGE-1/change_metadata.json\x00" +
				"100644 " + blob("main:src/a.txt") + " 100644 " + blob("feature:src/a.txt") + "\tsrc/a.txt\x00" +
				"000000 " + zero + " 100644 " + blob("feature:src/new.txt") + "\tsrc/new.txt\x00"
			tree := "govern-tree-v1\n" +
				"100644 " + blob("main:README") + "\tREADME\x00" +
				"100644 " + meta + "\tchanges/CHANGE-1/change_metadata.json\x00" +
				"100644 " + blob("feature:src/a.txt") + "\tsrc/a.txt\x00" +
				"100644 " + blob("main:src/b.txt") + "\tsrc/b.txt\x00" +
				"100644 " + blob("feature:src/new.txt") + "\tsrc/new.txt\x00"
			want := gov.Revision{
				Change: gov.DigestOf([]byte(change)), Tree: gov.DigestOf([]byte(tree)),
				Commit: blob("feature"), Base: blob("main"),
			}
			if diff := cmp.Diff(want, c.Revision); diff != "" {
				t.Error(diff)
			}
			paths := []gov.PathChange{
				{Path: MetadataPath("CHANGE-1"), OldMode: "000000", OldBlob: zero, NewMode: "100644", NewBlob: blob("feature:" + MetadataPath("CHANGE-1"))},
				{Path: "src/a.txt", OldMode: "100644", OldBlob: blob("main:src/a.txt"), NewMode: "100644", NewBlob: blob("feature:src/a.txt")},
				{Path: "src/new.txt", OldMode: "000000", OldBlob: zero, NewMode: "100644", NewBlob: blob("feature:src/new.txt")},
			}
			if diff := cmp.Diff(paths, c.Paths); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatTheDigestsLeaveOut(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	own := "changes/CHANGE-1/"
	good := envelope("CHANGE-1")
	goodPath := statementPath("CHANGE-1", good)
	named := func(text string) func(*repo) { // a file of its right name, as bytes go
		return func(r *repo) { r.write(statementPath("CHANGE-1", text), text) }
	}
	payload := func(s string) func(*repo) { return named(wrap(s)) }
	cases := map[string]struct {
		edit         func(r *repo)
		change, tree bool // digest stays
	}{
		"statement added":   {func(r *repo) { r.write(goodPath, good) }, true, true},
		"approvals written": {func(r *repo) { r.write(own+metadataName, metadata("CHANGE-1", `, "approvals": [{"approver": "bob"}]`)) }, true, true},
		"metadata spaced anew": {func(r *repo) {
			r.write(own+metadataName, `{"rationale":"bec\u0061use","change_id":"CHANGE-1"}`)
		}, true, true},
		"rationale changed":        {func(r *repo) { r.write(own+metadataName, metadata("CHANGE-1", `, "impact": "x"`)) }, false, false},
		"approvals deeper down":    {func(r *repo) { r.write(own+metadataName, metadata("CHANGE-1", `, "x": {"approvals": []}`)) }, false, false},
		"Approvals in capitals":    {func(r *repo) { r.write(own+metadataName, metadata("CHANGE-1", `, "Approvals": []`)) }, false, false},
		"duplicate member":         {func(r *repo) { r.write(own+metadataName, metadata("CHANGE-1", `, "rationale": "because"`)) }, false, false},
		"duplicate approvals":      {func(r *repo) { r.write(own+metadataName, metadata("CHANGE-1", `, "approvals": [], "approvals": []`)) }, false, false},
		"metadata no longer JSON":  {func(r *repo) { r.write(own+metadataName, "{") }, false, false},
		"metadata is a link":       {func(r *repo) { r.link(own+metadataName, "../../README") }, false, false},
		"metadata made executable": {func(r *repo) { _ = os.Chmod(filepath.Join(r.dir, own+metadataName), 0o755) }, false, false},
		"program among statements": {func(r *repo) { r.write(own+"statements/conftest.py", "import os") }, false, false},
		"deeper among statements":  {func(r *repo) { r.write(own+"statements/x/"+filepath.Base(goodPath), good) }, false, false},
		"upper-case statement name": {func(r *repo) {
			r.write(own+"statements/"+strings.ToUpper(strings.TrimSuffix(filepath.Base(goodPath), ".json"))+".json", good)
		}, false, false},
		"link among statements": {func(r *repo) { r.link(own+"statements/"+hash+".json", "/etc/passwd") }, false, false},
		"statement made executable": {func(r *repo) {
			r.write(goodPath, good)
			_ = os.Chmod(filepath.Join(r.dir, goodPath), 0o755)
		}, false, false},
		"statement of another": {func(r *repo) { r.write(statementPath("CHANGE-2", envelope("CHANGE-2")), envelope("CHANGE-2")) }, false, true},
		"no statement of another": {func(r *repo) {
			r.write(statementPath("CHANGE-2", "{}"), "{}")
		}, false, false},
		"statement in another's folder": {func(r *repo) { r.write(statementPath("CHANGE-2", good), good) }, false, false},
		"another's statement in ours": {func(r *repo) {
			r.write(statementPath("CHANGE-1", envelope("CHANGE-2")), envelope("CHANGE-2"))
		}, false, false},
		"statement of no valid id":  {func(r *repo) { r.write(strings.Replace(goodPath, "CHANGE-1", "CHANGE-01", 1), good) }, false, false},
		"statement outside changes": {func(r *repo) { r.write("x/"+goodPath, good) }, false, false},
		"statement of a wrong name": {func(r *repo) { r.write(own+"statements/"+hash+".json", good) }, false, false},
		"one statement in two names": {func(r *repo) {
			r.write(goodPath, good)
			r.write(own+"statements/"+hash+".json", good)
		}, false, false},
		"300 KB of anything":                {named(strings.Repeat("\x00\xff program", 25_000)), false, false},
		"an empty file":                     {named(""), false, false},
		"an empty object":                   {named("{}"), false, false},
		"the largest statement":             {named(padded("CHANGE-1", 65536)), true, true},
		"too large a statement":             {named(padded("CHANGE-1", 65536+4)), false, false},
		"no line feed":                      {named(strings.TrimSuffix(good, "\n")), false, false},
		"two line feeds":                    {named(good + "\n"), false, false},
		"a program behind it":               {named(good + "import os\n"), false, false},
		"a program before it":               {named("import os\n" + good), false, false},
		"spaces":                            {named(strings.Replace(good, ",", ", ", 1)), false, false},
		"a member more":                     {named(strings.Replace(good, `{"payload"`, `{"note":"x","payload"`, 1)), false, false},
		"other payload type":                {named(strings.Replace(good, "vnd.in-toto", "vnd.out-toto", 1)), false, false},
		"two signatures":                    {named(strings.Replace(good, `"}]}`, `"},{"keyid":"`+testKeyID+`","sig":"AAAA"}]}`, 1)), false, false},
		"no signature":                      {named(good[:strings.Index(good, `[{"keyid"`)] + "[]}\n"), false, false},
		"empty signature":                   {named(good[:strings.Index(good, `"sig":"`)] + `"sig":""}]}` + "\n"), false, false},
		"signature not base64":              {named(strings.Replace(good, `"sig":"`, `"sig":"!`, 1)), false, false},
		"text for a key":                    {named(strings.Replace(good, testKeyID, "import os", 1)), false, false},
		"a key of other length":             {named(strings.Replace(good, testKeyID, testKeyID+"AAAA", 1)), false, false},
		"payload no JSON":                   {payload("import os"), false, false},
		"payload empty":                     {payload(""), false, false},
		"payload a list":                    {payload("[]"), false, false},
		"payload of other type":             {payload(strings.Replace(testPayload("CHANGE-1"), "Statement/v1", "Statement/v2", 1)), false, false},
		"other predicate type":              {payload(strings.Replace(testPayload("CHANGE-1"), "govern/statement/v1", "govern/statement/v2", 1)), false, false},
		"predicate without change":          {payload(strings.Replace(testPayload("CHANGE-1"), `"change"`, `"Change"`, 1)), false, false},
		"change twice":                      {payload(strings.Replace(testPayload("CHANGE-1"), `"change"`, `"change":"CHANGE-2","change"`, 1)), false, false},
		"change of no valid id":             {payload(testPayload("CHANGE-01")), false, false},
		"a member of its own":               {payload(strings.Replace(testPayload("CHANGE-1"), `{"_type"`, `{"program":"x","_type"`, 1)), false, false},
		"a file beside the metadata":        {func(r *repo) { r.write(own+"notes.md", "x") }, false, false},
		"an untouched file made executable": {func(r *repo) { _ = os.Chmod(filepath.Join(r.dir, "README"), 0o755) }, false, false},
		"a touched file":                    {func(r *repo) { r.edit("src/a.txt", "a 2", "a two") }, false, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, before := proposed(t)
			c.edit(r)
			r.commit("edit")
			after := must(r.open().Revision(t.Context(), "main", "feature", "CHANGE-1"))(t)
			if got := after.Revision.Change == before.Revision.Change; got != c.change {
				t.Errorf("change digest stays: %v, want %v", got, c.change)
			}
			if got := after.Revision.Tree == before.Revision.Tree; got != c.tree {
				t.Errorf("tree digest stays: %v, want %v", got, c.tree)
			}
		})
	}
}

func (r *repo) link(path, to string) {
	r.Helper()
	full := filepath.Join(r.dir, path)
	_ = os.Remove(full)
	if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
		r.Fatal(err)
	}
	if err := os.Symlink(to, full); err != nil {
		r.Fatal(err)
	}
}

// Another change's metadata with the very bytes of our own must count as it is:
// the exception is for the path, not for the content.
func TestApprovalsOfAnotherChangeCount(t *testing.T) {
	r, _ := proposed(t)
	r.write(MetadataPath("CHANGE-2"), r.read(MetadataPath("CHANGE-1")))
	r.commit("copy")
	a := must(r.open().Revision(t.Context(), "main", "feature", "CHANGE-1"))(t)
	r.write(MetadataPath("CHANGE-2"), metadata("CHANGE-1", `, "approvals": []`))
	r.commit("approvals of the other")
	b := must(r.open().Revision(t.Context(), "main", "feature", "CHANGE-1"))(t)
	if a.Revision.Change == b.Revision.Change {
		t.Error("the change digest does not see another change's metadata")
	}
	if a.Revision.Tree != b.Revision.Tree {
		t.Error("approvals of another change changed the tree digest")
	}
}

// The same two texts in both files: only the own one is unchanged by approvals.
func TestSameApprovalsInTwoFiles(t *testing.T) {
	r := newRepo(t)
	write := func(extra string) string {
		r.write(MetadataPath("CHANGE-1"), metadata("CHANGE-1", extra))
		r.write(MetadataPath("CHANGE-2"), metadata("CHANGE-1", extra))
		return r.commit("both")
	}
	base := write("")
	head := write(`, "approvals": []`)
	c := must(r.open().Between(t.Context(), base, head, "CHANGE-1"))(t)
	if len(c.Paths) != 1 || c.Paths[0].Path != MetadataPath("CHANGE-2") {
		t.Errorf("touched %v", c.Paths)
	}
	r.git("update-index", "--chmod=+x", "README")
	r.git("commit", "-q", "-m", "mode only")
	m := must(r.open().Between(t.Context(), head, r.head(), "CHANGE-1"))(t)
	if len(m.Paths) != 1 || m.Paths[0].NewMode != "100755" {
		t.Errorf("a change of mode touches %v", m.Paths)
	}
}

func TestApprovalsOfALandedChange(t *testing.T) {
	r, _ := proposed(t)
	r.git("switch", "-q", "main")
	r.git("merge", "-q", "feature")
	base := r.head()
	r.write(MetadataPath("CHANGE-1"), metadata("CHANGE-1", `, "approvals": [1]`))
	head := r.commit("approvals only")
	c := must(r.open().Between(t.Context(), base, head, "CHANGE-1"))(t)
	if len(c.Paths) != 0 {
		t.Errorf("approvals alone touch %v", c.Paths)
	}
}

func TestConflictIsReported(t *testing.T) {
	cases := map[string]func(r *repo){
		"same line":                     func(r *repo) { r.edit("src/a.txt", "a 1", "a ONE") },
		"renamed on the target, edited": func(r *repo) { r.git("mv", "src/a.txt", "src/moved.txt") },
		"renamed on the branch, edited": func(r *repo) {
			r.git("switch", "-q", "feature")
			r.git("mv", "src/b.txt", "src/z.txt")
			r.commit("rename")
			r.git("switch", "-q", "main")
			r.edit("src/b.txt", "b 7", "b seven")
		},
		"removed on the target, edited":   func(r *repo) { r.git("rm", "-q", "src/a.txt") },
		"both added":                      func(r *repo) { r.write("src/new.txt", "other\n") },
		"a folder where a file is wanted": func(r *repo) { r.write("src/new.txt/file", "other\n") },
	}
	for name, move := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := proposed(t)
			r.git("switch", "-q", "main")
			move(r)
			r.commit("moved")
			c, err := r.open().Revision(t.Context(), "main", "feature", "CHANGE-1")
			wantCode(t, err, "merge_conflict")
			if c.Revision.Change == "" || c.Revision.Tree != "" || len(c.Conflicts) == 0 {
				t.Errorf("change %v, conflicts %q", c.Revision, c.Conflicts)
			}
			_, err = r.open().CandidateTree(t.Context(), "main", "feature")
			wantCode(t, err, "merge_conflict")
		})
	}
}

func TestLinksAndSubmodulesAreEntries(t *testing.T) {
	r := newRepo(t)
	r.git("switch", "-q", "-c", "feature")
	module := strings.Repeat("12", 20)
	r.link("link", "README")
	r.git("add", "-A")
	r.git("update-index", "--add", "--cacheinfo", "160000,"+module+",module")
	r.git("commit", "-q", "-m", "entries")
	a := must(r.open().Revision(t.Context(), "main", "feature", ""))(t)
	modes := map[string]string{}
	for _, p := range a.Paths {
		modes[p.Path] = p.NewMode + " " + p.NewBlob
	}
	linkID := r.git("rev-parse", "feature:link")
	if diff := cmp.Diff(map[string]string{"link": "120000 " + linkID, "module": "160000 " + module}, modes); diff != "" {
		t.Error(diff)
	}
	r.write(".gitmodules", "[submodule \"module\"]\n\tpath = module\n\turl = ./x\n\tignore = all\n")
	r.git("config", "submodule.module.ignore", "all")
	r.git("config", "diff.ignoreSubmodules", "all")
	r.git("update-index", "--cacheinfo", "160000,"+strings.Repeat("34", 20)+",module")
	r.git("update-ref", "HEAD", r.git("commit-tree", "-p", "HEAD", "-m", "module moved", r.git("write-tree")))
	b := must(r.open().Revision(t.Context(), "main", "feature", ""))(t)
	if a.Revision.Change == b.Revision.Change || a.Revision.Tree == b.Revision.Tree {
		t.Error("a moved submodule that configuration hides is not seen")
	}
}

func TestHistoryThatCannotBeTrusted(t *testing.T) {
	r, _ := proposed(t)
	t.Run("shallow", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "clone")
		r.git("clone", "-q", "--depth", "1", "file://"+r.dir, dir)
		shallow := must(Open(t.Context(), dir))(t)
		_, err := shallow.Revision(t.Context(), "HEAD", "HEAD", "CHANGE-1")
		wantCode(t, err, "repository_shallow")
	})
	t.Run("unrelated", func(t *testing.T) {
		r.git("switch", "-q", "--orphan", "alone")
		r.commit("alone")
		_, err := r.open().Revision(t.Context(), "main", "alone", "CHANGE-1")
		wantCode(t, err, "no_merge_base")
	})
	t.Run("criss-cross", func(t *testing.T) {
		r.git("switch", "-q", "-c", "left", "main")
		r.write("left", "1")
		left := r.commit("left")
		r.git("switch", "-q", "-c", "right", "main")
		r.write("right", "1")
		right := r.commit("right")
		r.git("merge", "-q", "-m", "x", left)
		r.git("switch", "-q", "left")
		r.git("merge", "-q", "-m", "y", right)
		_, err := r.open().Revision(t.Context(), "left", "right", "CHANGE-1")
		wantCode(t, err, "merge_base_ambiguous")
	})
	t.Run("missing", func(t *testing.T) {
		for _, ref := range []string{"nowhere", strings.Repeat("1", 40)} {
			_, err := r.open().Resolve(t.Context(), ref)
			wantCode(t, err, "commit_not_found")
		}
		for _, ref := range []string{"", "-x", "--all", "a\nb", "a..b", "^main", "\xff"} {
			_, err := r.open().Resolve(t.Context(), ref)
			wantCode(t, err, "ref_invalid")
		}
	})
}

// Configuration, environment, replace refs and grafts of the reader must never
// change what a digest says.
func TestReaderCannotBendDigests(t *testing.T) {
	r, before := proposed(t)
	r.git("switch", "-q", "main")
	r.edit("src/b.txt", "b 3", "b three")
	r.commit("moved")
	r.git("switch", "-q", "feature")
	before = must(r.open().Revision(t.Context(), "main", "feature", "CHANGE-1"))(t)
	check := func(t *testing.T) {
		t.Helper()
		after := must(r.open().Revision(t.Context(), "main", "feature", "CHANGE-1"))(t)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Error(diff)
		}
	}
	t.Run("replace refs", func(t *testing.T) {
		r.git("replace", "feature:src/a.txt", r.git("rev-parse", "main:README"))
		r.git("replace", "feature", "main")
		check(t)
		r.git("replace", "-d", "feature:src/a.txt")
		for _, id := range strings.Fields(r.git("replace", "-l")) {
			r.git("replace", "-d", id)
		}
	})
	t.Run("grafts", func(t *testing.T) {
		graft := filepath.Join(r.dir, ".git/info/grafts")
		if err := os.WriteFile(graft, []byte(r.git("rev-parse", "feature")+" "+r.git("rev-parse", "main")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Remove(graft) }()
		check(t)
	})
	t.Run("configuration", func(t *testing.T) {
		for _, kv := range []string{
			"diff.renames=copies", "merge.renames=true", "merge.directoryRenames=true", "core.quotePath=false", "diff.noprefix=true",
			"diff.orderFile=/dev/null", "core.abbrev=4", "diff.relative=true", "diff.external=false", "color.ui=always",
			"merge.evil.driver=false", "merge.default=evil",
		} {
			k, v, _ := strings.Cut(kv, "=")
			r.git("config", k, v)
		}
		r.write("../"+filepath.Base(r.dir)+"/.git/info/exclude", "*\n")
		check(t)
	})
	t.Run("environment", func(t *testing.T) {
		elsewhere := newRepo(t)
		for k, v := range map[string]string{
			"GIT_DIR": filepath.Join(elsewhere.dir, ".git"), "GIT_WORK_TREE": "/", "GIT_INDEX_FILE": "/nowhere",
			"GIT_OBJECT_DIRECTORY": filepath.Join(elsewhere.dir, ".git/objects"), "GIT_NAMESPACE": "x",
			"GIT_QUARANTINE_PATH": filepath.Join(elsewhere.dir, ".git/objects/x"),
			"GIT_CONFIG_COUNT":    "1", "GIT_CONFIG_KEY_0": "core.bare", "GIT_CONFIG_VALUE_0": "false",
			"GIT_EXTERNAL_DIFF": "false", "GIT_GLOB_PATHSPECS": "1", "GIT_REPLACE_REF_BASE": "refs/heads/", "LC_ALL": "de_DE.UTF-8",
		} {
			t.Setenv(k, v)
		}
		after := must(r.open().Revision(t.Context(), "main", "feature", "CHANGE-1"))(t)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("attributes of the work tree", func(t *testing.T) {
		r.write(".gitattributes", "* merge=union text eol=crlf\n")
		check(t)
	})
}

func TestMetadataTooLargeStandsWithItsBlob(t *testing.T) {
	big := []byte(`{"a":"` + strings.Repeat("x", metadataLimit) + `"}`)
	if _, ok := normal(big); ok {
		t.Error("normalised metadata over the limit")
	}
	sum, ok := normal([]byte(`{"b":1.0,"a":"\u00e9","approvals":[{"x":1}]}`))
	want := sha256.Sum256([]byte(`{"a":"é","b":1}`))
	if !ok || sum != want {
		t.Errorf("got %s", hex.EncodeToString(sum[:]))
	}
	for _, bad := range []string{"", "[]", "null", `"x"`, "{", `{"a":1}x`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, `{"a":1,"a":1}`, strings.Repeat("[", 1<<20)} {
		if _, ok := normal([]byte(bad)); ok {
			t.Errorf("normalised %.20q", bad)
		}
	}
}
