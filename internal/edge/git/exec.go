package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/governhq/govern/internal/gov"
)

// stderrLimit bounds what is kept of a child's complaints.
const stderrLimit = 64 << 10

// killDelay is how long a child may hold its pipes after it was told to stop.
const killDelay = 2 * time.Second

// keptGit are the GIT_ variables of the caller that reach children: where the
// binary and the user's configuration are, and how to reach remotes. All other
// GIT_ variables would change which content is read.
var keptGit = map[string]bool{
	"GIT_EXEC_PATH": true, "GIT_CONFIG_GLOBAL": true, "GIT_CONFIG_SYSTEM": true,
	"GIT_CONFIG_NOSYSTEM": true, "GIT_CEILING_DIRECTORIES": true,
	"GIT_DISCOVERY_ACROSS_FILESYSTEM": true,
}

// remoteGit are kept in addition for push and fetch.
var remoteGit = map[string]bool{
	"GIT_SSH": true, "GIT_SSH_COMMAND": true, "GIT_SSH_VARIANT": true, "GIT_ASKPASS": true,
	"GIT_TERMINAL_PROMPT": true, "GIT_PROXY_COMMAND": true, "GIT_ALLOW_PROTOCOL": true,
	"GIT_PROTOCOL_FROM_USER": true, "GIT_SSL_NO_VERIFY": true, "GIT_SSL_CAINFO": true,
	"GIT_SSL_CAPATH": true, "GIT_SSL_CERT": true, "GIT_SSL_KEY": true, "GIT_HTTP_USER_AGENT": true,
	"GIT_CONFIG_PARAMETERS": true, "GIT_CONFIG_COUNT": true,
}

// baseEnv is the caller's environment without the variables that would change
// what git reads or how it speaks.
func baseEnv(remote bool) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "LC_ALL", name == "LANG", name == "LANGUAGE":
			continue
		case !strings.HasPrefix(name, "GIT_"), keptGit[name]:
		case remote && (remoteGit[name] || strings.HasPrefix(name, "GIT_CONFIG_KEY_") || strings.HasPrefix(name, "GIT_CONFIG_VALUE_")):
		default:
			continue
		}
		env = append(env, kv)
	}
	return append(env, "LC_ALL=C")
}

