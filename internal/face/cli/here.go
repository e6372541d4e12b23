package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/policy"
)

// remoteName is the remote that branches are pushed to.
const remoteName = "origin"

// changeCommands lists the commands about changes and the people who decide on
// them.
func (a *app) changeCommands() []*cobra.Command {
	return slices.Concat(
		[]*cobra.Command{a.init(), a.submit()}, a.signCommands(),
		[]*cobra.Command{a.change(), a.gate(), a.hook(), a.status(), a.inbox(), a.wait(), a.explain(), a.people(), a.keys(), a.token()},
	)
}

// here is where a command works: the repository, the way to its log, the law in
// force and who is asking.
type here struct {
	a      *app
	w      Workbench // nil with GOVERN_SERVER outside of a repository
	s      Session
	law    engine.Law
	me     gov.Principal
	remote bool // there is a remote named origin
	// central: the log is another repository's, which only knows what was pushed.
	central bool
}

// here opens repository and log. With fetch set, what the remote has is fetched
// first, so that statements of others are seen.
func (a *app) here(ctx context.Context, purpose string, fetch bool) (*here, error) {
	w, err := a.repo(ctx)
	if err != nil && a.Env("GOVERN_SERVER") == "" {
		return nil, err
	}
	h := &here{a: a, w: w}
	if w != nil {
		if err := h.readLaw(ctx, fetch); err != nil {
			return nil, err
		}
	}
	if h.s, err = a.open(ctx, w, purpose); err != nil {
		return nil, err
	}
	if w != nil {
		e := h.s.Engine()
		h.central = h.remote && (e == nil || e.Dir() != w.DataDir())
		if err := h.follow(ctx); err != nil {
			h.close()
			return nil, err
		}
	}
	return h, nil
}

// open finds the log to talk to: the one that decides, where it can be reached
// (GOVERN_SERVER, this repository's own, or that of a remote on this machine),
// else a clone's own view.
func (a *app) open(ctx context.Context, w Workbench, purpose string) (Session, error) {
	if w != nil && a.Env("GOVERN_SERVER") == "" && a.Env("GOVERN_DIR") == "" {
		if s, ok := a.central(ctx, w, purpose); ok {
			return s, nil
		}
	}
	return a.OpenSession(ctx, w, purpose, "local")
}

// own goes on with the clone's own log: what is asked about was not pushed.
func (h *here) own(ctx context.Context) error {
	s, err := h.a.OpenSession(ctx, h.w, "govern", "local")
	if err != nil {
		return err
	}
	h.close()
	h.s, h.central = s, false
	return h.follow(ctx)
}

// central opens the log beside the remote when that is a folder here. Not being
// allowed to, or there being none, is no error: the clone's own view remains.
func (a *app) central(ctx context.Context, w Workbench, purpose string) (Session, bool) {
	if id, err := engine.ReadIdentity(w.DataDir()); err == nil && !id.Local {
		return nil, false
	}
	url, err := w.Config(ctx, "remote."+remoteName+".url")
	if err != nil || url == "" {
		return nil, false
	}
	dir := strings.TrimPrefix(url, "file://")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(w.WorkTreeDir(), dir)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, false
	}
	there, err := a.OpenRepo(ctx, dir)
	if err != nil {
		return nil, false
	}
	if id, err := engine.ReadIdentity(there.DataDir()); err != nil || id.Local {
		return nil, false
	}
	s, err := a.OpenSession(ctx, there, purpose, "local")
	return s, err == nil
}

func (h *here) readLaw(ctx context.Context, fetch bool) (err error) {
	if h.remote, err = h.w.HasRemote(ctx, remoteName); err != nil {
		return err
	}
	if h.remote && fetch {
		if err := h.w.Fetch(ctx, remoteName); err != nil {
			h.a.talk("note: %s could not be fetched; going by what is here", remoteName)
		}
	}
	if h.law, err = engine.ReadLaw(ctx, h.w); err != nil {
		return uninitialised(err)
	}
	h.me = h.a.whoami(ctx, h.w, h.law.Registry)
	return nil
}

