package evidence

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
)

var (
	noon    = time.Date(2025, 1, 8, 12, 0, 0, 0, time.UTC)
	tree    = gov.DigestOf([]byte("tree"))
	content = gov.DigestOf([]byte("content"))
	other   = gov.DigestOf([]byte("other"))
)

func member(handle string, kind gov.PrincipalKind, roles ...string) gov.Person {
	return gov.Person{Handle: handle, Kind: kind, Roles: roles, Keys: []gov.Key{{Fingerprint: "SHA256:" + handle}}}
}

func base(wants ...Want) Facts {
	return Facts{
		Now: noon, Change: "CHANGE-7", Tree: tree, Revision: content, Authors: []string{"alice"}, Checks: wants,
		People: []gov.Person{
			member("alice", gov.Human, "architecture_lead"), member("erin", gov.Human, "architecture_lead"), member("bob", gov.Human, "security_lead", "ci"),
			member("ci", gov.Service, "ci"), member("scanner", gov.Service, "security_scan"), member("bot", gov.Agent, "ci", "architecture_lead"),
		},
	}
}

// report is an evidence statement of the service ci that nothing speaks
// against.
func report(e gov.Evidence, change ...func(*gov.Recorded)) gov.Recorded {
	if e.Tool == "" {
		e.Tool = "pytest"
	}
	return seal(gov.Recorded{
		Decision: gov.DecideEvidence, Change: "CHANGE-7", Revision: gov.Revision{Change: content, Tree: tree}, Evidence: &e,
		Signer: "ci", SignerKind: gov.Service, Key: "SHA256:ci", Time: noon.Add(-time.Hour),
	}, change...)
}

func finding(change ...func(*gov.Recorded)) gov.Recorded {
	return seal(gov.Recorded{
		Decision: gov.DecideAttest, Stage: KindArchitectureReview, Change: "CHANGE-7", Role: "architecture_lead", Explained: true,
		Revision: gov.Revision{Change: content}, Signer: "erin", SignerKind: gov.Human, Key: "SHA256:erin", Time: noon.Add(-time.Hour),
	}, change...)
}

