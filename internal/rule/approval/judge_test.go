package approval

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

var (
	noon    = time.Date(2025, 1, 8, 12, 0, 0, 0, time.UTC)
	content = gov.DigestOf([]byte("content"))
	other   = gov.DigestOf([]byte("other content"))
	verdict = gov.DigestOf([]byte("latched verdict"))
)

func person(handle string, roles ...string) gov.Person {
	return gov.Person{Handle: handle, Kind: gov.Human, Roles: roles, Keys: []gov.Key{
		{Fingerprint: "SHA256:" + handle, Type: "ssh-ed25519"},
		{Fingerprint: "SHA256:" + handle + "-sk", Type: "sk-ssh-ed25519@openssh.com", Presence: true},
	}}
}

func registry() []gov.Person {
	bot := gov.Person{Handle: "bot", Kind: gov.Agent, Sponsor: "sam", Roles: []string{"security_lead"}, Keys: []gov.Key{{Fingerprint: "SHA256:bot"}}}
	ci := gov.Person{Handle: "ci", Kind: gov.Service, Roles: []string{"security_lead"}, Keys: []gov.Key{{Fingerprint: "SHA256:ci"}}}
	dora := person("dora", "security_lead")
	dora.DelegateOf = "alice"
	return []gov.Person{
		person("alice"), person("bob", "security_lead"), person("carol", "security_lead", "architecture_lead"),
		person("erin", "architecture_lead"), person("owen"), person("sam", "security_lead"), dora, bot, ci,
	}
}

// base is a high-risk change by alice that owen owns.
func base() Facts {
	return Facts{
		Now: noon, Change: "CHANGE-7", Risk: gov.RiskHigh, Revision: content, Authors: []string{"alice"},
		People: registry(),
		Wants: []Want{
			{ID: "review/owner", Stage: "review", Role: "owner", Eligible: []string{"owen", "carol"}, Paths: []string{"core"}},
			{ID: "review/security_lead", Stage: "review", Role: "security_lead"},
		},
		OverrideRoles: []string{"architecture_lead"}, OverrideDue: 24 * time.Hour,
	}
}

