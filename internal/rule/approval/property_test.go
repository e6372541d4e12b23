package approval

import (
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

// check runs a property 8 times 100 draws, 500 times in the full campaign.
func check(t *testing.T, prop func(*rapid.T)) {
	t.Helper()
	n := 8
	if os.Getenv("GOVERN_TEST_FULL") == "1" {
		n = 500
	}
	for range n {
		rapid.Check(t, prop)
	}
}

// anyFacts draws small worlds in which most meanings of the rule occur.
func anyFacts(t *rapid.T) Facts {
	handles := []string{"ann", "ben", "cat", "dan", "eve"}
	roles := []string{"security_lead", "architecture_lead"}
	var people []gov.Person
	for _, h := range handles {
		p := gov.Person{Handle: h, Kind: gov.Human, Keys: []gov.Key{{Fingerprint: "k1" + h}, {Fingerprint: "k2" + h, Presence: true}}}
		p.Roles = rapid.SampledFrom([][]string{nil, roles[:1], roles[1:], roles, roles}).Draw(t, "roles of "+h)
		if rapid.IntRange(0, 5).Draw(t, "delegate "+h) == 0 {
			p.DelegateOf = rapid.SampledFrom(handles).Draw(t, "delegator of "+h)
		}
		people = append(people, p)
	}
	people = append(people, gov.Person{Handle: "bot", Kind: gov.Agent, Roles: roles, Sponsor: rapid.SampledFrom(handles).Draw(t, "sponsor"), Keys: []gov.Key{{Fingerprint: "k1bot"}, {Fingerprint: "k2bot"}}})
	some := rapid.SliceOfNDistinct(rapid.SampledFrom(handles), 0, 4, rapid.ID)
	f := Facts{
		Now: noon, Change: "CHANGE-7", Revision: content, People: people,
		Risk:    rapid.SampledFrom([]gov.Risk{gov.RiskLow, gov.RiskHigh}).Draw(t, "risk"),
		Authors: rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Concat(handles, []string{"bot", "gone"})), 0, 2, rapid.ID).Draw(t, "authors"),
		Solo:    rapid.Bool().Draw(t, "solo"),
	}
	presence := rapid.IntRange(0, 3).Draw(t, "presence") == 0
	for i := range rapid.IntRange(0, 2).Draw(t, "groups") {
		f.Wants = append(f.Wants, Want{ID: "review/owner/" + string(rune('a'+i)), Stage: "review", Role: "owner", Eligible: some.Draw(t, "owners"), Presence: presence})
	}
	for _, r := range roles {
		if rapid.IntRange(0, 3).Draw(t, "wants "+r) > 0 {
			f.Wants = append(f.Wants, Want{ID: "review/" + r, Stage: "review", Role: r, Presence: presence})
		}
	}
	n := rapid.IntRange(0, 9).Draw(t, "statements")
	for i := range n {
		s := gov.Recorded{
			Digest: gov.DigestOf([]byte{byte(i)}), Index: uint64(i), Change: "CHANGE-7", Stage: "review", Decision: gov.DecideApprove,
			Role:   rapid.SampledFrom([]string{"owner", "owner", "security_lead", "architecture_lead"}).Draw(t, "role"),
			Signer: rapid.SampledFrom(slices.Concat(handles, handles[:2], handles[:2], []string{"bot", "gone"})).Draw(t, "signer"), SignerKind: gov.Human,
			Revision: gov.Revision{Change: content}, Explained: true, Time: noon.Add(-time.Hour), Risk: f.Risk,
		}
		s.Presence = rapid.Bool().Draw(t, "touch")
		s.Key = map[bool]string{false: "k1", true: "k2"}[s.Presence] + s.Signer
		switch rapid.IntRange(0, 19).Draw(t, "twist") {
		case 0:
			s.Revision.Change = other
		case 1:
			s.Stage = "final"
		case 2:
			s.Explained = false
		case 3:
			s.Expires = noon
		case 4:
			s.Key = "unknown"
		case 5:
			s.Decision = gov.DecideReject
		case 6, 7:
			if i > 0 {
				s.Decision, s.Subject = gov.DecideRevoke, gov.DigestOf([]byte{byte(rapid.IntRange(0, i-1).Draw(t, "subject"))})
			}
		}
		if s.Signer == "bot" {
			s.SignerKind = gov.Agent
		}
		f.Statements = append(f.Statements, s)
	}
	return f
}