func seal(s gov.Recorded, change ...func(*gov.Recorded)) gov.Recorded {
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

func results(lines ...string) []gov.Result {
	var out []gov.Result
	for _, l := range lines {
		id, status, _ := strings.Cut(l, " ")
		out = append(out, gov.Result{ID: id, Status: status})
	}
	return out
}

func tests(lines ...string) gov.Evidence {
	e := gov.Evidence{Kind: KindTests, Results: results(lines...)}
	e.Passed, e.Failed, e.Skipped = count(e.Results, "passed"), count(e.Results, "failed"), count(e.Results, "skipped")
	return e
}

func codes(a Answer) string {
	var out []string
	for _, n := range a.NotCounted {
		out = append(out, n.Signer+":"+n.Code)
	}
	return strings.Join(out, " ")
}

func TestWhoseReportCounts(t *testing.T) {
	t.Parallel()
	ok := tests("a::t passed")
	by := func(h string, k gov.PrincipalKind) func(*gov.Recorded) {
		return func(s *gov.Recorded) { s.Signer, s.SignerKind, s.Key = h, k, "SHA256:"+h }
	}
	for _, tc := range []struct {
		name  string
		facts func(*Facts)
		given []gov.Recorded
		state gov.State
		codes string
	}{
		{"a service with the role", nil, []gov.Recorded{report(ok)}, gov.Satisfied, ""},
		{"without naming the change", nil, []gov.Recorded{report(ok, func(s *gov.Recorded) { s.Change = "" })}, gov.Satisfied, ""},
		{"nobody", nil, nil, gov.Missing, ""},
		{"another tree", nil, []gov.Recorded{report(ok, func(s *gov.Recorded) { s.Revision.Tree = other })}, gov.Missing, "ci:other_tree"},
		{"another change and tree is none of ours", nil, []gov.Recorded{report(ok, func(s *gov.Recorded) { s.Change, s.Revision.Tree = "CHANGE-8", other })}, gov.Missing, ""},
		{"tree unknown", func(f *Facts) { f.Tree = "" }, []gov.Recorded{report(ok, func(s *gov.Recorded) { s.Revision.Tree = "" })}, gov.Missing, "ci:other_tree"},
		{"a service of another kind", nil, []gov.Recorded{report(ok, by("scanner", gov.Service))}, gov.Missing, "scanner:not_allowed"},
		{"a human who wears ci", nil, []gov.Recorded{report(ok, by("bob", gov.Human))}, gov.Missing, "bob:not_allowed"},
		{"a human in the check's own role", func(f *Facts) { f.Checks[0].Roles = []string{"security_lead"} }, []gov.Recorded{report(ok, by("bob", gov.Human))}, gov.Satisfied, ""},
		{"an agent", nil, []gov.Recorded{report(ok, by("bot", gov.Agent))}, gov.Missing, "bot:not_allowed"},
		{"an agent recorded as service", nil, []gov.Recorded{report(ok, by("bot", gov.Service))}, gov.Missing, "bot:not_allowed"},
		{"wearing a role not held", nil, []gov.Recorded{report(ok, func(s *gov.Recorded) { s.Role = "tests" })}, gov.Missing, "ci:not_allowed"},
		{"an author", func(f *Facts) {
			f.Authors = []string{"ci"}
			f.People = append(f.People, member("ci2", gov.Service, "ci"))
		}, []gov.Recorded{report(ok)}, gov.Missing, "ci:is_author"},
		{"left the registry", nil, []gov.Recorded{report(ok, by("old", gov.Service))}, gov.Missing, "old:signer_unknown"},
		{"key removed", nil, []gov.Recorded{report(ok, func(s *gov.Recorded) { s.Key = "x" })}, gov.Missing, "ci:key_removed"},
		{"key not valid then", func(f *Facts) { f.People[3].Keys[0].NotBefore = noon.Add(-time.Minute) }, []gov.Recorded{report(ok)}, gov.Missing, "ci:key_expired"},
		{"expired", nil, []gov.Recorded{report(ok, func(s *gov.Recorded) { s.Expires = noon })}, gov.Missing, "ci:expired"},
		{"taken back", nil, []gov.Recorded{report(ok), seal(gov.Recorded{Decision: gov.DecideRevoke, Subject: report(ok).Digest, Signer: "ci"})}, gov.Missing, "ci:revoked"},
		{"taken back by another", nil, []gov.Recorded{report(ok), seal(gov.Recorded{Decision: gov.DecideRevoke, Subject: report(ok).Digest, Signer: "bob"})}, gov.Satisfied, ""},
		{"no report in it", nil, []gov.Recorded{report(ok, func(s *gov.Recorded) { s.Evidence = nil })}, gov.Missing, "ci:no_report"},
		{"a kind nobody asks for", nil, []gov.Recorded{report(gov.Evidence{Kind: KindCoverage})}, gov.Missing, "ci:not_wanted"},
		{"nobody may sign at all", func(f *Facts) { f.Checks[0].Roles = []string{"astronaut"} }, nil, gov.Failed, ""},
		{"a claim", func(f *Facts) { f.Claims = []Claim{{Kind: KindTests, Source: "junit.xml"}} }, nil, gov.Missing, ":unsigned"},
		{"not applicable by policy", func(f *Facts) { f.Checks[0].NotApplicable = "documentation only" }, nil, gov.NotApplicable, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := base(Want{ID: "validate/tests", Kind: KindTests})
			if tc.facts != nil {
				tc.facts(&f)
			}
			f.Statements = tc.given
			a := Judge(f)
			if got := a.Requirements[0]; got.State != tc.state {
				t.Errorf("state %s (%s), want %s", got.State, got.Why, tc.state)
			}
			if got := codes(a); got != tc.codes {
				t.Errorf("not counted %q, want %q", got, tc.codes)
			}
		})
	}
}