// says makes a statement that nothing speaks against.
func says(signer, role string, change ...func(*gov.Recorded)) gov.Recorded {
	s := gov.Recorded{
		Decision: gov.DecideApprove, Stage: "review", Change: "CHANGE-7", Role: role, Risk: gov.RiskHigh,
		Revision: gov.Revision{Change: content}, Explained: true,
		Signer: signer, SignerKind: gov.Human, Key: "SHA256:" + signer, Time: noon.Add(-time.Hour),
	}
	for _, c := range change {
		c(&s)
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	s.Digest = gov.DigestOf(b)
	return s
}

func decides(d gov.Decision) func(*gov.Recorded) {
	return func(s *gov.Recorded) { s.Decision = d }
}

func about(subject gov.Digest) func(*gov.Recorded) {
	return func(s *gov.Recorded) { s.Decision, s.Subject = gov.DecideRevoke, subject }
}

func states(a Answer) string {
	var out []string
	for _, r := range a.Requirements {
		out = append(out, r.ID+"="+string(r.State))
	}
	return strings.Join(out, " ")
}

func codes(a Answer) string {
	var out []string
	for _, n := range a.NotCounted {
		out = append(out, n.Signer+":"+n.Code)
	}
	return strings.Join(out, " ")
}

func TestOneStatement(t *testing.T) {
	t.Parallel()
	final := func(f *Facts) {
		f.Wants = []Want{{ID: "final/security_lead", Stage: "final", Role: "security_lead", Final: true, Outcome: &gov.Outcome{Target: "prod", Attempt: 2, Verdict: verdict}}}
	}
	outcome := func(attempt int, v gov.Digest) func(*gov.Recorded) {
		return func(s *gov.Recorded) {
			s.Stage, s.Outcome = "final", &gov.Outcome{Target: "prod", Attempt: attempt, Verdict: v}
		}
	}
	only := func(f *Facts) { f.Wants = f.Wants[1:] }
	presence := func(f *Facts) { f.Wants = f.Wants[1:]; f.Wants[0].Presence = true }
	assessed := func(f *Facts) { f.Wants = f.Wants[1:]; f.Wants[0].Assessment = true }
	for _, tc := range []struct {
		name  string
		facts func(*Facts)
		when  gov.Recorded
		want  string // code, or "" when it counts
	}{
		{"counts", only, says("bob", "security_lead"), ""},
		{"other content", only, says("bob", "security_lead", func(s *gov.Recorded) { s.Revision.Change = other }), CodeOtherRevision},
		{"content unknown", func(f *Facts) { only(f); f.Revision = "" }, says("bob", "security_lead", func(s *gov.Recorded) { s.Revision.Change = "" }), CodeOtherRevision},
		{"other stage", only, says("bob", "security_lead", func(s *gov.Recorded) { s.Stage = "final" }), CodeOtherStage},
		{"no stage", only, says("bob", "security_lead", func(s *gov.Recorded) { s.Stage = "" }), CodeOtherStage},
		{"review is no final approval", final, says("bob", "security_lead"), CodeOtherStage},
		{"final for the outcome", final, says("bob", "security_lead", outcome(2, verdict)), ""},
		{"final without outcome", final, says("bob", "security_lead", func(s *gov.Recorded) { s.Stage = "final" }), CodeOtherOutcome},
		{"final for an earlier attempt", final, says("bob", "security_lead", outcome(1, verdict)), CodeOtherOutcome},
		{"final for another verdict", final, says("bob", "security_lead", outcome(2, other)), CodeOtherOutcome},
		{"final before there is an outcome", func(f *Facts) { final(f); f.Wants[0].Outcome = nil }, says("bob", "security_lead", outcome(2, verdict)), CodeOtherOutcome},
		{"left the registry", only, says("zoe", "security_lead"), CodeSignerUnknown},
		{"agent with the role", only, says("bot", "security_lead", func(s *gov.Recorded) { s.SignerKind = gov.Agent }), CodeNotHuman},
		{"agent recorded as human", only, says("bot", "security_lead"), CodeNotHuman},
		{"service with the role", only, says("ci", "security_lead", func(s *gov.Recorded) { s.SignerKind = gov.Service }), CodeNotHuman},
		{"human recorded as agent", only, says("bob", "security_lead", func(s *gov.Recorded) { s.SignerKind = gov.Agent }), CodeNotHuman},
		{"key removed", only, says("bob", "security_lead", func(s *gov.Recorded) { s.Key = "SHA256:lost" }), CodeKeyRemoved},
		{"key of somebody else", only, says("bob", "security_lead", func(s *gov.Recorded) { s.Key = "SHA256:carol" }), CodeKeyRemoved},
		{"key ended before", func(f *Facts) { only(f); f.People[1].Keys[0].NotAfter = noon.Add(-2 * time.Hour) }, says("bob", "security_lead"), CodeKeyExpired},
		{"key not valid yet", func(f *Facts) { only(f); f.People[1].Keys[0].NotBefore = noon }, says("bob", "security_lead"), CodeKeyExpired},
		{"key ended since", func(f *Facts) { only(f); f.People[1].Keys[0].NotAfter = noon.Add(-time.Minute) }, says("bob", "security_lead"), ""},
		{"names no role", only, says("bob", ""), CodeNoRole},
		{"role not asked", only, says("carol", "architecture_lead"), CodeRoleNotWanted},
		{"role not held", only, says("erin", "security_lead"), CodeRoleNotHeld},
		{"owner by paths", nil, says("owen", "owner"), ""},
		{"owner of other paths", nil, says("bob", "owner"), CodeRoleNotHeld},
		{"owner role in the registry gives nothing", func(f *Facts) { f.People[1].Roles = []string{"owner"}; f.Wants[0].Eligible = nil }, says("bob", "owner"), CodeRoleNotHeld},
		{"author", func(f *Facts) { only(f); f.Authors = []string{"alice", "bob"} }, says("bob", "security_lead"), CodeIsAuthor},
		{"delegate of an author", only, says("dora", "security_lead"), CodeIsAuthor},
		{"delegator of an author", func(f *Facts) { f.Authors = []string{"dora"}; f.Wants[0].Eligible = []string{"alice"} }, says("alice", "owner"), CodeIsAuthor},
		{"sponsor of an agent", func(f *Facts) { only(f); f.Authors = []string{"bot"} }, says("sam", "security_lead"), CodeIsAuthor},
		{"shares a key with an author", func(f *Facts) { only(f); f.People[1].Keys[1].Fingerprint = "SHA256:alice" }, says("bob", "security_lead"), CodeIsAuthor},
		{"blank rationale", only, says("bob", "security_lead", func(s *gov.Recorded) { s.Explained = false }), CodeNoRationale},
		{"plain key where a touch is demanded", presence, says("bob", "security_lead"), CodeNoPresence},
		{"touch", presence, says("bob", "security_lead", func(s *gov.Recorded) { s.Presence, s.Key = true, "SHA256:bob-sk" }), ""},
		{"no assessment", assessed, says("bob", "security_lead"), CodeNoAssessment},
		{"assessment", assessed, says("bob", "security_lead", func(s *gov.Recorded) { s.Assessed = true }), ""},
		{"signed under lower risk", only, says("bob", "security_lead", func(s *gov.Recorded) { s.Risk = gov.RiskMedium }), CodeLowerRisk},
		{"signed under higher risk", only, says("bob", "security_lead", func(s *gov.Recorded) { s.Risk = gov.RiskCritical }), ""},
		{"expires now", only, says("bob", "security_lead", func(s *gov.Recorded) { s.Expires = noon }), CodeExpired},
		{"expires later", only, says("bob", "security_lead", func(s *gov.Recorded) { s.Expires = noon.Add(time.Second) }), ""},
		{"solo below high", func(f *Facts) { f.Solo, f.Risk, f.Authors = true, gov.RiskMedium, []string{"owen"} }, says("owen", "owner"), ""},
		{"solo at high", func(f *Facts) { f.Solo, f.Authors = true, []string{"owen"} }, says("owen", "owner"), CodeIsAuthor},
		{"solo is for owners only", func(f *Facts) { only(f); f.Solo, f.Risk, f.Authors = true, gov.RiskLow, []string{"bob"} }, says("bob", "security_lead"), CodeIsAuthor},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := base()
			if tc.facts != nil {
				tc.facts(&f)
			}
			f.Statements = []gov.Recorded{tc.when}
			a := Judge(f)
			wantCodes, wantCounted := "", 1
			if tc.want != "" {
				wantCodes, wantCounted = tc.when.Signer+":"+tc.want, 0
			}
			if got := codes(a); got != wantCodes {
				t.Errorf("not counted: %q, want %q", got, wantCodes)
			}
			if len(a.Counted) != wantCounted {
				t.Errorf("counted %d, want %d (%s)", len(a.Counted), wantCounted, states(a))
			}
		})
	}
}

