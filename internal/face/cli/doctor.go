package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/policy"
)

// symptom is what the doctor finds: one line each.
type symptom struct {
	What  string `json:"what"`
	State string `json:"state"` // ok, note or problem
	Text  string `json:"text"`
	Next  string `json:"next,omitempty"`
}

// doctor collects symptoms.
type doctor struct {
	a   *app
	w   Workbench
	law engine.Law
	all []symptom
}

func (d *doctor) ok(what, format string, args ...any) {
	d.all = append(d.all, symptom{What: what, State: "ok", Text: fmt.Sprintf(format, args...)})
}

func (d *doctor) note(what, next, format string, args ...any) {
	d.all = append(d.all, symptom{What: what, State: "note", Text: fmt.Sprintf(format, args...), Next: next})
}

func (d *doctor) problem(what, next, format string, args ...any) {
	d.all = append(d.all, symptom{What: what, State: "problem", Text: fmt.Sprintf(format, args...), Next: next})
}

// failed notes an error with its own hint.
func (d *doctor) failed(what string, err error) {
	if e, ok := errors.AsType[*gov.Error](err); ok {
		d.problem(what, e.Hint, "%s [%s]", e.Message, e.Code)
		return
	}
	d.problem(what, "", "%v", err)
}

func (a *app) doctor() *cobra.Command {
	var rebuild bool
	c := &cobra.Command{
		Use: "doctor", Short: "look at everything that can be wrong here", GroupID: groupHouse, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.examine(cmd.Context(), rebuild) },
	}
	c.Flags().BoolVar(&rebuild, "rebuild-views", false, "throw the views away and build them again from the log")
	return c
}

func (a *app) examine(ctx context.Context, rebuild bool) error {
	d := &doctor{a: a}
	if v, err := a.GitVersion(ctx); err != nil {
		d.failed("git", err)
	} else {
		d.ok("git", "version %s", v)
	}
	var err error
	if d.w, err = a.repo(ctx); err != nil {
		d.failed("repository", err)
	} else {
		d.repository(ctx)
	}
	if d.w != nil || a.Env("GOVERN_SERVER") != "" {
		d.log(ctx, rebuild)
	}
	bad := slices.ContainsFunc(d.all, func(s symptom) bool { return s.State == "problem" })
	if err := a.give(struct {
		OK    bool      `json:"ok"`
		Found []symptom `json:"found"`
	}{!bad, d.all}, func(w io.Writer) {
		for _, s := range d.all {
			fmt.Fprintf(w, "%-8s %-12s %s\n", s.State, s.What, printable(s.Text))
			if s.Next != "" && s.State != "ok" {
				fmt.Fprintf(w, "%21s next: %s\n", "", printable(s.Next))
			}
		}
	}); err != nil {
		return err
	}
	if bad {
		return Exit(ExitRefused)
	}
	return nil
}

// repository looks at what needs no log.
func (d *doctor) repository(ctx context.Context) {
	d.ok("repository", "%s", where(d.w))
	var err error
	if d.law, err = engine.ReadLaw(ctx, d.w); err != nil {
		d.failed("policy", uninitialised(err))
	} else {
		d.policy()
	}
	d.key(ctx)
	if d.a.Env("GOVERN_SERVER") != "" {
		return // the data directory is somewhere else
	}
	dir := d.w.DataDir()
	d.hooks(ctx, dir)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && d.clone(ctx) {
		d.ok("data", "none yet: the clone's own view is made when it is first needed")
		return
	}
	d.directory(dir)
	d.identity(ctx, dir)
	d.lock(dir)
}

func where(w Workbench) string {
	if t := w.WorkTreeDir(); t != "" {
		return t
	}
	return filepath.Dir(w.DataDir()) + " (bare)"
}