func TestTests(t *testing.T) {
	t.Parallel()
	counts := func(p, f, s int) gov.Evidence {
		return gov.Evidence{Kind: KindTests, Passed: p, Failed: f, Skipped: s}
	}
	unread := tests("a::t passed")
	unread.Unread = []string{"line 9"}
	tool := func(e gov.Evidence, tool string) gov.Evidence { e.Tool = tool; return e }
	for _, tc := range []struct {
		name  string
		run   []string
		given []gov.Evidence
		state gov.State
		why   string // part of it
	}{
		{"passed", nil, []gov.Evidence{tests("a::t passed", "a::u skipped")}, gov.Satisfied, "1 test passed"},
		{"one failed", nil, []gov.Evidence{tests("a::t passed", "a::u failed")}, gov.Failed, "a::u"},
		{"none run", nil, []gov.Evidence{tests()}, gov.Failed, "nothing was run"},
		{"all skipped", nil, []gov.Evidence{tests("a::t skipped")}, gov.Failed, "skipped"},
		{"a status nobody knows", nil, []gov.Evidence{tests("a::t passed", "a::u xpassed")}, gov.Failed, "a::u"},
		{"only counts", nil, []gov.Evidence{counts(9, 0, 1)}, gov.Satisfied, "9 tests passed"},
		{"only counts, one failed", nil, []gov.Evidence{counts(9, 1, 0)}, gov.Failed, "1 test failed"},
		{"unread parts", nil, []gov.Evidence{unread}, gov.Unknown, "line 9"},
		{"named and passed", []string{"a::t"}, []gov.Evidence{tests("a::t passed")}, gov.Satisfied, ""},
		{"named and skipped", []string{"a::u"}, []gov.Evidence{tests("a::t passed", "a::u skipped")}, gov.Failed, "a::u was skipped"},
		{"named and absent", []string{"a::v"}, []gov.Evidence{tests("a::t passed")}, gov.Failed, "in no counted report"},
		{"named, and some only counted", []string{"a::v"}, []gov.Evidence{tests("a::t passed"), tool(counts(3, 0, 0), "go")}, gov.Unknown, "only count"},
		{"a later failure undoes a pass", nil, []gov.Evidence{tests("a::t passed"), tests("a::t failed")}, gov.Failed, "a::t"},
		{"a later skip undoes a pass", []string{"a::t"}, []gov.Evidence{tests("a::t passed"), tests("a::t skipped", "a::u passed")}, gov.Failed, "was skipped"},
		{"a rerun heals", []string{"a::t"}, []gov.Evidence{tests("a::t failed"), tests("a::t passed")}, gov.Satisfied, ""},
		{"another test does not heal", nil, []gov.Evidence{tests("a::t failed"), tests("a::u passed")}, gov.Failed, "a::t"},
		{"another tool's counts do not heal", nil, []gov.Evidence{counts(1, 1, 0), tool(counts(9, 0, 0), "go")}, gov.Failed, "1 test failed"},
		{"shards add up", []string{"a::t", "b::t"}, []gov.Evidence{tests("a::t passed"), tests("b::t passed")}, gov.Satisfied, "2 tests passed"},
		{"twice in one report, once failed", nil, []gov.Evidence{tests("a::t failed", "a::t passed")}, gov.Failed, "a::t"},
		{"counts claim less than the results", nil, []gov.Evidence{{Kind: KindTests, Passed: 2, Results: results("a::t passed", "a::u failed")}}, gov.Failed, "a::u"},
	} {
		for _, kind := range []string{KindTests, KindIntegration} {
			t.Run(kind+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				f := base(Want{ID: "validate/x", Kind: kind, TestsRun: tc.run})
				for i, e := range tc.given {
					e.Kind = kind
					f.Statements = append(f.Statements, report(e, func(s *gov.Recorded) { s.Index = uint64(i) }))
				}
				got := Judge(f).Requirements[0]
				if got.State != tc.state || !strings.Contains(got.Why, tc.why) {
					t.Errorf("%s (%s), want %s (%s)", got.State, got.Why, tc.state, tc.why)
				}
			})
		}
	}
}