// quarantineEnv gives the three variables of a receive hook when they belong
// to the repository with this common directory, else nothing.
func quarantineEnv(commonDir string) []string {
	q := os.Getenv("GIT_QUARANTINE_PATH")
	if q == "" {
		return nil
	}
	abs, err := filepath.Abs(q)
	if err != nil {
		return nil
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	objects := filepath.Join(commonDir, "objects")
	if real, err := filepath.EvalSymlinks(objects); err == nil {
		objects = real
	}
	if !strings.HasPrefix(abs, objects+string(filepath.Separator)) {
		return nil
	}
	env := []string{"GIT_QUARANTINE_PATH=" + q}
	for _, name := range []string{"GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// call is one run of git.
type call struct {
	args  []string
	stdin io.Reader
	env   []string // in addition to the repository's
	dir   string
	read  func(*bufio.Reader) error // consumes stdout; nil collects it
	tree  bool                      // the command needs its work tree
	talk  io.Writer                 // gets a copy of stderr
}

// plumbing is put before every local command: no replace refs, pathspecs are
// names, no background work, no configuration that changes an answer.
var plumbing = []string{
	"--no-replace-objects", "--literal-pathspecs", "--no-optional-locks",
	"-c", "core.fsmonitor=false", "-c", "core.quotePath=true", "-c", "core.attributesFile=/dev/null",
	"-c", "core.preloadIndex=false", "-c", "i18n.commitEncoding=UTF-8",
	"-c", "diff.ignoreSubmodules=none", "-c", "merge.renames=false", "-c", "merge.directoryRenames=false",
	"-c", "diff.renames=false", "-c", "merge.renormalize=false",
}

// run runs a local plumbing command with a closed environment.
func (r *Repo) run(ctx context.Context, c call) ([]byte, error) {
	args := append([]string{}, plumbing...)
	if !c.tree {
		args = append(args, "--bare")
	}
	args = append(args, c.args...)
	env := append(append([]string{}, r.env...), c.env...)
	return execGit(ctx, c, args, env)
}

// git runs a local plumbing command and gives its stdout.
func (r *Repo) git(ctx context.Context, args ...string) ([]byte, error) {
	return r.run(ctx, call{args: args})
}

// exitError is a child that ended with a code other than 0.
type exitError struct {
	code   int
	stdout []byte
	stderr string
}

func (e *exitError) Error() string { return fmt.Sprintf("git exited with %d: %s", e.code, e.stderr) }

// exitCode gives the exit code behind err, or -1.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return -1
}

func execGit(ctx context.Context, c call, args, env []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.dir, env, c.stdin
	cmd.WaitDelay = killDelay
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	stderr := &capped{limit: stderrLimit}
	cmd.Stderr = stderr
	if c.talk != nil {
		cmd.Stderr = io.MultiWriter(stderr, c.talk)
	}
	var stdout bytes.Buffer
	var err error
	if c.read == nil {
		cmd.Stdout = &stdout
		err = cmd.Run()
	} else {
		err = runReading(cmd, c.read)
	}
	if err == nil {
		return stdout.Bytes(), nil
	}
	if cause := ctx.Err(); cause != nil {
		return nil, gov.Errorf(gov.KindTimeout, "cancelled", "git was stopped before it had finished: %w", cause)
	}
	if errors.Is(err, exec.ErrNotFound) {
		return nil, gov.Errorf(gov.KindUnavailable, "git_missing", "the git program was not found: %w", err).
			WithHint("install git 2.38 or newer and make sure that it is in PATH")
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, gitFailed(&exitError{code: exit.ExitCode(), stdout: stdout.Bytes(), stderr: stderr.String()}, args)
	}
	if _, ok := errors.AsType[*gov.Error](err); ok {
		return nil, err
	}
	return nil, gov.Errorf(gov.KindUnavailable, "git_failed", "git could not be run: %w", err)
}

// runReading starts cmd and lets read consume stdout; a reader that gives up
// ends the child.
func runReading(cmd *exec.Cmd, read func(*bufio.Reader) error) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := read(bufio.NewReaderSize(out, 64<<10))
	if readErr != nil {
		_ = cmd.Process.Kill()
	}
	waitErr := cmd.Wait()
	// A child that died by itself explains a reader that found too little.
	if exit, ok := errors.AsType[*exec.ExitError](waitErr); ok && exit.ExitCode() > 0 {
		return waitErr
	}
	if readErr != nil {
		return readErr
	}
	return waitErr
}

// gitFailed is the error of a command whose caller knows no better one.
func gitFailed(e *exitError, args []string) error {
	command := "git"
	for i := 0; i < len(args); i++ {
		if args[i] == "-c" {
			i++
		} else if !strings.HasPrefix(args[i], "-") {
			command += " " + args[i]
			break
		}
	}
	line, _, _ := strings.Cut(e.stderr, "\n")
	line = strings.TrimPrefix(printable(line), "fatal: ")
	if line == "" {
		line = "no message"
	}
	return &gov.Error{
		Kind: gov.KindUnavailable, Code: "git_failed", Err: e,
		Message: fmt.Sprintf("%s exited with %d: %s", command, e.code, line),
		Hint:    "git fsck",
	}
}

// printable replaces control characters and invalid UTF-8, so that text of a
// child or a hostile name cannot steer a terminal.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c == unicode.ReplacementChar || !unicode.IsPrint(c) && c != ' ' {
			return unicode.ReplacementChar
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// capped keeps the first limit bytes written to it.
type capped struct {
	bytes.Buffer
	limit int
}

func (c *capped) Write(p []byte) (int, error) {
	if room := c.limit - c.Len(); room > 0 {
		c.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// stdoutOf gives what a child printed before it exited with a code.
func stdoutOf(err error) []byte {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.stdout
	}
	return nil
}