// uninitialised turns what a repository without baseline says into the one
// sentence that helps.
func uninitialised(err error) error {
	switch gov.CodeOf(err) {
	case "default_branch_unknown", "commit_not_found":
		return gov.Errorf(gov.KindNotFound, "not_initialised", "this repository has no governed branch yet: %w", err).WithHint("govern init")
	}
	return err
}

func (h *here) close() { h.s.Close() }

// whoami finds who is asking: by the signing key, else by the address git
// commits with. It is for words only; nothing is decided by it.
func (a *app) whoami(ctx context.Context, w Workbench, reg gov.Registry) gov.Principal {
	if s, err := a.signer(ctx, w); err == nil {
		if p, ok := byKey(reg, s.Fingerprint()); ok {
			return gov.Principal{Handle: p.Handle, Kind: p.Kind}
		}
	}
	if _, email, err := w.Identity(ctx); err == nil {
		if p, ok := reg.ByEmail(email); ok {
			return gov.Principal{Handle: p.Handle, Kind: p.Kind}
		}
	}
	return gov.Principal{Kind: gov.Human}
}

func byKey(reg gov.Registry, fingerprint string) (gov.Person, bool) {
	for _, p := range reg.People {
		if slices.ContainsFunc(p.Keys, func(k gov.Key) bool { return k.Fingerprint == fingerprint }) {
			return p, true
		}
	}
	return gov.Person{}, false
}

// signing gives the key to sign with and whose it is.
func (h *here) signing(ctx context.Context) (Signer, gov.Person, error) {
	s, err := h.a.signer(ctx, h.w)
	if err != nil {
		return nil, gov.Person{}, err
	}
	p, ok := byKey(h.law.Registry, s.Fingerprint())
	if !ok {
		return nil, p, gov.Errorf(gov.KindDenied, "signer_unknown", "the key %s belongs to nobody in %s on %s", s.Fingerprint(), h.law.Policy.People, h.law.Branch).
			WithHint("govern people add HANDLE --key-file FILE.pub   (a change, to be approved)")
	}
	return s, p, nil
}

// target is the commit that changes are compared with.
func (h *here) target() string { return h.law.Commit }

// folder is where the files of a change stand.
func (h *here) folder(id gov.ChangeID) string { return path.Join(h.law.Policy.Changes.Dir, string(id)) }

// statementFile names a statement in the repository.
func (h *here) statementFile(id gov.ChangeID, envelope []byte) string {
	return path.Join(h.folder(id), "statements", gov.DigestOf(envelope).Hex()+".json")
}

// checkpoint is the newest checkpoint of the log, which every statement
// carries: its signer has seen the log that far. "" when none can be had.
func (h *here) checkpoint(ctx context.Context) string {
	c := h.s.Client()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+"/log/checkpoint", nil)
	if err != nil {
		return ""
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(b)
}

// follow tells a clone's own log what was merged elsewhere since it last
// looked; the log beside a hook hears of it from the hook.
func (h *here) follow(ctx context.Context) error {
	e := h.s.Engine()
	if e == nil || !e.Identity().Local {
		return nil
	}
	file := filepath.Join(h.w.DataDir(), "followed")
	b, err := os.ReadFile(file)
	old := strings.TrimSpace(string(b))
	if old == h.law.Commit {
		return nil
	}
	if err == nil {
		if _, err := h.s.Client().Merged(ctx, client.MergedRequest{Ref: "refs/heads/" + h.law.Branch, Old: old, New: h.law.Commit}); err != nil {
			h.a.talk("note: what was merged since %.10s could not be followed: %s", old, plain(err))
		}
	}
	if err := os.WriteFile(file, []byte(h.law.Commit+"\n"), 0o600); err != nil {
		return gov.Errorf(gov.KindUnavailable, "data_dir_unwritable", "%s cannot be written: %w", h.w.DataDir(), err).WithHint("govern doctor")
	}
	return nil
}

// plain is an error's sentence without its code.
func plain(err error) string {
	if e, ok := err.(*gov.Error); ok {
		return e.Message
	}
	return err.Error()
}

