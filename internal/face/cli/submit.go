package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

// submitFlags are what an author may say about a change; what is left out comes
// from git, from what stands in the file already, or from a default.
type submitFlags struct {
	why, risk, impact, owner, rollback, typ, model string
	tests, artifacts, targets, contracts           []string
	agent, session, sponsor                        string
	branch                                         string
	noPush, renumber, force                        bool
}

func (f *submitFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&f.why, "message", "m", "", "why the change is made (required)")
	fl.StringVar(&f.risk, "risk", "", "low, medium, high or critical (default low; rules may raise it)")
	fl.StringVar(&f.impact, "impact", "", "what is affected (default: from the touched paths)")
	fl.StringVar(&f.owner, "owner", "", "who owns it (default: an owner of the touched paths)")
	fl.StringVar(&f.rollback, "rollback-plan", "", "how it is taken back (default: the revert of the merge)")
	fl.StringVar(&f.typ, "type", "", "feature, bugfix, refactor or security")
	fl.StringVar(&f.model, "model", "", "id of the model that it updates")
	fl.StringArrayVar(&f.tests, "test", nil, "id of a test that was run (may be repeated)")
	fl.StringArrayVar(&f.artifacts, "artifact", nil, "path of an artifact (may be repeated)")
	fl.StringArrayVar(&f.targets, "target", nil, "target of governance.yaml (may be repeated)")
	fl.StringArrayVar(&f.contracts, "contract", nil, "contract file that is affected (may be repeated)")
	fl.StringVar(&f.agent, "agent", "", "agent that had a hand in it")
	fl.StringVar(&f.session, "session", "", "session of the agent")
	fl.StringVar(&f.sponsor, "sponsor", "", "who answers for the agent (default: from the registry)")
}

