// Command cli measures what a person waits for: the start of the program, and a
// typo fix from commit to approval. It builds govern from the tree above.
//
//	cd bench && go run ./cli
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/cli:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "govern-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	exe := filepath.Join(dir, "govern")
	build := exec.Command("go", "build", "-o", exe, "./cmd/govern")
	build.Dir, build.Stderr = "..", os.Stderr
	if err := build.Run(); err != nil {
		return err
	}
	var starts []time.Duration
	for range 20 {
		began := time.Now()
		if err := exec.Command(exe, "version").Run(); err != nil {
			return err
		}
		starts = append(starts, time.Since(began))
	}
	slices.Sort(starts)
	fmt.Printf("govern version: median of 20 %s, worst %s (wanted: ≤ 50 ms)\n", starts[10].Round(100*time.Microsecond), starts[19].Round(100*time.Microsecond))
	return typo(dir, exe)
}

// typo measures the commands of a typo fix: two of the author, one of the
// approver, in two clones of a bare repository with the hook.
func typo(dir, exe string) error {
	b := &bench{dir: dir, exe: exe}
	steps := []struct {
		who, where string
		args       []string
	}{
		{"bo", "", []string{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", b.home("bo") + "/key"}},
		{"ana", "", []string{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", b.home("ana") + "/key"}},
		{"bo", "", []string{"git", "init", "-q", "--bare", "-b", "main", "central.git"}},
		{"bo", "", []string{"git", "clone", "-q", "central.git", "bo"}},
		{"bo", "bo", []string{"sh", "-c", "echo helo > a.txt && git add a.txt && git switch -q -C main && git commit -q -m first"}},
		{"bo", "bo", []string{exe, "init", "--founder", "bo", "--mode", "enforce"}},
		{"bo", "bo", []string{exe, "people", "add", "ana", "--key-file", b.home("ana") + "/key.pub", "--kind", "human", "--email", "ana@example.com"}},
		{"bo", "bo", []string{"sh", "-c", "printf 'not_applicable:\\n  - {what: [tests, coverage], because: a benchmark}\\n' >> governance.yaml && git add -A && git commit -q -m people && git push -q origin main"}},
		{"bo", "central.git", []string{exe, "init"}},
		{"bo", "central.git", []string{exe, "hook", "install"}},
		{"ana", "", []string{"git", "clone", "-q", "central.git", "ana"}},
		{"ana", "ana", []string{"sh", "-c", "git switch -q -c fix && echo hello > a.txt"}},
	}
	for _, s := range steps {
		if _, err := b.do(s.who, s.where, s.args...); err != nil {
			return err
		}
	}
	var total time.Duration
	for _, s := range []struct {
		who, where string
		args       []string
	}{
		{"ana", "ana", []string{"git", "commit", "-q", "-a", "-m", "a typo"}},
		{"ana", "ana", []string{exe, "submit", "-m", "a typo"}},
		{"bo", "bo", []string{exe, "approve", "CHANGE-1", "-m", "yes"}},
	} {
		took, err := b.do(s.who, s.where, s.args...)
		if err != nil {
			return err
		}
		total += took
		fmt.Printf("typo fix, %s: %-28s %s\n", s.who, filepath.Base(s.args[0])+" "+strings.Join(s.args[1:min(3, len(s.args))], " "), took.Round(time.Millisecond))
	}
	fmt.Printf("typo fix, in all: %s (wanted: ≤ 5 s)\n", total.Round(time.Millisecond))
	return nil
}

type bench struct{ dir, exe string }

func (b *bench) home(who string) string {
	h := filepath.Join(b.dir, "home", who)
	if err := os.MkdirAll(h, 0o700); err != nil {
		panic(err)
	}
	config := fmt.Sprintf("[user]\n\tname = %s\n\temail = %s@example.com\n\tsigningkey = %s/key\n[init]\n\tdefaultBranch = main\n", who, who, h)
	if err := os.WriteFile(filepath.Join(h, "gitconfig"), []byte(config), 0o600); err != nil {
		panic(err)
	}
	return h
}

// do runs a command of a person; exit code 9 (pending) is an answer too.
func (b *bench) do(who, where string, args ...string) (time.Duration, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = filepath.Join(b.dir, where)
	h := b.home(who)
	cmd.Env = append(os.Environ(), "HOME="+h, "XDG_STATE_HOME="+h+"/state", "GIT_CONFIG_GLOBAL="+h+"/gitconfig", "GIT_CONFIG_NOSYSTEM=1")
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil && cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 9 {
		err = nil
	}
	if err != nil {
		return took, fmt.Errorf("%s: %s: %w\n%s", who, strings.Join(args, " "), err, out)
	}
	return took, nil
}