func TestPeopleAndRoles(t *testing.T) {
	t.Parallel()
	groups := func(f *Facts) {
		f.Wants = []Want{
			{ID: "review/owner/a", Stage: "review", Role: "owner", Eligible: []string{"owen"}},
			{ID: "review/owner/b", Stage: "review", Role: "owner", Eligible: []string{"owen", "carol"}},
			{ID: "review/security_lead", Stage: "review", Role: "security_lead"},
		}
	}
	approveOwen := says("owen", "owner")
	for _, tc := range []struct {
		name   string
		facts  func(*Facts)
		given  []gov.Recorded
		states string
		codes  string
	}{
		{"one person for two roles", nil, []gov.Recorded{says("carol", "owner"), says("carol", "security_lead")}, "review/owner=missing review/security_lead=satisfied", "carol:same_person"},
		{"two keys of one person", nil, []gov.Recorded{says("carol", "owner"), says("carol", "security_lead", func(s *gov.Recorded) { s.Key = "SHA256:carol-sk" })}, "review/owner=missing review/security_lead=satisfied", "carol:same_person"},
		{"delegate and delegator are one", func(f *Facts) { f.Authors = []string{"erin"}; f.Wants[0].Eligible = []string{"alice"} }, []gov.Recorded{says("alice", "owner"), says("dora", "security_lead")}, "review/owner=missing review/security_lead=satisfied", "alice:same_person"},
		{"one person for two roles of the registry", func(f *Facts) {
			f.Wants = append(f.Wants[1:], Want{ID: "review/architecture_lead", Stage: "review", Role: "architecture_lead"})
		}, []gov.Recorded{says("carol", "security_lead"), says("carol", "architecture_lead")}, "review/security_lead=satisfied review/architecture_lead=missing", "carol:same_person"},
		{"people are moved to where they are needed", nil, []gov.Recorded{says("carol", "owner"), says("carol", "security_lead"), says("bob", "security_lead")}, "review/owner=satisfied review/security_lead=satisfied", ""},
		{"one owner covers his groups", groups, []gov.Recorded{approveOwen, says("bob", "security_lead")}, "review/owner/a=satisfied review/owner/b=satisfied review/security_lead=satisfied", ""},
		{"an owner covers only his groups", groups, []gov.Recorded{says("carol", "owner"), says("bob", "security_lead")}, "review/owner/a=missing review/owner/b=satisfied review/security_lead=satisfied", ""},
		{"the same person at two stages", func(f *Facts) {
			f.Wants = append(f.Wants, Want{ID: "revert/owner", Stage: "revert", Role: "owner", Eligible: []string{"owen"}})
		}, []gov.Recorded{approveOwen, says("owen", "owner", func(s *gov.Recorded) { s.Stage = "revert" })}, "review/owner=satisfied review/security_lead=missing revert/owner=satisfied", ""},
		{"said twice", nil, []gov.Recorded{approveOwen, approveOwen}, "review/owner=satisfied review/security_lead=missing", ""},
		{"another change's statement is none of ours", nil, []gov.Recorded{says("owen", "owner", func(s *gov.Recorded) { s.Change = "CHANGE-8" })}, "review/owner=missing review/security_lead=missing", ""},
		{"taken back", nil, []gov.Recorded{approveOwen, says("owen", "owner", about(approveOwen.Digest))}, "review/owner=missing review/security_lead=missing", "owen:revoked"},
		{"taken back before it was recorded", nil, []gov.Recorded{says("owen", "owner", about(approveOwen.Digest)), approveOwen}, "review/owner=missing review/security_lead=missing", "owen:revoked"},
		{"taken back by somebody else", nil, []gov.Recorded{approveOwen, says("bob", "owner", about(approveOwen.Digest))}, "review/owner=satisfied review/security_lead=missing", "bob:not_signer"},
		{"taking back what is not there", nil, []gov.Recorded{says("bob", "owner", about(other))}, "review/owner=missing review/security_lead=missing", "bob:subject_unknown"},
		{"nobody owns the path", func(f *Facts) { f.Wants[0].Eligible = nil }, nil, "review/owner=failed review/security_lead=missing", ""},
		{"nobody has the role", func(f *Facts) { f.Wants[1].Role = "astronaut" }, nil, "review/owner=missing review/security_lead=failed", ""},
		{"the only holder is an author", func(f *Facts) { f.Wants[0].Eligible = []string{"alice"} }, nil, "review/owner=failed review/security_lead=missing", ""},
		{"one person for two roles in all the registry", func(f *Facts) {
			f.Wants[0].Eligible, f.Wants[1].Role, f.Authors = []string{"erin"}, "architecture_lead", []string{"carol"}
		}, []gov.Recorded{says("erin", "owner")}, "review/owner=satisfied review/security_lead=failed", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := base()
			if tc.facts != nil {
				tc.facts(&f)
			}
			f.Statements = tc.given
			a := Judge(f)
			if got := states(a); got != tc.states {
				t.Errorf("states %q, want %q", got, tc.states)
			}
			if got := codes(a); got != tc.codes {
				t.Errorf("not counted %q, want %q", got, tc.codes)
			}
		})
	}
}