// find gives the branch that holds a change: the one named, or the only one.
func (h *here) find(ctx context.Context, id gov.ChangeID, branch string) (engine.Branch, error) {
	if branch == "" {
		return engine.Find(ctx, h.w, h.law.Policy.Changes.Dir, id)
	}
	branches, err := h.w.Branches(ctx)
	if err != nil {
		return engine.Branch{}, err
	}
	var found *engine.Branch
	for _, b := range branches {
		if b.Name != branch {
			continue
		}
		if found == nil {
			found = &b
			continue
		}
		if in, err := h.w.Contains(ctx, b.Commit, found.Commit); err != nil {
			return engine.Branch{}, err
		} else if in {
			found = &b
		}
	}
	if found == nil {
		return engine.Branch{}, gov.Errorf(gov.KindNotFound, "branch_not_found", "there is no branch %q here", branch).WithHint("git branch --all")
	}
	return *found, nil
}

// changesIn lists the changes whose metadata is among paths, and the paths
// that are no record of a change.
func (h *here) changesIn(touched []gov.PathChange) (ids []gov.ChangeID, paths []string) {
	dir := h.law.Policy.Changes.Dir + "/"
	for _, p := range touched {
		rest, in := strings.CutPrefix(p.Path, dir)
		name, file, _ := strings.Cut(rest, "/")
		id, err := gov.ParseChangeID(name)
		switch {
		case !in || err != nil:
			paths = append(paths, p.Path)
		case file == change.MetadataFile && strings.Trim(p.NewMode, "0") != "":
			ids = append(ids, id)
		}
	}
	return ids, paths
}

// sync takes a change in as it stands at a commit.
func (h *here) sync(ctx context.Context, id gov.ChangeID, commit string) (client.Change, error) {
	req := client.SyncRequest{Change: id, Head: commit}
	c, err := h.s.Client().Sync(ctx, req)
	if gov.CodeOf(err) == "commit_not_found" && h.central {
		if err := h.own(ctx); err != nil {
			return c, err
		}
		return h.s.Client().Sync(ctx, req)
	}
	return c, err
}

// show prints the blocked screen in words for whoever asks, or the change.
func (h *here) show(c client.Change) error {
	return h.a.give(c, func(w io.Writer) { h.a.screen(w, c, h.me) })
}

// screen prints how a change stands.
func (a *app) screen(w io.Writer, c client.Change, me gov.Principal) {
	if c.Verdict == nil {
		fmt.Fprintf(w, "%s is %s\n", c.ID, c.Status)
		return
	}
	a.lines(w, change.Screen(*c.Verdict, me))
	if c.Local {
		fmt.Fprintln(w, "note: this is the clone's own view; the log beside "+remoteName+" decides")
	}
}

// lines prints a screen; on a terminal the answer has a colour.
func (a *app) lines(w io.Writer, lines []string) {
	for i, l := range lines {
		if i == 0 {
			l = a.paintAnswer(w, l)
		}
		fmt.Fprintln(w, l)
	}
}

// state decodes the folded state of a change.
func state(c client.Change) (change.State, error) {
	var st change.State
	if err := json.Unmarshal(c.State, &st); err != nil {
		return st, gov.Errorf(gov.KindUnavailable, "answer_unreadable", "the state of %s cannot be read: %w", c.ID, err).WithHint("govern version, here and on the server")
	}
	return st, nil
}

// ownerGroups says who owns paths by the law in force.
func (h *here) ownerGroups(paths []string) (policy.Grouped, error) {
	rules := h.law.Policy.Owners.Rules
	if len(rules) == 0 {
		rules = h.law.Owners
	}
	return policy.Owners(rules, policy.Members(h.law.Registry), paths)
}

// now is the time that statements carry for information.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// changeArg reads a change id.
func changeArg(s string) (gov.ChangeID, error) {
	id, err := gov.ParseChangeID(strings.ToUpper(s))
	if e, ok := errors.AsType[*gov.Error](err); ok && e.Hint == "" {
		return "", e.WithHint("govern change list")
	}
	return id, err
}

// why refuses an empty reason before anything is done.
func why(s string) error {
	if strings.TrimSpace(s) == "" {
		return gov.Errorf(gov.KindInvalid, "reason_missing", "a reason is needed").WithHint("add -m WHY")
	}
	return nil
}