// The oracle restates the rules from the specification and DESIGN section 4,
// without any function of this package.
type oracle struct{ f Facts }

// one tells whether two handles are one person, by walking the delegations.
func (o oracle) one(a, b string) bool {
	reach := map[string]bool{a: true}
	for range o.f.People {
		for _, p := range o.f.People {
			if p.DelegateOf != "" && (reach[p.Handle] || reach[p.DelegateOf]) {
				reach[p.Handle], reach[p.DelegateOf] = true, true
			}
		}
	}
	return reach[b]
}

func (o oracle) person(h string) gov.Person {
	for _, p := range o.f.People {
		if p.Handle == h {
			return p
		}
	}
	return gov.Person{}
}

func (o oracle) hadHand(h string) bool {
	for _, a := range o.f.Authors {
		if o.one(a, h) {
			return true
		}
		for _, p := range o.f.People {
			if p.Sponsor != "" && o.one(a, p.Handle) && o.one(p.Sponsor, h) {
				return true
			}
		}
	}
	return false
}

func (o oracle) revoked(s gov.Recorded) bool {
	for _, r := range o.f.Statements {
		if r.Decision == gov.DecideRevoke && r.Subject == s.Digest && r.Signer == s.Signer {
			if s.Decision != gov.DecideReject || r.SignerKind == gov.Human && r.Key != "unknown" && r.Signer != "gone" {
				return true
			}
		}
	}
	return false
}

func (o oracle) may(h string, w Want) bool {
	if w.Role == "owner" {
		return slices.Contains(w.Eligible, h)
	}
	return slices.Contains(o.person(h).Roles, w.Role)
}

func (o oracle) counts(s gov.Recorded, w Want) bool {
	ownWork := o.hadHand(s.Signer) && !(o.f.Solo && w.Role == "owner" && o.f.Risk == gov.RiskLow)
	return s.Decision == gov.DecideApprove && s.Revision.Change == o.f.Revision && s.Stage == w.Stage && s.Role == w.Role &&
		s.Explained && !s.Expires.Equal(o.f.Now) && s.Key != "unknown" && s.Signer != "bot" && s.Signer != "gone" &&
		!o.revoked(s) && o.may(s.Signer, w) && !ownWork && (s.Presence || !w.Presence)
}

func (o oracle) rejects() bool {
	for _, s := range o.f.Statements {
		if s.Decision == gov.DecideReject && s.Revision.Change == o.f.Revision && s.Signer != "bot" && s.Signer != "gone" && !o.revoked(s) &&
			slices.ContainsFunc(o.f.Wants, func(w Want) bool { return o.may(s.Signer, w) }) {
			return true
		}
	}
	return false
}

// most tries every assignment of statements to wants from want k on.
func (o oracle) most(k int, taken []gov.Recorded, as []string) int {
	if k == len(o.f.Wants) {
		return 0
	}
	w := o.f.Wants[k]
	best := o.most(k+1, taken, as)
	for _, s := range o.f.Statements {
		if !o.counts(s, w) {
			continue
		}
		free := true
		for i, other := range taken {
			if o.one(other.Signer, s.Signer) && !(as[i] == "owner" && w.Role == "owner") {
				free = false
			}
		}
		if free {
			best = max(best, 1+o.most(k+1, append(slices.Clone(taken), s), append(slices.Clone(as), w.Role)))
		}
	}
	return best
}