func (d *doctor) policy() {
	p := d.law.Policy
	short := policy.Liveness(p, ruling(d.law), d.law.Registry, time.Now())
	i := slices.IndexFunc(short, func(s policy.Short) bool { return s.Everybody })
	if i >= 0 {
		d.problem("policy", short[i].Fix, "no change of risk %s can be allowed: %s", short[i].Risk, short[i].Why)
		return
	}
	d.ok("policy", "%s on %s, mode %s", d.law.Digest.Short(), d.law.Branch, p.Mode)
	if len(short) > 0 {
		d.note("people", "govern policy check", "some authors cannot get every change allowed: %s", short[0].Why)
	} else {
		d.ok("people", "%s, enough for every risk", count(len(d.law.Registry.People), "name"))
	}
	if p.Mode == policy.Observe {
		d.note("mode", "set mode: enforce in "+policy.Path, "nothing is refused: the policy only observes")
	}
}

func (d *doctor) key(ctx context.Context) {
	s, err := d.a.signer(ctx, d.w)
	if err != nil {
		if d.w.IsBare() {
			d.ok("key", "none, and a server needs none")
			return
		}
		d.failed("key", err)
		return
	}
	p, ok := byKey(d.law.Registry, s.Fingerprint())
	switch {
	case !ok && d.w.IsBare():
		d.ok("key", "%s is nobody's in the registry; a server needs none", s.Fingerprint())
	case !ok:
		d.problem("key", "govern people add HANDLE --key-file FILE.pub   (a change, to be approved)", "%s is nobody's in the registry", s.Fingerprint())
	default:
		valid := slices.ContainsFunc(p.Keys, func(k gov.Key) bool { return k.Fingerprint == s.Fingerprint() && k.ValidAt(time.Now()) })
		if !valid {
			d.problem("key", "govern people rotate "+p.Handle+" --key-file FILE.pub", "the key of %s is not valid now", p.Handle)
			return
		}
		d.ok("key", "%s signs as %s (%s)", s.Fingerprint(), p.Handle, p.Kind)
	}
}

// directory looks whether the data directory can be written.
func (d *doctor) directory(dir string) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		d.problem("data", "govern init", "there is no data directory %s", dir)
		return
	}
	if err == nil && !info.IsDir() {
		err = errors.New("it is no directory")
	}
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".doctor-*"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if err != nil {
		d.problem("data", "look at owner, mode and free space of "+dir, "%s cannot be written: %v", dir, err)
		return
	}
	d.ok("data", "%s", dir)
}

// identity looks at what the log is pinned by, its key, and its second place.
func (d *doctor) identity(ctx context.Context, dir string) {
	id, err := engine.ReadIdentity(dir)
	if err != nil {
		d.failed("identity", err)
		return
	}
	d.ok("identity", "%s, genesis %s", id.Origin, id.Genesis.Short())
	if id.Local {
		d.note("authority", "", "this log is the clone's own view; the gate elsewhere decides")
	}
	switch info, err := os.Stat(filepath.Join(dir, "log.key")); {
	case errors.Is(err, fs.ErrNotExist):
		d.problem("log key", "run commands where the log lives, or set GOVERN_SERVER", "the key of the log is not here: nothing can be recorded")
	case err != nil:
		d.problem("log key", "", "%v", err)
	case info.Mode().Perm()&0o077 != 0:
		d.problem("log key", "chmod 600 "+filepath.Join(dir, "log.key"), "the key of the log can be read by others (%04o)", info.Mode().Perm())
	default:
		d.ok("log key", "only you can read it")
	}
	d.second(ctx, dir, id)
}

