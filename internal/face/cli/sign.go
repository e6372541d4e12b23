package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/approval"
	"github.com/governhq/govern/internal/rule/change"
)

// signFlags are what a signer may say.
type signFlags struct {
	why, stage, role, branch, assessment, only string
	expires                                    time.Duration
	requirements                               []string
	subject                                    string
}

// signCommands are those that put a person's key to a change.
func (a *app) signCommands() []*cobra.Command {
	return []*cobra.Command{
		a.signing(gov.DecideApprove, "approve ID -m WHY", "sign that a change may go ahead", approving),
		a.signing(gov.DecideReject, "reject ID -m WHY", "sign that a change must not go ahead as it is", rejecting),
		a.signing(gov.DecideRevoke, "revoke ID [STATEMENT] -m WHY", "take a statement of your own back (the newest, unless named)", revoking),
		a.signing(gov.DecideOverride, "override ID --requirement R --expires D -m WHY", "break the glass: lift a requirement; a review falls due", overriding),
		a.signing(gov.DecideReview, "review ID --subject DIGEST -m FINDING", "close the review of what was done in a hurry", reviewing),
	}
}

// signing makes one of the commands; fill gives the statements to be signed.
func (a *app) signing(d gov.Decision, use, short string, fill func(context.Context, *signature) ([]gov.Statement, error)) *cobra.Command {
	var f signFlags
	args := cobra.ExactArgs(1)
	if d == gov.DecideRevoke {
		args = cobra.RangeArgs(1, 2)
	}
	cmd := &cobra.Command{
		Use: use, Short: short, GroupID: groupChange, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := changeArg(args[0])
			if err != nil {
				return err
			}
			if err := why(f.why); err != nil {
				return err
			}
			if len(args) > 1 {
				f.subject = args[1]
			}
			h, err := a.here(cmd.Context(), "govern "+string(d), true)
			if err != nil {
				return err
			}
			defer h.close()
			return (&signature{here: h, id: id, f: f, decision: d}).run(cmd.Context(), fill)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.why, "message", "m", "", "the reason, which is signed (required)")
	fl.StringVar(&f.role, "role", "", "role worn (default: every missing role that your key can give)")
	fl.StringVar(&f.branch, "branch", "", "branch that holds the change (default: found)")
	fl.StringVar(&f.only, "sign-only", "", "write the signed statement to this file and do nothing else (- for stdout)")
	switch d {
	case gov.DecideApprove, gov.DecideReject:
		fl.StringVar(&f.stage, "stage", "", "review, final or revert (default: where the change stands)")
		fl.StringVar(&f.assessment, "risk-assessment", "", "what can go wrong (demanded for models)")
		fl.DurationVar(&f.expires, "expires", 0, "how long it is valid, such as 24h (default: without end)")
	case gov.DecideOverride:
		fl.StringArrayVar(&f.requirements, "requirement", nil, "id of a requirement, such as validate/tests (may be repeated)")
		fl.DurationVar(&f.expires, "expires", 0, "how long it lifts them, such as 4h (required)")
	case gov.DecideReview:
		fl.StringVar(&f.subject, "subject", "", "digest of what is reviewed, as govern inbox names it (required)")
	}
	return cmd
}

// signature is one run of a signing command.
type signature struct {
	*here
	id       gov.ChangeID
	f        signFlags
	decision gov.Decision

	signer Signer
	person gov.Person
	place  place         // branch to write to; its Ref is "" when there is none
	change client.Change // as it stands
	rev    gov.Revision  // as computed here
	paths  []gov.PathChange
}

func (s *signature) run(ctx context.Context, fill func(context.Context, *signature) ([]gov.Statement, error)) (err error) {
	if s.signer, s.person, err = s.signing(ctx); err != nil {
		return err
	}
	if s.revert() {
		err = s.readRevert(ctx)
	} else {
		err = s.read(ctx)
	}
	if err != nil {
		return err
	}
	sts, err := fill(ctx, s)
	if err != nil {
		return err
	}
	envelopes, err := s.seal(ctx, sts)
	if err != nil {
		return err
	}
	if s.f.only != "" {
		return s.writeOnly(envelopes)
	}
	return s.hand(ctx, envelopes)
}

func (s *signature) revert() bool { return s.f.stage == approval.StageRevert }