func TestRejection(t *testing.T) {
	t.Parallel()
	no := says("bob", "security_lead", decides(gov.DecideReject))
	yes := []gov.Recorded{says("owen", "owner"), says("carol", "security_lead")}
	for _, tc := range []struct {
		name     string
		facts    func(*Facts)
		given    []gov.Recorded
		rejected bool
		codes    string
	}{
		{"blocks", nil, []gov.Recorded{no}, true, ""},
		{"without a reason", nil, []gov.Recorded{says("bob", "", decides(gov.DecideReject), func(s *gov.Recorded) { s.Explained = false })}, true, ""},
		{"past its expiry", nil, []gov.Recorded{says("bob", "", decides(gov.DecideReject), func(s *gov.Recorded) { s.Expires = noon.Add(-time.Minute) })}, true, ""},
		{"its key removed since", func(f *Facts) { f.People[1].Keys = f.People[1].Keys[1:] }, []gov.Recorded{no}, true, ""},
		{"by an author", func(f *Facts) { f.Authors = append(f.Authors, "bob") }, []gov.Recorded{no}, true, ""},
		{"at another stage", nil, []gov.Recorded{says("bob", "", decides(gov.DecideReject), func(s *gov.Recorded) { s.Stage = "canary" })}, true, ""},
		{"withdrawn", nil, []gov.Recorded{no, says("bob", "", about(no.Digest))}, false, "bob:revoked"},
		{"withdrawn with another key", nil, []gov.Recorded{no, says("bob", "", about(no.Digest), func(s *gov.Recorded) { s.Key = "SHA256:bob-sk" })}, false, "bob:revoked"},
		{"withdrawn with a removed key", nil, []gov.Recorded{no, says("bob", "", about(no.Digest), func(s *gov.Recorded) { s.Key = "SHA256:stolen" })}, true, "bob:key_removed"},
		{"withdrawn by somebody else", nil, []gov.Recorded{no, says("carol", "", about(no.Digest))}, true, "carol:not_signer"},
		{"approved after all by its signer", nil, []gov.Recorded{no, says("bob", "security_lead")}, true, ""},
		{"of other content", nil, []gov.Recorded{says("bob", "", decides(gov.DecideReject), func(s *gov.Recorded) { s.Revision.Change = other })}, false, "bob:other_revision"},
		{"by somebody without a role", nil, []gov.Recorded{says("erin", "", decides(gov.DecideReject))}, false, "erin:role_not_held"},
		{"by an agent", nil, []gov.Recorded{says("bot", "", decides(gov.DecideReject), func(s *gov.Recorded) { s.SignerKind = gov.Agent })}, false, "bot:not_human"},
		{"overridden", nil, []gov.Recorded{no, says("erin", "architecture_lead", decides(gov.DecideOverride), func(s *gov.Recorded) {
			s.Requirements, s.Expires = []string{"review/security_lead"}, noon.Add(time.Hour)
		})}, true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := base()
			if tc.facts != nil {
				tc.facts(&f)
			}
			f.Statements = slices.Concat(tc.given, yes)
			a := Judge(f)
			failed := slices.ContainsFunc(a.Requirements, func(r gov.Requirement) bool { return r.State == gov.Failed })
			if a.Rejected != tc.rejected || failed != tc.rejected {
				t.Errorf("rejected %v, failed %v, want %v (%s)", a.Rejected, failed, tc.rejected, states(a))
			}
			if got := codes(a); got != tc.codes {
				t.Errorf("not counted %q, want %q", got, tc.codes)
			}
		})
	}
}