func TestOtherChecks(t *testing.T) {
	t.Parallel()
	cover := func(x float64) gov.Evidence { return gov.Evidence{Kind: KindCoverage, Coverage: &x} }
	scan := func(tool string, findings int) gov.Evidence {
		return gov.Evidence{Kind: KindSecurityScan, Tool: tool, Findings: findings}
	}
	build := func(name string, d gov.Digest) gov.Evidence {
		return gov.Evidence{Kind: KindBuild, Artifact: &gov.Artifact{Name: name, Digest: d}}
	}
	minimum := Want{Kind: KindCoverage, Minimum: 0.8}
	sec, arch := Want{Kind: KindSecurityScan}, Want{Kind: KindArchitectureReview}
	archTool := report(gov.Evidence{Kind: KindArchitectureReview, Tool: "archtest"})
	noTool := func(s *gov.Recorded) { s.Evidence.Tool = "" }
	for _, tc := range []struct {
		name  string
		want  Want
		given []gov.Recorded
		state gov.State
	}{
		{"coverage at the bar", minimum, []gov.Recorded{report(cover(0.8))}, gov.Satisfied},
		{"coverage below", minimum, []gov.Recorded{report(cover(0.7999))}, gov.Failed},
		{"coverage absent", minimum, []gov.Recorded{report(gov.Evidence{Kind: KindCoverage})}, gov.Unknown},
		{"coverage beyond", minimum, []gov.Recorded{report(cover(80))}, gov.Unknown},
		{"bar beyond", Want{Kind: KindCoverage, Minimum: -1}, []gov.Recorded{report(cover(0.8))}, gov.Unknown},
		{"coverage rises", minimum, []gov.Recorded{report(cover(0.5)), report(cover(0.9))}, gov.Satisfied},
		{"coverage falls", minimum, []gov.Recorded{report(cover(0.9)), report(cover(0.5))}, gov.Failed},
		{"another tool covers less", minimum, []gov.Recorded{report(cover(0.5)), report(cover(0.9), func(s *gov.Recorded) { s.Evidence.Tool = "go" })}, gov.Failed},
		{"scan clean", sec, []gov.Recorded{report(scan("gitleaks", 0))}, gov.Satisfied},
		{"scan by its own service", sec, []gov.Recorded{report(scan("gitleaks", 0), func(s *gov.Recorded) { s.Signer, s.Key = "scanner", "SHA256:scanner" })}, gov.Satisfied},
		{"scan found", sec, []gov.Recorded{report(scan("gitleaks", 1))}, gov.Failed},
		{"scan found, by results", sec, []gov.Recorded{report(gov.Evidence{Kind: KindSecurityScan, Results: results("CVE-1 failed")})}, gov.Failed},
		{"scan by nothing", sec, []gov.Recorded{report(scan("x", 0), noTool)}, gov.Failed},
		{"scan unread", sec, []gov.Recorded{report(gov.Evidence{Kind: KindSecurityScan, Unread: []string{"runs[1]"}})}, gov.Unknown},
		{"scan repaired", sec, []gov.Recorded{report(scan("gitleaks", 1)), report(scan("gitleaks", 0))}, gov.Satisfied},
		{"another scanner hides nothing", sec, []gov.Recorded{report(scan("gitleaks", 1)), report(scan("semgrep", 0))}, gov.Failed},
		{"contracts untouched", Want{Kind: KindContracts}, nil, gov.Satisfied},
		{"contracts touched", Want{Kind: KindContracts, ContractsTouched: []string{"contracts/kick.json"}}, []gov.Recorded{report(gov.Evidence{Kind: KindContracts, Passed: 1})}, gov.Unknown},
		{"architecture: both", arch, []gov.Recorded{archTool, finding()}, gov.Satisfied},
		{"architecture: tool only", arch, []gov.Recorded{archTool}, gov.Missing},
		{"architecture: finding only", arch, []gov.Recorded{finding()}, gov.Missing},
		{"architecture: an approval is no finding", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.Decision = gov.DecideApprove })}, gov.Missing},
		{"architecture: finding at another stage", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.Stage = "review" })}, gov.Missing},
		{"architecture: finding of other content", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.Revision.Change = other })}, gov.Missing},
		{"architecture: finding of another change", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.Change = "CHANGE-8" })}, gov.Missing},
		{"architecture: finding by an author", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.Signer, s.Key = "alice", "SHA256:alice" })}, gov.Missing},
		{"architecture: finding in another role", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.Signer, s.Key, s.Role = "bob", "SHA256:bob", "security_lead" })}, gov.Missing},
		{"architecture: finding in a role not held", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.Signer, s.Key = "bob", "SHA256:bob" })}, gov.Missing},
		{"architecture: finding by a service", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.SignerKind = gov.Service })}, gov.Missing},
		{"architecture: finding by an agent recorded as human", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.Signer, s.Key = "bot", "SHA256:bot" })}, gov.Missing},
		{"architecture: finding without words", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.Explained = false })}, gov.Missing},
		{"architecture: finding without a touch", Want{Kind: KindArchitectureReview, Presence: true}, []gov.Recorded{archTool, finding()}, gov.Failed},
		{"architecture: finding against", arch, []gov.Recorded{archTool, finding(func(s *gov.Recorded) { s.Evidence = &gov.Evidence{Findings: 1} })}, gov.Failed},
		{"a finding for another kind", Want{Kind: KindSecurityScan, Finding: []string{"security_lead"}}, []gov.Recorded{report(scan("gitleaks", 0))}, gov.Missing},
		{"build", Want{Kind: KindBuild, Artifacts: []string{"studio"}}, []gov.Recorded{report(build("studio", tree))}, gov.Satisfied},
		{"build of something else", Want{Kind: KindBuild, Artifacts: []string{"studio"}}, []gov.Recorded{report(build("kick", tree))}, gov.Failed},
		{"build without digest", Want{Kind: KindBuild}, []gov.Recorded{report(build("studio", ""))}, gov.Failed},
		{"a kind without a rule", Want{Kind: "astrology"}, []gov.Recorded{report(gov.Evidence{Kind: "astrology", Passed: 3})}, gov.Unknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.want.ID = "validate/x"
			f := base(tc.want)
			f.Statements = tc.given
			for i := range f.Statements {
				f.Statements[i] = seal(f.Statements[i], func(s *gov.Recorded) { s.Index = uint64(i) })
			}
			if got := Judge(f).Requirements[0]; got.State != tc.state {
				t.Errorf("%s (%s), want %s", got.State, got.Why, tc.state)
			}
		})
	}
	nan := math.NaN()
	if st, _ := judgeCoverage(gov.Evidence{Coverage: &nan}, 0); st != gov.Unknown {
		t.Errorf("coverage NaN is %s", st)
	}
}