// read finds the change, takes it in as it stands, and computes here what will
// be signed: a server's word for it is not taken.
func (s *signature) read(ctx context.Context) error {
	b, err := s.find(ctx, s.id, s.f.branch)
	if gov.CodeOf(err) == "change_branch_missing" {
		// Merged or withdrawn: reviews and revocations need no branch.
		c, known := s.s.Client().Change(ctx, s.id, s.me.Handle)
		if known != nil || c.Status == string(change.Open) {
			return err
		}
		s.change = c
		st, err := state(c)
		s.rev = st.Revision
		return err
	}
	if err != nil {
		return err
	}
	s.place = place{id: s.id, branch: b, law: s.law}
	if s.rev, s.paths, err = s.w.Revision(ctx, s.target(), b.Commit, s.id); err != nil {
		return err
	}
	if s.change, err = s.sync(ctx, s.id, b.Commit); err != nil {
		return err
	}
	if v := s.change.Verdict; v != nil && v.Revision.Change != s.rev.Change {
		return gov.Errorf(gov.KindConflict, "revision_differs", "the log judges content %s, and here stands %s", v.Revision.Change.Short(), s.rev.Change.Short()).
			WithHint("git fetch, then govern status %s", s.id)
	}
	return nil
}

// readRevert finds the branch that takes a merged change back.
func (s *signature) readRevert(ctx context.Context) error {
	name := s.f.branch
	if name == "" {
		name = revertBranch(s.id)
	}
	b, err := s.find(ctx, s.id, name)
	if err != nil {
		return err
	}
	s.place = place{id: s.id, branch: b, law: s.law}
	base, err := s.w.MergeBase(ctx, s.target(), b.Commit)
	if err != nil {
		return err
	}
	s.rev, s.paths, err = s.w.Between(ctx, base, b.Commit, s.id)
	return err
}

// statement is what every statement of this run has.
func (s *signature) statement() gov.Statement {
	st := gov.Statement{
		Decision: s.decision, Change: s.id, Revision: s.rev, Policy: s.law.Digest, Rationale: s.f.why,
		RiskAssessment: s.f.assessment, Issued: now(),
	}
	if v := s.change.Verdict; v != nil {
		st.Risk = v.Risk
	}
	if s.revert() {
		st.Stage, st.Risk = approval.StageRevert, gov.RiskCritical
	}
	if s.f.expires > 0 {
		st.Expires = now().Add(s.f.expires)
	}
	return st
}

// seal says what is signed, and signs it.
func (s *signature) seal(ctx context.Context, sts []gov.Statement) ([][]byte, error) {
	seen := s.checkpoint(ctx)
	var out [][]byte
	for _, st := range sts {
		st.Checkpoint = seen
		s.a.talk("%s", s.summary(st))
		env, err := s.signer.Seal(ctx, st)
		if err != nil {
			return nil, err
		}
		out = append(out, env)
	}
	return out, nil
}

// summary is what is signed, in one or two lines.
func (s *signature) summary(st gov.Statement) string {
	text := fmt.Sprintf("%s signs: %s %s", s.person.Handle, st.Decision, st.Change)
	if st.Stage != "" {
		text += " at " + st.Stage
	}
	if st.Role != "" {
		text += " as " + st.Role
	}
	if st.Subject != "" {
		text += " of " + st.Subject.Short()
	}
	text += fmt.Sprintf("\n  content %s (%s), risk %s", st.Revision.Change.Short(), count(len(s.paths), "path"), st.Risk)
	if st.Outcome != nil {
		text += fmt.Sprintf("; outcome of attempt %d on %s, verdict %s", st.Outcome.Attempt, st.Outcome.Target, st.Outcome.Verdict.Short())
	}
	return text
}

func (s *signature) writeOnly(envelopes [][]byte) error {
	if len(envelopes) != 1 {
		return gov.Errorf(gov.KindInvalid, "sign_only_several", "%d statements would be signed, and one file holds one", len(envelopes)).WithHint("add --role ROLE")
	}
	if s.f.only == "-" {
		_, err := s.a.Stdout.Write(envelopes[0])
		return err
	}
	f, err := os.OpenFile(s.f.only, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return gov.Errorf(gov.KindConflict, "file_exists", "the statement cannot be written: %w", err).WithHint("name another file")
	}
	_, err = f.Write(envelopes[0])
	return errors.Join(err, f.Close())
}

// hand puts the statements on the branch and into the log.
func (s *signature) hand(ctx context.Context, envelopes [][]byte) error {
	var err error
	switch {
	case s.revert():
		return s.handRevert(ctx, envelopes)
	case s.place.branch.Ref == "":
		s.change, err = s.a.hand(ctx, s.s, envelopes)
	default:
		s.change, err = s.deliver(ctx, envelopes)
	}
	if err != nil {
		return err
	}
	if err := s.show(s.change); err != nil {
		return err
	}
	return s.exit()
}

