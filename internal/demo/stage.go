package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/governhq/govern/internal/proof/sign"
)

// person is somebody with a key, a home and a clone.
type person struct {
	handle, kind, roles string
	home, clone, public string
}

// stage is where the story happens.
type stage struct {
	dir    string
	exe    string
	out    *teller
	began  time.Time
	people map[string]*person
	ports  map[string]string // name → host:port
	server *exec.Cmd
	load   *load
}

// run runs a command as a person, in a directory, and gives its exit code and
// output. A command that cannot be run at all is an error.
func (s *stage) run(ctx context.Context, who, dir string, args ...string) (code int, stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = s.env(who)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), out.String(), talk.String(), nil
	}
	return 0, out.String(), talk.String(), err
}

// must runs a command that has to succeed.
func (s *stage) must(ctx context.Context, who, dir string, args ...string) (string, error) {
	code, out, talk, err := s.run(ctx, who, dir, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	if err != nil {
		return out, fmt.Errorf("%s: %s: %w\n%s%s", who, strings.Join(shown(args), " "), err, out, talk)
	}
	return out, nil
}

// govern runs govern as a person in their clone; it has to end with want, or,
// for anyCode, with "yes" or "pending".
func (s *stage) govern(ctx context.Context, who string, want int, args ...string) (string, error) {
	code, out, talk, err := s.run(ctx, who, s.people[who].clone, append([]string{s.exe}, args...)...)
	if err == nil && want != anyCode && code != want || err == nil && want == anyCode && code != 0 && code != 9 {
		err = fmt.Errorf("exit code %d, want %d", code, want)
	}
	if err != nil {
		return out, fmt.Errorf("%s: govern %s: %w\n%s%s", who, strings.Join(args, " "), err, out, talk)
	}
	return out, nil
}

func (s *stage) git(ctx context.Context, who string, args ...string) (string, error) {
	return s.must(ctx, who, s.people[who].clone, append([]string{"git"}, args...)...)
}

func shown(args []string) []string {
	out := append([]string(nil), args...)
	out[0] = filepath.Base(out[0])
	return out
}

// env is a person's surroundings: a home of their own, nothing of ours.
func (s *stage) env(who string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "GIT_") || strings.HasPrefix(name, "GOVERN_") || strings.HasPrefix(name, "SSH_") ||
			name == "HOME" || name == "XDG_STATE_HOME" || name == "XDG_CONFIG_HOME" {
			continue
		}
		env = append(env, kv)
	}
	home := s.path("home", who)
	env = append(env,
		"HOME="+home, "XDG_STATE_HOME="+filepath.Join(home, "state"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+filepath.Join(home, "gitconfig"),
		"GIT_TERMINAL_PROMPT=0", "GOVERN_SUPERVISE_EVERY=100ms", "GOVERN_WINDOW=500ms", "GOFLAGS=-mod=mod", "GOTOOLCHAIN=local",
		"GOPROXY=off", "GOVERN_DEMO="+s.dir)
	return append(env, goEnv()...)
}

// goEnv keeps Go's caches where they are although HOME moves.
var goEnv = sync.OnceValue(func() []string {
	var out []string
	for _, name := range []string{"GOCACHE", "GOPATH", "GOMODCACHE"} {
		b, err := exec.Command("go", "env", name).Output()
		if v := strings.TrimSpace(string(b)); err == nil && v != "" {
			out = append(out, name+"="+v)
		}
	}
	return out
})

// newPerson makes home, key and git configuration.
func (s *stage) newPerson(handle, kind, roles string) error {
	p := &person{handle: handle, kind: kind, roles: roles, home: s.path("home", handle), clone: s.path("clone", handle)}
	if err := os.MkdirAll(p.home, 0o700); err != nil {
		return err
	}
	private, public, err := sign.Generate(handle+"@example.com", nil)
	if err != nil {
		return err
	}
	key := filepath.Join(p.home, "id_ed25519")
	p.public = strings.Join(strings.Fields(string(public))[:2], " ")
	config := fmt.Sprintf("[user]\n\tname = %s\n\temail = %s@example.com\n\tsigningkey = %s\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n[safe]\n\tdirectory = *\n", handle, handle, key)
	for path, b := range map[string][]byte{key: private, key + ".pub": public, filepath.Join(p.home, "gitconfig"): []byte(config)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	}
	s.people[handle] = p
	return nil
}

// freePorts finds loopback addresses that nobody listens on.
func freePorts(names ...string) (map[string]string, error) {
	out := map[string]string{}
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for _, n := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		out[n] = l.Addr().String()
	}
	return out, nil
}

// startServer runs `govern serve` beside the central repository.
func (s *stage) startServer(ctx context.Context) error {
	log, err := os.Create(s.path("serve.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.exe, "-C", s.path("central.git"), "serve", "--listen=")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.path("central.git"), s.env("root"), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.server = cmd
	return s.until(ctx, 15*time.Second, "the server to listen", func() (bool, error) {
		_, err := os.Stat(s.path("central.git", "govern", "serve.addr"))
		return err == nil, nil
	})
}

// until polls what only another process can bring about.
func (s *stage) until(ctx context.Context, limit time.Duration, what string, ok func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		done, err := ok()
		if err != nil || done {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for %s", limit, what)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// target reads the state of the production target from the server.
func (s *stage) target(ctx context.Context) (targetState, error) {
	var t struct {
		Targets []struct {
			Name    string          `json:"name"`
			State   targetState     `json:"state"`
			Summary string          `json:"summary"`
			Raw     json.RawMessage `json:"-"`
		} `json:"targets"`
	}
	out, err := s.must(ctx, "root", s.path("central.git"), s.exe, "rollout", "status", "-o", "json")
	if err != nil {
		return targetState{}, err
	}
	if err := json.Unmarshal([]byte(out), &t); err != nil {
		return targetState{}, fmt.Errorf("rollout status: %w", err)
	}
	for _, x := range t.Targets {
		if x.Name == "prod" {
			x.State.Summary = x.Summary
			return x.State, nil
		}
	}
	return targetState{}, nil
}

// targetState is what the demo looks at of a target's state.
type targetState struct {
	Stable *struct {
		Artifact struct {
			Digest string `json:"digest"`
		} `json:"artifact"`
		Change string `json:"change"`
	} `json:"stable"`
	Blocked map[string]struct {
		Reason string `json:"reason"`
	} `json:"blocked"`
	Ended []struct {
		Change string `json:"change"`
		How    string `json:"how"`
		Cause  string `json:"cause"`
	} `json:"ended"`
	Run *struct {
		Change string `json:"change"`
		Phase  string `json:"phase"`
		Step   int    `json:"step"`
		Live   int    `json:"live"`
		Plan   struct {
			Steps []struct {
				Name string `json:"name"`
			} `json:"steps"`
		} `json:"plan"`
	} `json:"run"`
	Summary string `json:"-"`
}

// clean stops every process of the demo.
func (s *stage) clean() {
	if s.load != nil {
		s.load.stop()
	}
	if s.server != nil {
		s.server.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { s.server.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			syscall.Kill(-s.server.Process.Pid, syscall.SIGKILL)
			<-done
		}
	}
	pids, _ := filepath.Glob(s.path("run", "*.pid"))
	for _, p := range pids {
		stopPID(p)
	}
}