func TestOverride(t *testing.T) {
	t.Parallel()
	breaks := func(signer, role string, change ...func(*gov.Recorded)) gov.Recorded {
		return says(signer, role, append([]func(*gov.Recorded){decides(gov.DecideOverride), func(s *gov.Recorded) {
			s.Stage, s.Requirements, s.Expires = "", []string{"review/security_lead", "validate/tests"}, noon.Add(time.Hour)
		}}, change...)...)
	}
	glass := breaks("erin", "architecture_lead")
	two := func(f *Facts) { f.OverridePeople = 2 }
	for _, tc := range []struct {
		name  string
		facts func(*Facts)
		given []gov.Recorded
		lifts string
		codes string
	}{
		{"lifts what it names", nil, []gov.Recorded{glass}, "review/security_lead validate/tests", ""},
		{"in a role that may not", nil, []gov.Recorded{breaks("bob", "security_lead")}, "", "bob:role_not_held"},
		{"in a role not held", nil, []gov.Recorded{breaks("bob", "architecture_lead")}, "", "bob:role_not_held"},
		{"as owner", func(f *Facts) { f.OverrideRoles = []string{"owner"} }, []gov.Recorded{breaks("owen", "owner")}, "review/security_lead validate/tests", ""},
		{"as owner of nothing here", func(f *Facts) { f.OverrideRoles = []string{"owner"} }, []gov.Recorded{breaks("erin", "owner")}, "", "erin:role_not_held"},
		{"by an author", func(f *Facts) { f.Authors = []string{"erin"} }, []gov.Recorded{glass}, "", "erin:is_author"},
		{"without an expiry", nil, []gov.Recorded{breaks("erin", "architecture_lead", func(s *gov.Recorded) { s.Expires = time.Time{} })}, "", "erin:no_expiry"},
		{"past its expiry", nil, []gov.Recorded{breaks("erin", "architecture_lead", func(s *gov.Recorded) { s.Expires = noon })}, "", "erin:expired"},
		{"without a reason", nil, []gov.Recorded{breaks("erin", "architecture_lead", func(s *gov.Recorded) { s.Explained = false })}, "", "erin:no_rationale"},
		{"of nothing", nil, []gov.Recorded{breaks("erin", "architecture_lead", func(s *gov.Recorded) { s.Requirements = nil })}, "", "erin:nothing_named"},
		{"for other content", nil, []gov.Recorded{breaks("erin", "architecture_lead", func(s *gov.Recorded) { s.Revision.Change = other })}, "", "erin:other_revision"},
		{"while a review is overdue", func(f *Facts) { f.OverdueReviews = []string{"CHANGE-3"} }, []gov.Recorded{glass}, "", "erin:review_overdue"},
		{"taken back", nil, []gov.Recorded{glass, says("erin", "", about(glass.Digest))}, "", "erin:revoked"},
		{"without presence where it is demanded", func(f *Facts) { f.Wants[0].Presence = true }, []gov.Recorded{glass}, "", "erin:no_presence"},
		{"alone where two are needed", two, []gov.Recorded{glass}, "", "erin:too_few_people"},
		{"twice by one person where two are needed", two, []gov.Recorded{glass, breaks("erin", "architecture_lead", func(s *gov.Recorded) { s.Key = "SHA256:erin-sk" })}, "", "erin:too_few_people erin:too_few_people"},
		{"by two", two, []gov.Recorded{glass, breaks("carol", "architecture_lead")}, "review/security_lead validate/tests", ""},
		{"by an agent", func(f *Facts) { f.OverrideRoles = []string{"security_lead"} }, []gov.Recorded{breaks("bot", "security_lead", func(s *gov.Recorded) { s.SignerKind = gov.Agent })}, "", "bot:not_human"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := base()
			if tc.facts != nil {
				tc.facts(&f)
			}
			f.Statements = tc.given
			a := Judge(f)
			var lifts []string
			for _, o := range a.Overrides {
				lifts = append(lifts, o.Requirement)
				if want := noon.Add(23 * time.Hour); !o.Due.Equal(want) {
					t.Errorf("review due %s, want %s", o.Due, want)
				}
			}
			if got := strings.Join(lifts, " "); got != tc.lifts {
				t.Errorf("lifts %q, want %q", got, tc.lifts)
			}
			if got, want := a.Requirements[1].State, gov.Overridden; (got == want) != (tc.lifts != "") {
				t.Errorf("state %s with %q lifted", got, tc.lifts)
			}
			if got := codes(a); got != tc.codes {
				t.Errorf("not counted %q, want %q", got, tc.codes)
			}
		})
	}
}

