package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// hookMark is the second line of every hook written here.
const hookMark = "# govern-hook v1: written by \"govern hook install\""

// keptHook is the name under which a hook that was there before is kept.
const keptHook = "10-existing"

// Installed tells what InstallHooks did.
type Installed struct {
	Dir     string   // the hooks directory
	Hooks   []string // paths of the hooks, written or already as they should be
	Changed bool     // something was written
	Kept    []string // paths to which hooks that were there before were moved
}

// InstallHooks writes pre-receive and post-receive, which run command with
// "hook pre-receive" and "hook post-receive" added. command[0] is an absolute
// path. Doing it again changes nothing.
//
// A hook that is there already is moved to pre-receive.d/10-existing; every
// executable file in that folder runs, in the order of names, before govern is
// asked, and each can refuse the push. After a push govern is told first. When
// the program of command is missing, the push is refused.
//
// core.hooksPath of the repository is honoured. Errors: hook_command_invalid,
// hooks_path_shared (core.hooksPath comes from the user or system, so the hook
// would govern other repositories too), hook_exists (cannot be moved: another
// one was kept before, or it is a relative link), hooks_not_writable.
func (r *Repo) InstallHooks(ctx context.Context, command []string) (Installed, error) {
	if err := checkCommand(command); err != nil {
		return Installed{}, err
	}
	dir, err := r.hooksDir(ctx)
	if err != nil {
		return Installed{}, err
	}
	done := Installed{Dir: dir}
	for _, name := range []string{"pre-receive", "post-receive"} {
		if err := installHook(&done, name, hookScript(name, command)); err != nil {
			return done, err
		}
	}
	return done, nil
}

func checkCommand(command []string) error {
	bad := len(command) == 0 || !filepath.IsAbs(command[0])
	for _, arg := range command {
		bad = bad || !isClean(arg)
	}
	if bad {
		return gov.Errorf(gov.KindInvalid, "hook_command_invalid", "the program of a hook is named by its absolute path, without control characters")
	}
	return nil
}

// hooksDir finds where git looks for receive hooks: they run in the git
// directory, so a relative core.hooksPath starts there.
func (r *Repo) hooksDir(ctx context.Context) (string, error) {
	env := append(baseEnv(false), "GIT_DIR="+r.GitDir)
	out, err := execGit(ctx, call{}, []string{"config", "--show-scope", "--get", "core.hooksPath"}, env)
	if exitCode(err) == 1 {
		return filepath.Join(r.CommonDir, "hooks"), nil
	}
	if err != nil {
		return "", err
	}
	if scope, value, _ := strings.Cut(strings.TrimSpace(string(out)), "\t"); scope != "local" && scope != "worktree" {
		return "", gov.Errorf(gov.KindConflict, "hooks_path_shared", "core.hooksPath is %q in the %s configuration, which other repositories share", value, scope).
			WithHint("git -C %s config core.hooksPath %s", r.GitDir, filepath.Join(r.CommonDir, "hooks"))
	}
	out, err = execGit(ctx, call{}, []string{"config", "--type=path", "--get", "core.hooksPath"}, env)
	if err != nil {
		return "", err
	}
	dir := strings.TrimSuffix(string(out), "\n")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(r.GitDir, dir)
	}
	return filepath.Clean(dir), nil
}

// hookScript is the text of one hook, for any POSIX shell.
func hookScript(name string, command []string) string {
	quoted := make([]string, len(command))
	for i, arg := range command {
		quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	body := hookBefore
	if name == "post-receive" {
		body = hookAfter
	}
	return "#!/bin/sh\n" + hookMark + "\n" + strings.NewReplacer(
		"@NAME@", name, "@PROGRAM@", quoted[0], "@COMMAND@", strings.Join(quoted, " "),
	).Replace(hookRead+body)
}

const hookRead = `# A hook that was here before is kept in @NAME@.d; executable files there run too.
program=@PROGRAM@
input=$(cat && echo x) || exit 1
input=${input%x}
`

const hookBefore = `for hook in "${0%/*}"/@NAME@.d/*; do
	if [ -f "$hook" ] && [ -x "$hook" ]; then
		printf '%s' "$input" | "$hook" "$@" || exit 1
	fi
done
if [ ! -x "$program" ]; then
	printf 'govern: %s is not there, so nothing can be judged and the push is refused\n' "$program" >&2
	exit 1
fi
printf '%s' "$input" | @COMMAND@ hook @NAME@ || exit 1
`

const hookAfter = `status=0
if [ -x "$program" ]; then
	printf '%s' "$input" | @COMMAND@ hook @NAME@ || status=1
else
	printf 'govern: %s is not there; the merge will be recorded by reconciliation\n' "$program" >&2
	status=1
fi
for hook in "${0%/*}"/@NAME@.d/*; do
	if [ -f "$hook" ] && [ -x "$hook" ]; then
		printf '%s' "$input" | "$hook" "$@" || status=1
	fi
done
exit "$status"
`

func installHook(done *Installed, name, text string) error {
	path := filepath.Join(done.Dir, name)
	done.Hooks = append(done.Hooks, path)
	have, err := os.ReadFile(path)
	info, statErr := os.Lstat(path)
	switch {
	case errors.Is(statErr, fs.ErrNotExist):
	case err == nil && info.Mode().IsRegular() && string(have) == text && info.Mode().Perm()&0o111 != 0:
		return nil
	case err == nil && info.Mode().IsRegular() && strings.Contains(string(have), "\n"+hookMark+"\n"):
	default:
		kept, err := keepHook(path, info)
		if err != nil {
			return err
		}
		done.Kept = append(done.Kept, kept)
	}
	done.Changed = true
	return writeHook(path, text)
}

// keepHook links a foreign hook into the folder of chained ones. The hook stays
// in its place until the new one takes it over, so that every push meets one.
func keepHook(path string, info fs.FileInfo) (string, error) {
	kept := filepath.Join(path+".d", keptHook)
	advice := fmt.Sprintf("move %s into %s under another name", path, path+".d")
	if before, err := os.Lstat(kept); err == nil {
		if info != nil && os.SameFile(before, info) {
			return kept, nil // an earlier run ended halfway
		}
		return "", gov.Errorf(gov.KindConflict, "hook_exists", "there is a hook at %s, and another one was kept before", path).WithHint("%s", advice)
	}
	if info != nil && info.Mode()&fs.ModeSymlink != 0 {
		if to, err := os.Readlink(path); err != nil || !filepath.IsAbs(to) {
			return "", gov.Errorf(gov.KindConflict, "hook_exists", "the hook at %s is a relative link, which cannot be moved", path).WithHint("%s", advice)
		}
	} else if info == nil || !info.Mode().IsRegular() {
		return "", gov.Errorf(gov.KindConflict, "hook_exists", "%s is not a file", path).WithHint("%s", advice)
	}
	if err := os.MkdirAll(path+".d", 0o777); err != nil {
		return "", notWritable(err)
	}
	if err := os.Link(path, kept); err != nil {
		return "", notWritable(err)
	}
	return kept, nil
}

// writeHook puts a hook in place in one step, so that no push ever sees half of
// it.
func writeHook(path, text string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return notWritable(err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".govern-hook-")
	if err != nil {
		return notWritable(err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = notWritable(err)
		}
	}()
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(0o755), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func notWritable(err error) error {
	return gov.Errorf(gov.KindUnavailable, "hooks_not_writable", "the hooks directory cannot be written: %w", err)
}