func TestAnswerInWords(t *testing.T) {
	t.Parallel()
	f := base(
		Want{ID: "validate/tests", Kind: KindTests},
		Want{ID: "validate/architecture_review", Kind: KindArchitectureReview},
		Want{ID: "validate/build", Kind: KindBuild},
	)
	f.Statements = []gov.Recorded{report(gov.Evidence{Kind: KindBuild, Artifact: &gov.Artifact{Name: "studio", Digest: other}})}
	want := Answer{
		Requirements: []gov.Requirement{
			{ID: "validate/tests", Kind: "tests", State: gov.Missing, Text: "the tests passed", Who: []string{"ci"}, Command: "govern evidence add CHANGE-7 --kind tests", Why: "no report of this tree that counts"},
			{ID: "validate/architecture_review", Kind: "architecture_review", State: gov.Missing, Text: "the architecture was reviewed", Children: []gov.Requirement{
				{ID: "validate/architecture_review/tool", Kind: "architecture_review", State: gov.Missing, Text: "the architecture was reviewed", Who: []string{"ci"}, Command: "govern evidence add CHANGE-7 --kind architecture_review", Why: "no report of this tree that counts"},
				{ID: "validate/architecture_review/finding", Kind: "architecture_review", State: gov.Missing, Text: "architecture lead signs a finding", Who: []string{"erin"}, Command: "govern checklist attest CHANGE-7 architecture_review"},
			}},
			{ID: "validate/build", Kind: "build", State: gov.Satisfied, Text: "the artifacts were built from this tree", By: []string{"ci"}, Evidence: []gov.Digest{f.Statements[0].Digest}},
		},
		Artifacts: []gov.Artifact{{Name: "studio", Digest: other}},
	}
	if d := cmp.Diff(want, Judge(f)); d != "" {
		t.Error(d)
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Replay(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(Judge(f))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, again) {
		t.Errorf("replay gives %s, want %s", got, again)
	}
	if _, err := Replay([]byte(`{"x":1}`)); gov.KindOf(err) != gov.KindIntegrity {
		t.Errorf("unknown facts: %v", err)
	}
}