func TestReview(t *testing.T) {
	t.Parallel()
	glass := says("erin", "architecture_lead", decides(gov.DecideOverride), func(s *gov.Recorded) {
		s.Requirements, s.Expires = []string{"validate/tests"}, noon.Add(-time.Minute)
	})
	review := func(signer, role string, change ...func(*gov.Recorded)) gov.Recorded {
		return says(signer, role, append([]func(*gov.Recorded){func(s *gov.Recorded) {
			s.Decision, s.Subject, s.Revision.Change = gov.DecideReview, glass.Digest, other
		}}, change...)...)
	}
	for _, tc := range []struct {
		name  string
		facts func(*Facts)
		given gov.Recorded
		want  string // code, "" when it closes
	}{
		{"closes, also after the content moved and the override expired", nil, review("carol", "architecture_lead"), ""},
		{"by a wanted role", nil, review("bob", "security_lead"), ""},
		{"by the overrider", nil, review("erin", "architecture_lead"), CodeOwnReview},
		{"by an author", func(f *Facts) { f.Authors = []string{"bob"} }, review("bob", "security_lead"), CodeIsAuthor},
		{"by somebody without a role", nil, review("owen", "security_lead"), CodeRoleNotHeld},
		{"without a reason", nil, review("bob", "security_lead", func(s *gov.Recorded) { s.Explained = false }), CodeNoRationale},
		{"of nothing", nil, review("bob", "security_lead", func(s *gov.Recorded) { s.Subject = "" }), CodeSubjectUnknown},
		{"by an agent", nil, review("bot", "security_lead", func(s *gov.Recorded) { s.SignerKind = gov.Agent }), CodeNotHuman},
		{"of a merge without permission", nil, review("bob", "security_lead", func(s *gov.Recorded) { s.Subject = other }), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := base()
			if tc.facts != nil {
				tc.facts(&f)
			}
			f.Statements = []gov.Recorded{glass, tc.given}
			a := Judge(f)
			want := "erin:expired"
			if tc.want != "" {
				want += " " + tc.given.Signer + ":" + tc.want
			}
			if got := codes(a); got != want {
				t.Errorf("not counted %q, want %q", got, want)
			}
			if closed := len(a.Reviews) == 1; closed != (tc.want == "") {
				t.Errorf("reviews %v", a.Reviews)
			}
		})
	}
}

