package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/proof/ledger"
)

func (v *village) data() string { return filepath.Join(v.dir, ".git", "govern") }

// copyData keeps the data directory as it is; back puts it in place again.
func (v *village) copyData() (back func()) {
	v.t.Helper()
	kept := filepath.Join(v.t.TempDir(), "kept")
	run := func(args ...string) {
		v.t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			v.t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	run("cp", "-a", v.data(), kept)
	return func() {
		v.t.Helper()
		run("rm", "-rf", v.data())
		run("cp", "-a", kept, v.data())
	}
}

// says is wants without a limit of columns: notes are sentences.
func (v *village) says(code int, args []string, words ...string) {
	v.t.Helper()
	o := v.govern(args...)
	for _, w := range words {
		if !strings.Contains(o.out+o.errors, w) {
			v.t.Errorf("govern %v does not say %q", args, w)
			code = -1
		}
	}
	if o.code != code {
		v.t.Fatalf("govern %v: exit %d, want %d\n%s%s", args, o.code, code, o.out, o.errors)
	}
}

// TestRestoreOlderCopy: an older copy of the data directory is refused by every
// append, verify and doctor; after a person has accepted the loss everything
// works on a new epoch, under the pinned origin, and verify says so.
func TestRestoreOlderCopy(t *testing.T) {
	v := newVillage(t, villagePolicy)
	v.deps.Env = func(name string) string { return map[string]string{"GOVERN_KEY": v.keys["bo"]}[name] }
	before, err := engine.ReadIdentity(v.data())
	if err != nil {
		t.Fatal(err)
	}
	v.says(0, []string{"restore"}, "nothing is lost")
	v.says(0, []string{"restore", "--accept-loss", "-m", "nothing to accept"}, "nothing was lost")
	back := v.copyData()
	v.says(0, []string{"clock", "accept", "-m", "looked at it"})
	back()

	// Another user's surroundings: the place belongs to the log.
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	v.says(3, []string{"verify", "log"}, "log_rolled_back")
	v.says(1, []string{"doctor"}, "log_rolled_back", "next: govern restore")
	o := v.govern("clock", "accept", "-m", "looked at it")
	if o.code == 0 || !strings.Contains(o.out+o.errors, "log_rolled_back") || !strings.Contains(o.out+o.errors, "govern restore --accept-loss -m") {
		t.Fatalf("exit %d\n%s%s", o.code, o.out, o.errors)
	}
	v.says(3, []string{"restore"}, "log_rolled_back", "govern restore --accept-loss -m")
	v.says(2, []string{"restore", "--accept-loss"}, "reason")
	v.deps.Env = func(name string) string { return map[string]string{"GOVERN_KEY": v.keys["ci"]}[name] }
	v.says(6, []string{"restore", "--accept-loss", "-m", "the disk died"}, "only a person may accept a loss")
	v.says(3, []string{"verify", "log"}, "log_rolled_back")
	v.deps.Env = func(name string) string { return map[string]string{"GOVERN_KEY": v.keys["bo"]}[name] }
	v.says(0, []string{"restore", "--accept-loss", "-m", "the disk died"}, "bo accepts the loss", "epoch 2")

	v.says(0, []string{"verify"}, "a new epoch has begun (epoch-2)", "ok")
	v.says(0, []string{"restore"}, "nothing is lost")
	v.says(0, []string{"status"}, "test/village")
	reader, err := ledger.OpenReader(v.data(), ledger.Governance)
	if err != nil {
		t.Fatal(err)
	}
	size := reader.Size()
	reader.Close()
	v.says(0, []string{"clock", "accept", "-m", "looked at it again"}, fmt.Sprintf("record %d", size))
	v.says(0, []string{"verify"}, "ok")
	after, err := engine.ReadIdentity(v.data())
	if err != nil || after != before {
		t.Fatalf("the pinned identity moved: %v\n%+v\n%+v", err, before, after)
	}
	if lost, _ := filepath.Glob(filepath.Join(before.Second, "governance.checkpoint.lost-*")); len(lost) != 1 {
		t.Errorf("the checkpoint that cannot be met is not kept: %v", lost)
	}
}

// TestCheckpointGone: records without their checkpoint are no empty log, and
// where the second place still has it nothing is lost.
func TestCheckpointGone(t *testing.T) {
	v := newVillage(t, villagePolicy)
	v.deps.Env = func(name string) string { return map[string]string{"GOVERN_KEY": v.keys["bo"]}[name] }
	path := filepath.Join(v.data(), "governance.checkpoint")
	id, err := engine.ReadIdentity(v.data())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	v.says(3, []string{"status"}, "checkpoint_missing", "govern restore")
	v.says(3, []string{"verify", "log"}, "checkpoint_missing")
	v.says(0, []string{"restore", "--accept-loss", "-m", "somebody removed it"}, "nothing was lost")
	v.says(0, []string{"status"}, "test/village")
	v.says(0, []string{"verify"}, "ok")

	// Gone in both places: nobody knows any more what was signed.
	for _, p := range []string{path, filepath.Join(id.Second, "governance.checkpoint")} {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	v.says(3, []string{"status"}, "checkpoint_missing")
	v.says(0, []string{"restore", "--accept-loss", "-m", "both are gone"}, "epoch 2")
	v.says(0, []string{"verify"}, "epoch-2", "ok")
	v.says(0, []string{"status"}, "test/village")
}

// TestDerivedFilesGone: what can be made again from the log is no failure.
func TestDerivedFilesGone(t *testing.T) {
	v := newVillage(t, villagePolicy)
	if err := os.Remove(filepath.Join(v.data(), "governance.tile0")); err != nil {
		t.Fatal(err)
	}
	v.says(0, []string{"verify", "log"}, "governance.tile0", "made again", "ok")
	v.says(0, []string{"status"}, "test/village")
}
