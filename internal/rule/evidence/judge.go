package evidence

import (
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Judge answers every check in one call.
func Judge(f Facts) Answer {
	j := newJudge(f)
	for _, w := range f.Checks {
		j.answer.Requirements = append(j.answer.Requirements, j.check(w))
	}
	j.judgeStatements()
	j.judgeClaims()
	j.answer.Artifacts = j.built()
	return j.answer
}

// judge holds what one call works out.
type judge struct {
	f       Facts
	ids     gov.Identities
	authors map[string]bool
	people  map[string]gov.Person
	revoked map[gov.Digest]bool
	answer  Answer
}

func newJudge(f Facts) *judge {
	seen := map[gov.Digest]bool{}
	f.Statements = slices.DeleteFunc(slices.Clone(f.Statements), func(s gov.Recorded) bool {
		twice := seen[s.Digest]
		seen[s.Digest] = true
		return twice
	})
	j := &judge{f: f, ids: gov.IdentitiesOf(f.People), people: map[string]gov.Person{}, revoked: map[gov.Digest]bool{}}
	j.authors = j.ids.Behind(f.Authors)
	for _, p := range f.People {
		if _, twice := j.people[p.Handle]; !twice {
			j.people[p.Handle] = p
		}
	}
	signer := map[gov.Digest]string{}
	for _, s := range f.Statements {
		signer[s.Digest] = s.Signer
	}
	for _, s := range f.Statements {
		if by, known := signer[s.Subject]; s.Decision == gov.DecideRevoke && known && by == s.Signer {
			j.revoked[s.Subject] = true
		}
	}
	return j
}

// no is why a statement does not count.
type no struct{ code, why string }

// roles gives who may sign kind k: those of the check, or the default.
func (w Want) roles() []string {
	if len(w.Roles) > 0 {
		return w.Roles
	}
	return []string{"ci", w.Kind}
}

// allowed tells whether p may sign reports for w: never an agent, "ci" only as a
// service, and without roles of the check's own only a service at all.
func allowed(p gov.Person, w Want) bool {
	if p.Kind != gov.Service && p.Kind != gov.Human {
		return false
	}
	return slices.ContainsFunc(w.roles(), func(r string) bool {
		if p.Kind == gov.Human && (r == "ci" || len(w.Roles) == 0) {
			return false
		}
		return slices.Contains(p.Roles, r)
	})
}

// signer checks what every statement needs: a known signer with a key that is
// and was his, no part in the change, life.
func (j *judge) signer(s gov.Recorded) *no {
	p, known := j.people[s.Signer]
	if !known {
		return &no{CodeSignerUnknown, s.Signer + " is not in the registry any more"}
	}
	i := slices.IndexFunc(p.Keys, func(k gov.Key) bool { return k.Fingerprint == s.Key })
	switch {
	case j.revoked[s.Digest]:
		return &no{CodeRevoked, s.Signer + " took it back"}
	case i < 0:
		return &no{CodeKeyRemoved, "the key is not in the registry under " + s.Signer + " any more"}
	case !p.Keys[i].ValidAt(s.Time):
		return &no{CodeKeyExpired, "the key of " + s.Signer + " was not valid when the statement was recorded"}
	case !s.Expires.IsZero() && !j.f.Now.Before(s.Expires):
		return &no{CodeExpired, "it was valid only until " + s.Expires.UTC().Format(time.RFC3339)}
	case j.authors[j.ids.Of(s.Signer)]:
		return &no{CodeIsAuthor, s.Signer + " is an author, or one with an author"}
	}
	return nil
}

// report checks one evidence statement against a check of its kind.
func (j *judge) report(s gov.Recorded, w Want) *no {
	if j.f.Tree == "" || s.Revision.Tree != j.f.Tree {
		return &no{CodeOtherTree, "it is about another tree: " + short(s.Revision.Tree)}
	}
	if n := j.signer(s); n != nil {
		return n
	}
	p := j.people[s.Signer]
	if s.SignerKind != p.Kind || !allowed(p, w) || s.Role != "" && !(slices.Contains(p.Roles, s.Role) && slices.Contains(w.roles(), s.Role)) {
		return &no{CodeNotAllowed, s.Signer + " may not sign " + words(w.Kind) + "; that takes " + strings.Join(w.roles(), " or ")}
	}
	return nil
}

// finding checks one attestation of a person against a check that wants one.
func (j *judge) finding(s gov.Recorded, w Want) *no {
	if j.f.Revision == "" || s.Revision.Change != j.f.Revision {
		return &no{CodeOtherRevision, "signed for other content: " + short(s.Revision.Change)}
	}
	if n := j.signer(s); n != nil {
		return n
	}
	p := j.people[s.Signer]
	switch {
	case p.Kind != gov.Human || s.SignerKind != gov.Human:
		return &no{CodeNotHuman, s.Signer + " is no person; a finding is a person's"}
	case !slices.Contains(w.findingRoles(), s.Role) || !slices.Contains(p.Roles, s.Role):
		return &no{CodeNotAllowed, s.Signer + " did not sign as " + strings.Join(w.findingRoles(), " or ")}
	case !s.Explained:
		return &no{CodeNoRationale, "it says nothing"}
	case w.Presence && !s.Presence:
		return &no{CodeNoPresence, "a plain key proves no presence; use a security key"}
	}
	return nil
}

func (w Want) findingRoles() []string {
	if len(w.Finding) == 0 && w.Kind == KindArchitectureReview {
		return []string{"architecture_lead"}
	}
	return w.Finding
}

// reports lists the statements that count for a check, in log order.
func (j *judge) reports(w Want) []gov.Recorded {
	var out []gov.Recorded
	for _, s := range j.f.Statements {
		if s.Decision == gov.DecideEvidence && s.Evidence != nil && s.Evidence.Kind == w.Kind && j.report(s, w) == nil {
			out = append(out, s)
		}
	}
	return out
}

// judgeStatements says of each report and finding why it does not count.
// Reports about other trees are only mentioned when they were made for this
// change.
func (j *judge) judgeStatements() {
	for _, s := range j.f.Statements {
		var n *no
		switch {
		case s.Decision == gov.DecideEvidence && (s.Change == j.f.Change || j.f.Tree != "" && s.Revision.Tree == j.f.Tree):
			n = j.why(s)
		case s.Decision == gov.DecideAttest && s.Change == j.f.Change:
			n = j.whyFinding(s)
		}
		if n != nil {
			j.answer.NotCounted = append(j.answer.NotCounted, gov.NotCounted{
				Statement: s.Digest, Signer: s.Signer, Decision: s.Decision, Code: n.code, Why: n.why,
			})
		}
	}
}

func (j *judge) why(s gov.Recorded) *no {
	if s.Evidence == nil {
		return &no{CodeNoReport, "it carries no report"}
	}
	var last *no
	wanted := false
	for _, w := range j.f.Checks {
		if w.Kind != s.Evidence.Kind {
			continue
		}
		wanted = true
		if last = j.report(s, w); last == nil {
			return nil
		}
	}
	if !wanted && s.Evidence.Kind != KindBuild {
		return &no{CodeNotWanted, "no check asks for " + words(s.Evidence.Kind)}
	}
	return last
}

// whyFinding leaves attestations of other stages to whoever judges those.
func (j *judge) whyFinding(s gov.Recorded) *no {
	var last *no
	for _, w := range j.f.Checks {
		if w.Kind == s.Stage && len(w.findingRoles()) > 0 {
			if last = j.finding(s, w); last == nil {
				return nil
			}
		}
	}
	return last
}

func (j *judge) judgeClaims() {
	for _, c := range j.f.Claims {
		j.answer.NotCounted = append(j.answer.NotCounted, gov.NotCounted{
			Decision: gov.DecideEvidence, Code: CodeUnsigned,
			Why: words(c.Kind) + " in " + c.Source + " is a claim: nobody allowed to has signed it",
		})
	}
}

// built lists the artifacts of this tree by counted build evidence; the newest
// statement about a name stands.
func (j *judge) built() []gov.Artifact {
	w := Want{Kind: KindBuild}
	if i := slices.IndexFunc(j.f.Checks, func(c Want) bool { return c.Kind == KindBuild }); i >= 0 {
		w = j.f.Checks[i]
	}
	var out []gov.Artifact
	for _, s := range j.reports(w) {
		a := s.Evidence.Artifact
		if a == nil || a.Name == "" || s.Evidence.Failed > 0 || len(s.Evidence.Unread) > 0 {
			continue
		}
		if _, err := gov.ParseDigest(string(a.Digest)); err != nil {
			continue
		}
		out = slices.DeleteFunc(out, func(o gov.Artifact) bool { return o.Name == a.Name })
		out = append(out, *a)
	}
	slices.SortFunc(out, func(a, b gov.Artifact) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func words(s string) string { return strings.ReplaceAll(s, "_", " ") }

func short(d gov.Digest) string {
	if d == "" {
		return "unknown"
	}
	return d.Short()
}