func TestWhoAndCommand(t *testing.T) {
	t.Parallel()
	f := base()
	f.Wants = append(f.Wants, Want{
		ID: "final/security_lead", Stage: "final", Role: "security_lead", Final: true, Presence: true,
		Outcome: &gov.Outcome{Target: "prod", Attempt: 1, Verdict: verdict},
	})
	f.People[2].Keys = f.People[2].Keys[:1] // carol has no security key
	f.Statements = []gov.Recorded{says("carol", "owner")}
	want := []gov.Requirement{
		{ID: "review/owner", Kind: "approval", State: gov.Satisfied, Text: "owner of core approves the revision", By: []string{"carol"}, Why: "signed 2025-01-08T11:00:00Z", Evidence: []gov.Digest{f.Statements[0].Digest}},
		{ID: "review/security_lead", Kind: "approval", State: gov.Missing, Text: "security lead approves the revision", Who: []string{"bob", "sam"}, Command: "govern approve CHANGE-7 --role security_lead"},
		{ID: "final/security_lead", Kind: "approval", State: gov.Missing, Text: "security lead approves the outcome", Who: []string{"bob", "sam"}, Command: "govern approve CHANGE-7 --role security_lead --stage final", Why: "needs a security key or a passkey"},
	}
	a := Judge(f)
	if d := cmp.Diff(want, a.Requirements); d != "" {
		t.Error(d)
	}
	if want := []string{"carol signed with a plain key, which proves no person's presence"}; !slices.Equal(a.Notes, want) {
		t.Errorf("notes %q, want %q", a.Notes, want)
	}
	f.People = slices.DeleteFunc(f.People, func(p gov.Person) bool { return p.Handle == "bob" || p.Handle == "sam" || p.Handle == "dora" })
	f.Wants = f.Wants[:2]
	r := Judge(f).Requirements[1]
	if d := cmp.Diff([]string{"carol"}, r.Who); d != "" || r.State != gov.Missing || !strings.Contains(r.Why, "another role") {
		t.Errorf("only carol is left, and owen could take over as owner: %+v", r)
	}
	f.Wants[0].Eligible = []string{"carol"}
	if r := Judge(f).Requirements[1]; r.State != gov.Failed || !strings.Contains(r.Why, "nobody in the registry") {
		t.Errorf("carol is needed twice and nobody can take over: %+v", r)
	}
}

func TestReplay(t *testing.T) {
	t.Parallel()
	f := base()
	f.Statements = []gov.Recorded{says("carol", "owner"), says("bob", "security_lead", decides(gov.DecideReject))}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Replay(b)
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(Judge(f))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{`{"now":`, `{"unknown":1}`, `[]`} {
		if _, err := Replay(json.RawMessage(bad)); gov.KindOf(err) != gov.KindIntegrity {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
