package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/policy"
)

// Runner runs commands of targets. Dir is their working directory, Env is added
// to the environment of this process.
type Runner struct {
	Dir     string
	Env     []string
	Timeout time.Duration // of one command or request; 0 means 2 minutes
	Client  *http.Client  // nil means one without redirects
}

// Instance is what a command is about: one artifact in one slot of a target.
type Instance struct {
	Target   string
	Slot     string // "stable" or "candidate"
	Base     string // base URL of the slot
	Artifact gov.Artifact
	Commit   string
}

const (
	outputTail  = 4 << 10
	answerLimit = 64 << 10
)

// Deploy brings the instance up. It must be idempotent: after a crash it is run
// again unless Identify already reports the digest.
func (r *Runner) Deploy(ctx context.Context, t policy.Target, in Instance) error {
	_, err := r.run(ctx, "deploy", t.Deploy, in)
	return err
}

// Undeploy takes the instance down; an instance that is not there is fine.
func (r *Runner) Undeploy(ctx context.Context, t policy.Target, in Instance) error {
	if len(t.Undeploy) == 0 {
		return nil
	}
	_, err := r.run(ctx, "undeploy", t.Undeploy, in)
	return err
}

// Healthy returns nil when the instance says that it is.
func (r *Runner) Healthy(ctx context.Context, t policy.Target, in Instance) error {
	_, err := r.probe(ctx, "health", t.Health, in)
	return err
}

// Identify asks the instance which artifact it runs. The answer is a digest as
// text, or a JSON object with the digest under "artifact" or "digest".
func (r *Runner) Identify(ctx context.Context, t policy.Target, in Instance) (gov.Digest, error) {
	b, err := r.probe(ctx, "identify", t.Identify, in)
	if err != nil {
		return "", err
	}
	return identity(b)
}

func identity(b []byte) (gov.Digest, error) {
	s := strings.TrimSpace(string(b))
	if strings.HasPrefix(s, "{") {
		var obj struct {
			Artifact string `json:"artifact"`
			Digest   string `json:"digest"`
		}
		if err := json.Unmarshal([]byte(s), &obj); err != nil {
			return "", unidentified("it is not JSON")
		}
		s = obj.Artifact
		if s == "" {
			s = obj.Digest
		}
	}
	d, err := gov.ParseDigest(s)
	if err != nil {
		return "", unidentified("it holds no digest of the form sha256:<64 hex digits>")
	}
	return d, nil
}

func unidentified(why string) error {
	return gov.Errorf(gov.KindUnavailable, "identify_unreadable", "the instance's answer to identify cannot be understood: %s", why).
		WithHint("let identify print the digest, or {\"artifact\":\"sha256:…\"}")
}

func (r *Runner) timeout() time.Duration {
	if r.Timeout > 0 {
		return r.Timeout
	}
	return 2 * time.Minute
}

// expand replaces the placeholders of one argument in a single pass, so that a
// value which looks like a placeholder stays as it is.
func expand(arg string, in Instance) string {
	address := in.Base
	if u, err := url.Parse(in.Base); err == nil && u.Host != "" {
		address = u.Host
	}
	return strings.NewReplacer(
		"{artifact}", in.Artifact.Name, "{digest}", string(in.Artifact.Digest), "{commit}", in.Commit,
		"{target}", in.Target, "{slot}", in.Slot, "{address}", address,
	).Replace(arg)
}

func (r *Runner) run(ctx context.Context, what string, argv []string, in Instance) ([]byte, error) {
	if len(argv) == 0 {
		return nil, gov.Errorf(gov.KindInvalid, "target_"+what+"_missing", "target %s has no %s command", in.Target, what).
			WithHint("add targets.%s.%s to governance.yaml", in.Target, what)
	}
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	args := make([]string, len(argv))
	for i, a := range argv {
		args[i] = expand(a, in)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = r.Dir
	cmd.Env = append(os.Environ(), r.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	var stdout, stderr tail
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	// A daemon that keeps our pipe open is no failure of a command that ended well.
	if err == nil || (errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success()) {
		return stdout.b, nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end within %s", r.timeout())
	}
	msg := fmt.Sprintf("%s of target %s failed (%s): %v", what, in.Target, args[0], err)
	if out := strings.TrimSpace(string(stderr.b)); out != "" {
		msg += ": " + strings.ToValidUTF8(out, "?")
	}
	return nil, &gov.Error{Kind: gov.KindUnavailable, Code: what + "_failed", Op: what, Err: err, Message: msg, Hint: "govern rollout status " + in.Target}
}

func (r *Runner) probe(ctx context.Context, what string, p policy.Probe, in Instance) ([]byte, error) {
	if p.None() {
		return nil, gov.Errorf(gov.KindInvalid, "target_"+what+"_missing", "target %s has no %s", in.Target, what).
			WithHint("add targets.%s.%s to governance.yaml", in.Target, what)
	}
	if p.URL == "" {
		return r.run(ctx, what, p.Argv, in)
	}
	return r.get(ctx, what, p.URL, in)
}

func (r *Runner) get(ctx context.Context, what, ref string, in Instance) ([]byte, error) {
	fail := func(err error) error {
		return &gov.Error{
			Kind: gov.KindUnavailable, Code: what + "_failed", Op: what, Err: err,
			Message: fmt.Sprintf("%s of target %s failed: %v", what, in.Target, err),
			Hint:    "govern rollout status " + in.Target,
		}
	}
	base, err := url.Parse(in.Base)
	if err != nil {
		return nil, fail(err)
	}
	u, err := base.Parse(expand(ref, in))
	if err != nil {
		return nil, fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, min(r.timeout(), 10*time.Second))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fail(err)
	}
	resp, err := r.client().Do(req)
	if err != nil {
		return nil, fail(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return nil, fail(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fail(fmt.Errorf("%s answered %s", u, resp.Status))
	}
	return b, nil
}

var plain = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (r *Runner) client() *http.Client {
	if r.Client != nil {
		return r.Client
	}
	return plain
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - outputTail; over > 0 {
		t.b = bytes.Clone(t.b[over:])
	}
	return len(p), nil
}