func (a *app) submit() *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		Use: "submit -m WHY", Short: "propose the current branch as a change", GroupID: groupChange, Args: cobra.NoArgs,
		Long: `Writes changes/CHANGE-n/change_metadata.json from git, the owners and the policy,
commits it to the current branch, signs the proposal, pushes the branch when
there is a remote named origin, and says what is missing. Running it again on the
same branch proposes what the branch holds then. The exit code is that of the
verdict: 9 while people or evidence are missing.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := why(f.why); err != nil {
				return err
			}
			h, err := a.here(cmd.Context(), "govern submit", !f.noPush)
			if err != nil {
				return err
			}
			defer h.close()
			return (&submission{here: h, f: f}).run(cmd.Context())
		},
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.branch, "branch", "", "branch that holds the change (default: the current one)")
	fl.BoolVar(&f.noPush, "no-push", false, "do not push")
	fl.BoolVar(&f.renumber, "renumber", false, "take the next free number")
	fl.BoolVar(&f.force, "force", false, "replace the pushed branch (after a rebase)")
	return cmd
}

// submission is one run of submit.
type submission struct {
	*here
	f      submitFlags
	branch string
	id     gov.ChangeID
	old    *change.Metadata // what the branch holds already
	first  bool             // nobody has proposed this branch under this number before
}

// maxRenumbered bounds how often a first submission takes the next number
// because others were faster.
const maxRenumbered = 5

func (s *submission) run(ctx context.Context) error {
	signer, me, err := s.signing(ctx)
	if err != nil {
		return err
	}
	if err := s.onBranch(ctx); err != nil {
		return err
	}
	if err := s.joinRemote(ctx); err != nil {
		return err
	}
	c, err := s.attempt(ctx, signer, me)
	for n := 0; n < maxRenumbered && s.first && gov.CodeOf(err) == "change_exists"; n++ {
		s.a.talk("note: %s was taken by another change meanwhile; this one takes the next number", s.id)
		s.f.renumber = true
		c, err = s.attempt(ctx, signer, me)
	}
	if err != nil {
		return err
	}
	if err := s.show(c); err != nil || c.Verdict == nil {
		return err
	}
	return exitOfAnswer(c.Verdict.Answer)
}

// attempt proposes the branch under one number and asks what is missing.
func (s *submission) attempt(ctx context.Context, signer Signer, me gov.Person) (client.Change, error) {
	paths, err := s.identify(ctx)
	if err != nil {
		return client.Change{}, err
	}
	if err := s.write(ctx, paths); err != nil {
		return client.Change{}, err
	}
	if err := s.propose(ctx, signer, me); err != nil {
		return client.Change{}, err
	}
	if err := s.push(ctx, s.branch, s.f.noPush, s.f.force); err != nil {
		return client.Change{}, err
	}
	head, err := s.w.Resolve(ctx, "refs/heads/"+s.branch)
	if err != nil {
		return client.Change{}, err
	}
	return s.sync(ctx, s.id, head)
}

// onBranch refuses everything but a branch of its own.
func (s *submission) onBranch(ctx context.Context) (err error) {
	if s.branch = s.f.branch; s.branch == "" {
		if s.branch, err = s.w.CurrentBranch(ctx); err != nil {
			return err
		}
	}
	governed := s.branch == s.law.Branch || slices.ContainsFunc(s.law.Policy.Branches, func(p string) bool {
		ok, err := path.Match(p, s.branch)
		return ok || err != nil
	})
	switch {
	case s.branch == "":
		return gov.Errorf(gov.KindConflict, "head_detached", "HEAD is not on a branch").WithHint("git switch -c BRANCH")
	case governed:
		return gov.Errorf(gov.KindRefused, "on_governed_branch", "%s is governed: a change is made on a branch of its own", s.branch).
			WithHint("git switch -c NAME")
	}
	if clean, err := s.w.Clean(ctx); err == nil && !clean && !s.w.IsBare() {
		s.a.talk("note: the work tree holds changes that are not committed; they are not part of this")
	}
	return nil
}

// joinRemote brings home the statements that others put on the pushed branch.
func (s *submission) joinRemote(ctx context.Context) error {
	if !s.remote || s.f.noPush {
		return nil
	}
	there, err := s.w.Resolve(ctx, "refs/remotes/"+remoteName+"/"+s.branch)
	if gov.KindOf(err) == gov.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	head, err := s.w.Resolve(ctx, "refs/heads/"+s.branch)
	if err != nil {
		return err
	}
	if in, err := s.w.Contains(ctx, head, there); err != nil || in {
		return err
	}
	base, err := s.w.MergeBase(ctx, head, there)
	if err != nil {
		return err
	}
	files, only, err := s.statementsSince(ctx, base, there)
	if err != nil {
		return err
	}
	switch {
	case only:
		_, err = s.w.JoinFiles(ctx, s.branch, there, files, "statements of "+s.branch)
	case s.f.force:
		_, err = s.w.AddFiles(ctx, s.branch, files, "statements of "+s.branch)
	default:
		err = gov.Errorf(gov.KindConflict, "push_not_fast_forward", "%s on %s holds commits that are not here", s.branch, remoteName).
			WithHint("git pull --rebase   (or, after a rebase of your own: govern submit -m WHY --force)")
	}
	return err
}

// statementsSince reads the statement files that stand at commit there, and
// tells whether it holds nothing else that base has not.
func (s *submission) statementsSince(ctx context.Context, base, there string) (map[string][]byte, bool, error) {
	dir := s.law.Policy.Changes.Dir
	names, err := s.w.ListFiles(ctx, there, dir)
	if err != nil {
		return nil, false, err
	}
	files := map[string][]byte{}
	for _, n := range names {
		folder := path.Dir(n)
		if path.Base(folder) != "statements" || path.Dir(path.Dir(folder)) != dir {
			continue
		}
		if _, err := s.w.ReadFile(ctx, s.target(), n); err == nil {
			continue
		}
		if files[n], err = s.w.ReadFile(ctx, there, n); err != nil {
			return nil, false, err
		}
	}
	_, paths, err := s.w.Between(ctx, base, there, "")
	if err != nil {
		return nil, false, err
	}
	only := !slices.ContainsFunc(paths, func(p gov.PathChange) bool { _, ok := files[p.Path]; return !ok })
	return files, only, nil
}

// identify finds which change the branch holds, or gives it the next number.
// The paths are those it touches.
func (s *submission) identify(ctx context.Context) ([]string, error) {
	head, err := s.w.Resolve(ctx, "refs/heads/"+s.branch)
	if err != nil {
		return nil, err
	}
	base, err := s.w.MergeBase(ctx, s.target(), head)
	if err != nil {
		return nil, err
	}
	_, touched, err := s.w.Between(ctx, base, head, "")
	if err != nil {
		return nil, err
	}
	ids, paths := s.changesIn(touched)
	switch {
	case len(ids) > 1:
		return nil, gov.Errorf(gov.KindConflict, "change_ambiguous", "%s holds the metadata of %s and %s; a branch holds one change", s.branch, ids[0], ids[1]).
			WithHint("git switch -c NAME %s", s.law.Branch)
	case len(ids) == 0 && len(paths) == 0:
		return nil, gov.Errorf(gov.KindInvalid, "nothing_to_submit", "%s holds nothing that %s does not have", s.branch, s.law.Branch).WithHint("git commit, then govern submit -m WHY")
	case len(ids) == 1:
		if err := s.readOld(ctx, ids[0], head); err != nil {
			return nil, err
		}
		if s.id = ids[0]; !s.f.renumber {
			return paths, nil
		}
	}
	next, err := s.nextID(ctx)
	if err != nil {
		return nil, err
	}
	if s.old != nil {
		if _, err := s.w.RemoveFolder(ctx, s.folder(s.id), fmt.Sprintf("%s becomes %s", s.id, next)); err != nil {
			return nil, err
		}
	}
	s.id = next
	return paths, nil
}

func (s *submission) readOld(ctx context.Context, id gov.ChangeID, head string) error {
	b, err := s.w.ReadFile(ctx, head, path.Join(s.folder(id), change.MetadataFile))
	if err != nil {
		return err
	}
	m, err := change.ParseMetadata(b)
	if err != nil {
		return err
	}
	if m.ChangeID != id && !s.f.renumber {
		return gov.Errorf(gov.KindInvalid, "change_id_mismatch", "the file of %s says it is %s", id, m.ChangeID).WithHint("govern change edit %s", id)
	}
	s.old = &m
	return nil
}

// nextID is above every number on a branch here and in the log.
func (s *submission) nextID(ctx context.Context) (gov.ChangeID, error) {
	known, err := s.s.Client().Changes(ctx, "")
	if err != nil {
		return "", err
	}
	floor := 0
	for _, c := range known.Changes {
		floor = max(floor, c.ID.Number())
	}
	return s.w.NextChangeID(ctx, floor)
}

// write commits the metadata file. The same words about the same things leave
// the file as it is, so that nothing that was signed falls.
func (s *submission) write(ctx context.Context, paths []string) error {
	m, err := s.metadata(ctx, paths)
	if err != nil {
		return err
	}
	if s.old != nil && s.old.ChangeID == m.ChangeID && sameWords(*s.old, m) {
		return nil
	}
	b, err := m.Print()
	if err != nil {
		return err
	}
	if _, err := change.ParseMetadata(b); err != nil {
		return err
	}
	files := map[string][]byte{path.Join(s.folder(s.id), change.MetadataFile): b}
	_, err = s.w.AddFiles(ctx, s.branch, files, fmt.Sprintf("%s: %s", s.id, firstLine(s.f.why)))
	return err
}

// sameWords compares all but the time of writing.
func sameWords(old, m change.Metadata) bool {
	m.Timestamp = old.Timestamp
	a, errA := old.Print()
	b, errB := m.Print()
	return errA == nil && errB == nil && string(a) == string(b)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// propose signs what the branch holds now, unless this key has done so.
func (s *submission) propose(ctx context.Context, signer Signer, me gov.Person) error {
	head, err := s.w.Resolve(ctx, "refs/heads/"+s.branch)
	if err != nil {
		return err
	}
	rev, _, err := s.w.Revision(ctx, s.target(), head, s.id)
	if err != nil {
		return err
	}
	done, previous, err := s.proposed(ctx, head, rev, me)
	if s.first = previous == ""; s.remote && !s.first {
		_, there := s.w.Resolve(ctx, "refs/remotes/"+remoteName+"/"+s.branch)
		s.first = gov.KindOf(there) == gov.KindNotFound // proposed here and never pushed
	}
	if err != nil || done {
		return err
	}
	m, err := s.w.ReadFile(ctx, head, path.Join(s.folder(s.id), change.MetadataFile))
	if err != nil {
		return err
	}
	parsed, err := change.ParseMetadata(m)
	if err != nil {
		return err
	}
	env, err := signer.Seal(ctx, gov.Statement{
		Decision: gov.DecidePropose, Stage: "propose", Change: s.id, Revision: rev, Risk: parsed.RiskLevel, Policy: s.law.Digest,
		Subject: previous, Rationale: s.f.why, Issued: now(), Checkpoint: s.checkpoint(ctx),
	})
	if err != nil {
		return err
	}
	_, err = s.w.AddFiles(ctx, s.branch, map[string][]byte{s.statementFile(s.id, env): env}, fmt.Sprintf("%s: proposed by %s", s.id, me.Handle))
	return err
}

// proposed tells whether a statement file on the branch proposes this revision
// in this person's name already, and which is the newest proposal there: a new
// one replaces it. It goes by what the files say: an invalid one is found out
// when the change is taken in.
func (s *submission) proposed(ctx context.Context, head string, rev gov.Revision, me gov.Person) (done bool, newest gov.Digest, err error) {
	names, err := s.w.ListFiles(ctx, head, s.folder(s.id)+"/statements")
	if err != nil {
		return false, "", err
	}
	var issued time.Time
	for _, n := range names {
		b, err := s.w.ReadFile(ctx, head, n)
		if err != nil {
			return false, "", err
		}
		e, err := readEnvelope(b)
		if err != nil || e.statement.Decision != gov.DecidePropose || e.statement.Change != s.id || !slices.ContainsFunc(s.law.Registry.People, e.signedBy) {
			continue
		}
		done = done || e.signedBy(me) && e.statement.Revision.Change == rev.Change
		if newest == "" || e.statement.Issued.After(issued) {
			newest, issued = gov.DigestOf(b), e.statement.Issued
		}
	}
	if newest != "" || s.old == nil || s.f.renumber || s.remote {
		return done, newest, nil
	}
	// A branch that was squashed by hand: without a remote there is one clone, and
	// the number that stood on its branch is its own in the log.
	newest, err = s.inLog(ctx)
	return done, newest, err
}

// inLog is the newest proposal of this change that the log has.
func (s *submission) inLog(ctx context.Context) (gov.Digest, error) {
	c, err := s.s.Client().Change(ctx, s.id, "")
	if gov.KindOf(err) == gov.KindNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var st change.State
	if err := json.Unmarshal(c.State, &st); err != nil {
		return "", err
	}
	for _, r := range slices.Backward(st.Statements) {
		if r.Decision == gov.DecidePropose {
			return r.Digest, nil
		}
	}
	return "", nil
}

// signedBy goes by the key that the file names.
func (e envelope) signedBy(p gov.Person) bool {
	return slices.ContainsFunc(p.Keys, func(k gov.Key) bool { return slices.Contains(e.keys, k.Fingerprint) })
}

// envelope is what a statement file says, unverified.
type envelope struct {
	statement gov.Statement
	keys      []string
}

func readEnvelope(b []byte) (envelope, error) {
	var outer struct {
		Payload    []byte `json:"payload"`
		Signatures []struct {
			KeyID string `json:"keyid"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(b, &outer); err != nil {
		return envelope{}, err
	}
	var inner struct {
		Predicate gov.Statement `json:"predicate"`
	}
	if err := json.Unmarshal(outer.Payload, &inner); err != nil {
		return envelope{}, err
	}
	e := envelope{statement: inner.Predicate}
	for _, s := range outer.Signatures {
		e.keys = append(e.keys, s.KeyID)
	}
	return e, nil
}

// push sends a branch to the remote and passes on what it says.
func (h *here) push(ctx context.Context, branch string, skip, force bool) error {
	if skip || !h.remote {
		return nil
	}
	spec := "refs/heads/" + branch + ":refs/heads/" + branch
	if force {
		spec = "+" + spec
	}
	return h.pushSpec(ctx, spec)
}

func (h *here) pushSpec(ctx context.Context, spec string) error {
	lines, err := h.w.Push(ctx, remoteName, spec)
	if gov.CodeOf(err) == "push_rejected" && slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "[change_exists]") }) {
		err = gov.Errorf(gov.KindConflict, "change_exists", "%s has another change of this number", remoteName).WithHint("govern submit --renumber -m WHY")
	}
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			h.a.talk("%s: %s", remoteName, printable(l))
		}
	}
	return err
}