// deliver commits the statements onto the branch that was read and takes them in.
func (s *signature) deliver(ctx context.Context, envelopes [][]byte) (client.Change, error) {
	commit, err := s.a.commitStatements(ctx, s.w, s.place, envelopes)
	if err != nil {
		return client.Change{}, err
	}
	c, err := s.sync(ctx, s.id, commit)
	if gov.CodeOf(err) == "commit_not_found" {
		return s.a.hand(ctx, s.s, envelopes) // a server whose repository the branch has not reached
	}
	return c, err
}

// exit is 0 where the statement did what it was for: an approval that counts is
// a success even while others are missing.
func (s *signature) exit() error {
	v := s.change.Verdict
	if v == nil {
		return nil
	}
	for _, n := range v.NotCounted {
		if n.Signer == s.person.Handle && n.Decision == s.decision && n.Decision != gov.DecideRevoke && n.Code != approval.CodeRevoked && n.Code != approval.CodeOtherRevision && n.Code != approval.CodeSamePerson {
			return Exit(ExitRefused)
		}
	}
	if s.decision == gov.DecideApprove {
		return exitOfAnswer(v.Answer)
	}
	return nil
}

// handRevert leaves the statement on the branch of the revert: the gate takes it
// in when the branch is pushed to where it aims.
func (s *signature) handRevert(ctx context.Context, envelopes [][]byte) error {
	commit, err := s.a.commitStatements(ctx, s.w, s.place, envelopes)
	if err != nil {
		return err
	}
	ans, err := s.s.Client().Gate(ctx, client.GateRequest{Ref: "refs/heads/" + s.law.Branch, Old: s.target(), New: commit})
	if err != nil {
		return err
	}
	if err := s.a.give(ans, func(w io.Writer) { s.a.gateText(w, ans, s.me) }); err != nil {
		return err
	}
	if ans.Passes {
		s.a.talk("next: git push %s %.12s:%s", remoteName, commit, s.law.Branch)
	}
	return exitOfGate(ans)
}

func approving(_ context.Context, s *signature) ([]gov.Statement, error) {
	st := s.statement()
	if s.revert() {
		st.Role = approval.RoleOwner
		if s.f.role != "" {
			st.Role = s.f.role
		}
		return []gov.Statement{st}, nil
	}
	if s.change.Verdict == nil {
		return nil, gov.Errorf(gov.KindConflict, "change_closed", "%s is %s, so there is nothing to approve", s.id, s.change.Status).WithHint("govern status %s", s.id)
	}
	stage, roles := s.wanted()
	if len(roles) == 0 {
		s.a.screen(s.a.Stderr, s.change, s.me)
		return nil, gov.Errorf(gov.KindConflict, "nothing_to_approve", "%s has nothing to approve on %s now", s.person.Handle, s.id).
			WithHint("govern change missing %s", s.id)
	}
	var out []gov.Statement
	for _, role := range roles {
		st := st
		st.Stage, st.Role = stage, role
		if stage == change.StageMerge || stage == "" {
			st.Stage = "review"
		}
		if stage == "final" {
			st.Outcome = s.change.Outcome
			if st.Outcome == nil {
				return nil, gov.Errorf(gov.KindPending, "outcome_missing", "there is no outcome of %s to approve yet, or this log does not know it", s.id).
					WithHint("govern rollout status   (set GOVERN_SERVER to ask the log that decides)")
			}
		}
		out = append(out, st)
	}
	return out, nil
}