// second looks at the second place of the checkpoint, and whether the files of
// the log are what was signed there and here.
func (d *doctor) second(ctx context.Context, dir string, id engine.Identity) {
	second, closed, err := id.Place()
	if err == nil {
		err = closed
	}
	if err != nil {
		d.failed("second place", err)
		return
	}
	rep, err := engine.CheckTail(ctx, dir, id, second)
	switch {
	case err != nil:
		d.failed("files", err)
	case !rep.OK():
		f := rep.Failures[0]
		d.problem("files", "govern restore", "%s [%s]", f.Message, f.Code)
	default:
		d.ok("files", "%d records, as signed", rep.Records)
	}
	if rep.OK() && len(rep.Derived) > 0 {
		d.note("files", "nothing: the next command that records makes them again", "derived files are missing: %s", strings.Join(rep.Derived, ", "))
	}
	if _, err := os.Stat(filepath.Join(second, "governance.checkpoint")); err != nil {
		d.problem("second place", "govern verify log", "the last checkpoint is not kept in %s: a restored older copy would go unnoticed", second)
		return
	}
	d.ok("second place", "%s", second)
}

// lock says who writes the log now. The kernel knows; the file only says who it
// was.
func (d *doctor) lock(dir string) {
	f, err := os.Open(filepath.Join(dir, "governance.lock"))
	if errors.Is(err, fs.ErrNotExist) {
		d.ok("lock", "free")
		return
	}
	if err != nil {
		d.problem("lock", "", "%v", err)
		return
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) // closing it would do the same
		d.ok("lock", "free")
		return
	}
	b, _ := io.ReadAll(io.LimitReader(f, 256))
	pid, purpose, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	if _, err := strconv.Atoi(pid); err != nil {
		d.ok("lock", "held by another process")
		return
	}
	d.ok("lock", "held by %s, process %s", purpose, pid)
}

// clone tells whether pushes are decided elsewhere.
func (d *doctor) clone(ctx context.Context) bool {
	remote, err := d.w.HasRemote(ctx, remoteName)
	return err == nil && remote && !d.w.IsBare()
}

// hooks looks for govern's receive hooks where pushes arrive.
func (d *doctor) hooks(ctx context.Context, dir string) {
	if d.clone(ctx) {
		d.ok("hooks", "none are needed here: %s decides", remoteName)
		return
	}
	var have []string
	for _, name := range []string{"pre-receive", "post-receive"} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "hooks", name))
		if err == nil && strings.Contains(string(b), "govern-hook") {
			have = append(have, name)
		}
	}
	switch {
	case len(have) == 2:
		d.ok("hooks", "pre-receive and post-receive")
	case d.w.IsBare():
		d.problem("hooks", "govern hook install", "pushes are not asked about: the receive hooks are not installed")
	default:
		d.note("hooks", "govern hook install", "no receive hooks: a push to this repository is not asked about")
	}
}

// log looks at what needs an open log.
func (d *doctor) log(ctx context.Context, rebuild bool) {
	s, err := d.a.OpenSession(ctx, d.w, "govern doctor", "local")
	if err != nil {
		d.failed("log", err)
		return
	}
	defer s.Close()
	if rebuild {
		if err := s.Client().RebuildViews(ctx); err != nil {
			d.failed("views", err)
			return
		}
		d.ok("views", "built again")
	}
	st, err := s.Client().Status(ctx)
	if err != nil {
		d.failed("log", err)
		return
	}
	d.ok("log", "%d records, at %s", st.Size, s.Where())
	if st.Clock != "" {
		d.problem("clock", "govern clock accept -m WHY", "%s", st.Clock)
	} else {
		d.ok("clock", "goes forward")
	}
	if len(st.Overdue) > 0 {
		d.problem("reviews", "govern inbox", "overdue: %s", strings.Join(st.Overdue, "; "))
	}
	e := s.Engine()
	if e == nil {
		d.ok("serve", "running")
		return
	}
	if st.Rollouts > 0 {
		d.problem("serve", "govern serve", "%s under way and nothing carries them out", count(st.Rollouts, "rollout"))
	} else {
		d.ok("serve", "not running, and nothing rolls out")
	}
	applied, err := e.View().Applied(ctx)
	switch {
	case err != nil:
		d.failed("views", err)
	case applied != e.Reader().Size():
		d.problem("views", "govern doctor --rebuild-views", "they hold %d of %d records", applied, e.Reader().Size())
	default:
		d.ok("views", "hold all %d records", applied)
	}
}
