package approval

import (
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Judge answers every Want of every stage in one call.
func Judge(f Facts) Answer {
	j := newJudge(f)
	j.judgeRejections()
	j.judgeApprovals()
	j.judgeOverrides()
	j.judgeReviews()
	j.judgeRevocations()
	for i := range f.Wants {
		j.answer.Requirements = append(j.answer.Requirements, j.requirement(i))
	}
	j.notes()
	return j.answer
}

// judge holds what one call works out.
type judge struct {
	f       Facts
	ids     gov.Identities
	authors map[string]bool // identities behind the authors
	people  map[string]gov.Person
	revoked map[gov.Digest]bool // subjects that their signers took back

	// fits[i] lists the statements that count for want i, in log order.
	fits map[int][]gov.Recorded
	// filled[i] is the statement that fills want i.
	filled map[int]gov.Recorded
	// rejected[i] lists who rejected and could wear the role of want i.
	rejected map[int][]string
	lifted   map[string]Override

	answer Answer
}

func newJudge(f Facts) *judge {
	f.Statements = distinct(f.Statements)
	j := &judge{
		f: f, ids: gov.IdentitiesOf(f.People), people: map[string]gov.Person{},
		fits: map[int][]gov.Recorded{}, filled: map[int]gov.Recorded{},
		rejected: map[int][]string{}, lifted: map[string]Override{},
	}
	j.authors = j.ids.Behind(f.Authors)
	for _, p := range f.People {
		if _, twice := j.people[p.Handle]; !twice {
			j.people[p.Handle] = p
		}
	}
	j.revoked = j.revocations()
	return j
}

// distinct drops repetitions of one statement.
func distinct(in []gov.Recorded) []gov.Recorded {
	seen := map[gov.Digest]bool{}
	return slices.DeleteFunc(slices.Clone(in), func(s gov.Recorded) bool {
		twice := seen[s.Digest]
		seen[s.Digest] = true
		return twice
	})
}

// revocations works out what was taken back. A rejection is only taken back by
// a statement that would itself be believed.
func (j *judge) revocations() map[gov.Digest]bool {
	signed := map[gov.Digest]gov.Recorded{}
	for _, s := range j.f.Statements {
		signed[s.Digest] = s
	}
	out := map[gov.Digest]bool{}
	for _, r := range j.f.Statements {
		s, known := signed[r.Subject]
		if r.Decision != gov.DecideRevoke || !known || r.Signer != s.Signer {
			continue
		}
		if s.Decision == gov.DecideReject && (r.Change != j.f.Change || j.signer(r) != nil) {
			continue
		}
		out[s.Digest] = true
	}
	return out
}

// no is why a statement does not count.
type no struct{ code, why string }

// signer checks that the signer is a human of the registry and that the key was
// and is his.
func (j *judge) signer(s gov.Recorded) *no {
	p, known := j.people[s.Signer]
	if !known {
		return &no{CodeSignerUnknown, s.Signer + " is not in the registry any more"}
	}
	if s.SignerKind != gov.Human || p.Kind != gov.Human {
		return &no{CodeNotHuman, s.Signer + " is no person; only people approve"}
	}
	i := slices.IndexFunc(p.Keys, func(k gov.Key) bool { return k.Fingerprint == s.Key })
	switch {
	case i < 0:
		return &no{CodeKeyRemoved, "the key is not in the registry under " + s.Signer + " any more"}
	case !p.Keys[i].ValidAt(s.Time):
		return &no{CodeKeyExpired, "the key of " + s.Signer + " was not valid when the statement was recorded"}
	}
	return nil
}

// holds tells whether a person may wear the role of a want at all, author or
// not.
func (j *judge) holds(handle string, w Want) bool {
	if w.Role == RoleOwner || len(w.Eligible) > 0 {
		return slices.Contains(w.Eligible, handle)
	}
	p, known := j.people[handle]
	return known && w.Role != "" && slices.Contains(p.Roles, w.Role)
}

// barred tells whether a handle had a hand in the change, or is one with
// somebody who had. Solo lifts this for the owner at low and medium risk.
func (j *judge) barred(handle, role string) bool {
	return j.authors[j.ids.Of(handle)] && !(role == RoleOwner && j.solo())
}

func (j *judge) solo() bool {
	return j.f.Solo && j.f.Risk.Rank() <= gov.RiskMedium.Rank()
}

// author says why a person who is barred is.
func (j *judge) author(handle string) *no {
	if slices.Contains(j.f.Authors, handle) {
		return &no{CodeIsAuthor, handle + " had a hand in this change"}
	}
	return &no{CodeIsAuthor, handle + " is one with an author, or answers for one"}
}

// here tells whether a statement is about the present content of this change.
func (j *judge) here(s gov.Recorded) *no {
	if j.f.Revision == "" || s.Revision.Change != j.f.Revision {
		return &no{CodeOtherRevision, "signed for other content: " + name(s.Revision.Change)}
	}
	return nil
}

// living checks what any statement with authority must have: content, signer,
// reason, life.
func (j *judge) living(s gov.Recorded) *no {
	if j.revoked[s.Digest] {
		return &no{CodeRevoked, s.Signer + " took it back"}
	}
	if n := j.here(s); n != nil {
		return n
	}
	if n := j.signer(s); n != nil {
		return n
	}
	switch {
	case !s.Explained:
		return &no{CodeNoRationale, "it gives no reason"}
	case !s.Expires.IsZero() && !j.f.Now.Before(s.Expires):
		return &no{CodeExpired, "it was valid only until " + stamp(s.Expires)}
	case s.Risk != "" && s.Risk.Rank() < j.f.Risk.Rank():
		return &no{CodeLowerRisk, "signed when the risk was " + string(s.Risk) + "; now it is " + string(j.f.Risk)}
	}
	return nil
}

// fit checks a living approval against one want of its stage and role.
func (j *judge) fit(s gov.Recorded, w Want) *no {
	switch {
	case !j.holds(s.Signer, w):
		return &no{CodeRoleNotHeld, s.Signer + " is no " + words(w.Role) + " here"}
	case j.barred(s.Signer, w.Role):
		return j.author(s.Signer)
	case w.Presence && !s.Presence:
		return &no{CodeNoPresence, "a plain key proves no presence; use a security key"}
	case w.Assessment && !s.Assessed:
		return &no{CodeNoAssessment, "it carries no risk assessment"}
	case w.Final && (w.Outcome == nil || s.Outcome == nil || *s.Outcome != *w.Outcome):
		return &no{CodeOtherOutcome, "it was not signed for the outcome of this rollout"}
	}
	return nil
}

func (j *judge) judgeApprovals() {
	var spare []gov.Recorded
	for _, s := range j.f.Statements {
		if s.Decision != gov.DecideApprove || s.Change != j.f.Change {
			continue
		}
		if n := j.place(s); n != nil {
			j.reject(s, *n)
		} else {
			spare = append(spare, s)
		}
	}
	for _, stage := range j.stages() {
		j.fill(stage)
	}
	for _, s := range spare {
		j.surplus(s)
	}
}

// place finds the wants that a statement counts for, or the reason why there is
// none: the one from the want it came nearest to.
func (j *judge) place(s gov.Recorded) *no {
	if n := j.living(s); n != nil {
		return n
	}
	if s.Role == "" {
		return &no{CodeNoRole, "it does not say in which role it was given"}
	}
	stage, role, placed := false, false, false
	var nearest *no
	for i, w := range j.f.Wants {
		if w.Stage != s.Stage {
			continue
		}
		stage = true
		if w.Role != s.Role {
			continue
		}
		role = true
		n := j.fit(s, w)
		if n == nil {
			j.fits[i] = append(j.fits[i], s)
			placed = true
		} else if nearest == nil || nearest.code == CodeRoleNotHeld {
			nearest = n
		}
	}
	switch {
	case placed:
		return nil
	case !stage:
		return &no{CodeOtherStage, "it was given for " + quoted(s.Stage) + ", where nobody is asked"}
	case !role:
		return &no{CodeRoleNotWanted, quoted(s.Stage) + " asks for no " + words(s.Role)}
	}
	return nearest
}

// surplus explains a statement that counts and yet fills nothing while a
// requirement it fits stays open: its signer already stands for another role.
func (j *judge) surplus(s gov.Recorded) {
	for i, list := range j.fits {
		if _, done := j.filled[i]; !done && slices.ContainsFunc(list, func(o gov.Recorded) bool { return o.Digest == s.Digest }) {
			j.reject(s, no{CodeSamePerson, s.Signer + " already stands for another role at " + quoted(s.Stage)})
			return
		}
	}
}

// judgeRejections looks for rejections by anybody who could wear a role that is
// wanted: authors too, with or without a reason, and past any expiry, until the
// signer takes them back.
func (j *judge) judgeRejections() {
	for _, s := range j.f.Statements {
		if s.Decision != gov.DecideReject || s.Change != j.f.Change {
			continue
		}
		if n := j.rejection(s); n != nil {
			j.reject(s, *n)
			continue
		}
		j.answer.Rejected = true
		j.answer.RejectedBy = set(j.answer.RejectedBy, s.Signer)
		for i, w := range j.f.Wants {
			if j.holds(s.Signer, w) {
				j.rejected[i] = set(j.rejected[i], s.Signer)
			}
		}
	}
}

func (j *judge) rejection(s gov.Recorded) *no {
	if j.revoked[s.Digest] {
		return &no{CodeRevoked, s.Signer + " took it back"}
	}
	if n := j.here(s); n != nil {
		return n
	}
	p, known := j.people[s.Signer]
	switch {
	case !known:
		return &no{CodeSignerUnknown, s.Signer + " is not in the registry any more"}
	case s.SignerKind != gov.Human || p.Kind != gov.Human:
		return &no{CodeNotHuman, s.Signer + " is no person; only people reject"}
	case !slices.ContainsFunc(j.f.Wants, func(w Want) bool { return j.holds(s.Signer, w) }):
		return &no{CodeRoleNotHeld, s.Signer + " has none of the roles that are asked"}
	}
	return nil
}

func (j *judge) judgeRevocations() {
	for _, r := range j.f.Statements {
		if r.Decision != gov.DecideRevoke || r.Change != j.f.Change || j.revoked[r.Subject] {
			continue
		}
		i := slices.IndexFunc(j.f.Statements, func(s gov.Recorded) bool { return s.Digest == r.Subject })
		switch {
		case i < 0:
			j.reject(r, no{CodeSubjectUnknown, "the statement it takes back is not in the log"})
		case j.f.Statements[i].Signer != r.Signer:
			j.reject(r, no{CodeNotSigner, "only " + j.f.Statements[i].Signer + " can take back that statement"})
		default:
			if n := j.signer(r); n != nil {
				j.reject(r, *n)
			}
		}
	}
}

func (j *judge) reject(s gov.Recorded, n no) {
	j.answer.NotCounted = append(j.answer.NotCounted, gov.NotCounted{
		Statement: s.Digest, Signer: s.Signer, Decision: s.Decision, Code: n.code, Why: n.why,
	})
}

// stages lists the stages of the wants in order of appearance.
func (j *judge) stages() []string {
	var out []string
	for _, w := range j.f.Wants {
		if !slices.Contains(out, w.Stage) {
			out = append(out, w.Stage)
		}
	}
	return out
}

func words(role string) string { return strings.ReplaceAll(role, "_", " ") }