// wanted is the stage to sign for and the roles that are missing there and that
// the signer can give. A role or stage that was named is signed as it is said.
func (s *signature) wanted() (stage string, roles []string) {
	stage = s.f.stage
	if stage == "" {
		stage = s.openStage()
	}
	if s.f.role != "" {
		return stage, []string{s.f.role}
	}
	for r := range s.change.Verdict.Leaves {
		at, role, ok := approvalOf(r)
		if ok && at == stage && r.State == gov.Missing && slices.Contains(r.Who, s.person.Handle) && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return stage, roles
}

// openStage is the first stage that waits for an approval, preferring one that
// this signer can give.
func (s *signature) openStage() string {
	first := ""
	for r := range s.change.Verdict.Leaves {
		at, _, ok := approvalOf(r)
		if !ok || r.State != gov.Missing {
			continue
		}
		if slices.Contains(r.Who, s.person.Handle) {
			return at
		}
		if first == "" {
			first = at
		}
	}
	if first == "" {
		return s.change.Verdict.Stage
	}
	return first
}

// approvalOf reads stage and role from the id of an approval's requirement:
// "final/owner2@prod" is the second group of owners of the target prod.
func approvalOf(r gov.Requirement) (stage, role string, ok bool) {
	if r.Kind != "approval" {
		return "", "", false
	}
	stage, role, ok = strings.Cut(r.ID, "/")
	role, _, _ = strings.Cut(role, "@")
	if trimmed := strings.TrimRight(role, "0123456789"); trimmed == approval.RoleOwner {
		role = trimmed
	}
	return stage, role, ok
}

func rejecting(_ context.Context, s *signature) ([]gov.Statement, error) {
	st := s.statement()
	st.Stage, st.Role = s.f.stage, s.f.role
	if v := s.change.Verdict; v != nil {
		for r := range v.Leaves {
			at, role, ok := approvalOf(r)
			if !ok || st.Stage != "" && at != st.Stage || !slices.Contains(slices.Concat(r.Who, r.By), s.person.Handle) {
				continue
			}
			if st.Stage == "" {
				st.Stage = at
			}
			if st.Role == "" {
				st.Role = role
			}
			break
		}
		if st.Stage == "" {
			st.Stage = v.Stage
		}
	}
	return []gov.Statement{st}, nil
}

func revoking(_ context.Context, s *signature) ([]gov.Statement, error) {
	folded, err := state(s.change)
	if err != nil {
		return nil, err
	}
	var mine []gov.Recorded
	for _, r := range folded.Statements {
		taken := slices.ContainsFunc(folded.Statements, func(o gov.Recorded) bool { return o.Decision == gov.DecideRevoke && o.Subject == r.Digest })
		if r.Signer == s.person.Handle && r.Decision != gov.DecideRevoke && r.Decision != gov.DecidePropose && !taken {
			mine = append(mine, r)
		}
	}
	if s.f.subject != "" {
		want := strings.TrimPrefix(s.f.subject, "sha256:")
		mine = slices.DeleteFunc(mine, func(r gov.Recorded) bool { return !strings.HasPrefix(r.Digest.Hex(), want) })
	}
	if len(mine) == 0 || s.f.subject != "" && len(mine) > 1 {
		return nil, gov.Errorf(gov.KindNotFound, "statement_not_found", "%s has %d statements on %s that this could take back", s.person.Handle, len(mine), s.id).
			WithHint("govern change show %s", s.id)
	}
	last := mine[len(mine)-1]
	st := s.statement()
	st.Subject, st.Stage, st.Role = last.Digest, last.Stage, last.Role
	return []gov.Statement{st}, nil
}

func overriding(_ context.Context, s *signature) ([]gov.Statement, error) {
	if len(s.f.requirements) == 0 || s.f.expires <= 0 {
		return nil, gov.Errorf(gov.KindInvalid, "override_incomplete", "break-glass names the requirements it lifts and when it ends").
			WithHint("govern override %s --requirement validate/tests --expires 4h -m WHY", s.id)
	}
	if s.change.Verdict != nil {
		for _, want := range s.f.requirements {
			if !hasRequirement(s.change.Verdict.Stages, want) {
				return nil, gov.Errorf(gov.KindNotFound, "requirement_unknown", "%s has no requirement %q", s.id, want).WithHint("govern change missing %s", s.id)
			}
		}
	}
	st := s.statement()
	st.Requirements, st.Role = s.f.requirements, s.breakerRole()
	return []gov.Statement{st}, nil
}

func hasRequirement(rs []gov.Requirement, id string) bool {
	return slices.ContainsFunc(rs, func(r gov.Requirement) bool { return r.ID == id || hasRequirement(r.Children, id) })
}

// breakerRole is the role in which break-glass and its review are signed.
func (s *signature) breakerRole() string {
	switch {
	case s.f.role != "":
		return s.f.role
	case slices.Contains(s.person.Roles, "security_lead"):
		return "security_lead"
	default:
		return approval.RoleOwner
	}
}

func reviewing(_ context.Context, s *signature) ([]gov.Statement, error) {
	d, err := gov.ParseDigest(s.f.subject)
	if err != nil {
		return nil, gov.Errorf(gov.KindInvalid, "subject_missing", "a review names what it is about").WithHint("govern inbox --all")
	}
	st := s.statement()
	st.Subject, st.Role = d, s.breakerRole()
	return []gov.Statement{st}, nil
}