func TestAgainstOracle(t *testing.T) {
	t.Parallel()
	check(t, func(t *rapid.T) {
		f := anyFacts(t)
		o, a := oracle{f}, Judge(f)
		if a.Rejected != o.rejects() {
			t.Fatalf("rejected %v, the specification says %v", a.Rejected, o.rejects())
		}
		satisfied := 0
		var taken []gov.Recorded
		for i, r := range a.Requirements {
			w := f.Wants[i]
			if r.State != gov.Satisfied {
				continue
			}
			satisfied++
			k := slices.IndexFunc(f.Statements, func(s gov.Recorded) bool { return s.Digest == r.Evidence[0] })
			s := f.Statements[k]
			if !o.counts(s, w) {
				t.Fatalf("%s is satisfied by a statement that must not count: %+v", w.ID, s)
			}
			for _, other := range taken {
				if o.one(other.Signer, s.Signer) && other.Role != s.Role {
					t.Fatalf("one person stands for %s and %s", other.Role, s.Role)
				}
			}
			taken = append(taken, s)
		}
		if want := o.most(0, nil, nil); !a.Rejected && satisfied != want {
			t.Fatalf("%d wants satisfied, %d can be: %s", satisfied, want, states(a))
		}
		accounted(t, f, a)
	})
}

// accounted checks that no statement is silently dropped: an approval either
// fits a want or is listed with its reason, once.
func accounted(t *rapid.T, f Facts, a Answer) {
	o := oracle{f}
	for _, s := range f.Statements {
		n := 0
		for _, c := range a.NotCounted {
			if c.Statement == s.Digest {
				n++
				if c.Code == "" || c.Why == "" {
					t.Fatalf("no reason given: %+v", c)
				}
			}
		}
		if s.Decision != gov.DecideApprove {
			continue
		}
		counts := slices.ContainsFunc(f.Wants, func(w Want) bool { return o.counts(s, w) })
		if n > 1 || !counts && n != 1 {
			t.Fatalf("listed %d times, counts %v: %+v", n, counts, s)
		}
	}
}

func done(a Answer) bool {
	return !a.Rejected && !slices.ContainsFunc(a.Requirements, func(r gov.Requirement) bool { return !r.State.Done() })
}

// TestNothingGetsEasier: what takes standing away never completes a change.
func TestNothingGetsEasier(t *testing.T) {
	t.Parallel()
	check(t, func(t *rapid.T) {
		f := anyFacts(t)
		before := done(Judge(f))
		still := func(what string, g Facts) {
			if done(Judge(g)) && !before {
				t.Fatalf("%s completed the change", what)
			}
		}
		g := f
		g.Authors = append(slices.Clone(f.Authors), rapid.SampledFrom(f.People).Draw(t, "new author").Handle)
		still("another author", g)
		g = f
		g.Statements = slices.DeleteFunc(slices.Clone(f.Statements), func(s gov.Recorded) bool {
			return s.Decision == gov.DecideApprove && rapid.Bool().Draw(t, "drop")
		})
		still("removing approvals", g)
		g = f
		g.Revision = other
		if done(Judge(g)) && len(f.Wants) > 0 && !slices.ContainsFunc(f.Statements, func(s gov.Recorded) bool { return s.Revision.Change == other }) {
			t.Fatal("approvals of old content complete a new revision")
		}
		if len(f.Statements) > 0 {
			g = f
			s := rapid.SampledFrom(f.Statements).Draw(t, "said again")
			g.Statements = append(slices.Clone(f.Statements), s)
			still("saying it twice", g)
			s.Digest, s.Key = gov.DigestOf([]byte("again")), "k1"+s.Signer
			s.Decision = gov.DecideReject
			g.Statements = append(slices.Clone(f.Statements), s)
			still("a rejection", g)
		}
		g = f
		g.People = slices.Clone(f.People)
		i := rapid.IntRange(0, len(g.People)-1).Draw(t, "loses keys")
		g.People[i].Keys = nil
		still("removing keys", g)
	})
}

// TestManyPeople: the search stays small with a large registry, nobody short of
// a role.
func TestManyPeople(t *testing.T) {
	t.Parallel()
	f := base()
	f.Statements = nil
	for i := range 300 {
		h := "p" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		f.People = append(f.People, person(h, "security_lead", "architecture_lead"))
		f.Statements = append(f.Statements, says(h, "security_lead"))
	}
	f.Wants = append(f.Wants, Want{ID: "review/astronaut", Stage: "review", Role: "astronaut"}, Want{ID: "review/architecture_lead", Stage: "review", Role: "architecture_lead"})
	if got, want := states(Judge(f)), "review/owner=missing review/security_lead=satisfied review/astronaut=failed review/architecture_lead=missing"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
