package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

var noon = time.Date(2025, 1, 8, 12, 0, 0, 0, time.UTC)

func human(handle string, presence bool, roles ...string) gov.Person {
	return gov.Person{Handle: handle, Kind: gov.Human, Roles: roles, Keys: []gov.Key{{Presence: presence}}}
}

func service(handle string, roles ...string) gov.Person {
	return gov.Person{Handle: handle, Kind: gov.Service, Roles: roles, Keys: []gov.Key{{}}}
}

func TestLivenessTable(t *testing.T) {
	all := []OwnerRule{{Path: "*", Owners: []string{"olga", "omar"}}}
	full := []gov.Person{
		human("olga", true), human("omar", true), human("sec", true, "security_lead"), human("sec2", true, "security_lead"),
		human("arch", true, "architecture_lead"), human("arch2", true, "architecture_lead"), service("ci", "ci"),
	}
	without := func(handles ...string) []gov.Person {
		return slices.DeleteFunc(slices.Clone(full), func(p gov.Person) bool { return slices.Contains(handles, p.Handle) })
	}
	for _, c := range []struct {
		name   string
		people []gov.Person
		rules  []OwnerRule
		with   func(*Policy)
		want   string // risk/role@author, "*" for everybody
	}{
		{"enough", full, all, nil, ""},
		{"no owner rules", full, nil, nil, "low/owner@*"},
		{"one security lead", without("sec2"), all, nil, "high/security_lead@sec critical/security_lead@sec"},
		{"no security lead", without("sec", "sec2"), all, nil, "high/security_lead@* critical/security_lead@*"},
		{"one owner", without("omar"), all, nil, "low/owner@olga medium/owner@olga high/owner@olga critical/owner@olga"},
		{"one owner, solo", without("omar"), all, func(p *Policy) { p.Solo = true }, "high/owner@olga critical/owner@olga"},
		{"no ci", without("ci"), all, nil, "low/ci@* medium/ci@* high/ci@* high/security_scanner@* critical/ci@* critical/security_scanner@*"},
		{"no rule for every path", full, []OwnerRule{{Path: "/src/", Owners: []string{"olga", "omar"}}}, nil, "low/owner@"},
		{"a rule that unowns", full, append(slices.Clone(all), OwnerRule{Path: "/v/"}), nil, "low/owner@* medium/owner@* high/owner@* critical/owner@*"},
		{"a rule that a later one replaces", full, append([]OwnerRule{{Path: "*", Owners: []string{"ghost"}}}, all...), nil, ""},
		{"a role that a require rule asks for", full, all, func(p *Policy) {
			p.Require = []RequireRule{{When: "touches.model", Roles: []string{"privacy_lead"}, Because: "b"}}
		}, "low/privacy_lead@* medium/privacy_lead@* high/privacy_lead@* critical/privacy_lead@*"},
		{
			"plain keys do not do for high", append(without("sec", "sec2"), human("sec", false, "security_lead"), human("sec2", false, "security_lead")), all, nil,
			"high/security_lead@* critical/security_lead@*",
		},
		{"an agent and its sponsor", append(without("omar"), gov.Person{Handle: "bot", Kind: gov.Agent, Sponsor: "olga"}), all, func(p *Policy) {
			p.Workflows.High, p.Workflows.Critical = p.Workflows.Low, p.Workflows.Low
			p.Solo = true
		}, "high/owner@olga high/owner@bot critical/owner@olga critical/owner@bot"},
		{"an agent's change needs presence", append(without("olga", "omar"), human("olga", false), human("omar", false), gov.Person{Handle: "bot", Kind: gov.Agent, Sponsor: "ann"}), all, func(p *Policy) {
			p.Workflows.High, p.Workflows.Critical, p.Presence = p.Workflows.Low, p.Workflows.Low, []string{"agents"}
		}, "low/owner@bot medium/owner@bot high/owner@bot critical/owner@bot"},
	} {
		p := Default()
		if c.with != nil {
			c.with(&p)
		}
		var got []string
		for _, s := range Liveness(p, c.rules, gov.Registry{People: c.people}, noon) {
			who := s.Author
			if s.Everybody {
				who = "*"
			}
			got = append(got, fmt.Sprintf("%s/%s@%s", s.Risk, s.Role, who))
			if s.Why == "" || s.Fix == "" {
				t.Errorf("%s: %+v says neither why nor what to do", c.name, s)
			}
		}
		want := strings.Fields(c.want)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("%s:\n got %v\nwant %v", c.name, got, want)
		}
	}
}

// TestLivenessOracle tries every assignment of people to roles, restating what
// counts: a human, not the author nor one with the author, each identity once,
// a valid key, presence where it is asked.
func TestLivenessOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		handles := []string{"a", "b", "c", "d"}
		roles := []string{"security_lead", "architecture_lead"}
		reg := gov.Registry{People: []gov.Person{service("ci", "ci", "security_scanner")}}
		for _, h := range handles[:rapid.IntRange(1, 4).Draw(t, "people")] {
			p := gov.Person{Handle: h, Kind: gov.Human, Roles: rapid.SliceOfNDistinct(rapid.SampledFrom(roles), 0, 2, rapid.ID[string]).Draw(t, "roles")}
			p.DelegateOf = rapid.SampledFrom([]string{"", "", "", "a"}).Draw(t, "delegate")
			if p.DelegateOf == h {
				p.DelegateOf = ""
			}
			k := gov.Key{Presence: rapid.Bool().Draw(t, "presence")}
			if rapid.IntRange(0, 4).Draw(t, "expired") == 0 {
				k.NotAfter = noon
			}
			p.Keys = []gov.Key{k}
			reg.People = append(reg.People, p)
		}
		owners := rapid.SliceOfNDistinct(rapid.SampledFrom(handles), 1, 4, rapid.ID[string]).Draw(t, "owners")
		pol := Default()
		pol.Evidence["architecture_review"] = EvidenceRow{By: []string{"ci"}}
		pol.Solo = rapid.Bool().Draw(t, "solo")
		shorts := Liveness(pol, []OwnerRule{{Path: "*", Owners: owners}}, reg, noon)
		for _, r := range gov.Risks {
			dead := 0
			var stuck []string
			for _, author := range reg.People[1:] {
				if !possible(pol, r, owners, reg, author.Handle) {
					dead++
					stuck = append(stuck, author.Handle)
				}
			}
			var got []string
			everybody := false
			for _, s := range shorts {
				if s.Risk == r && s.Everybody {
					everybody = true
				} else if s.Risk == r {
					got = append(got, s.Author)
				}
			}
			if everybody != (dead == len(reg.People)-1) {
				t.Fatalf("%s: everybody %v, but %d of %d are stuck: %+v", r, everybody, dead, len(reg.People)-1, shorts)
			}
			slices.Sort(got)
			if !everybody && !slices.Equal(stuck, got) {
				t.Fatalf("%s: %v are stuck, reported %v", r, stuck, got)
			}
		}
	})
}

// root is the one person behind a handle.
func root(reg gov.Registry, h string) string {
	for _, p := range reg.People {
		if p.Handle == h && p.DelegateOf != "" {
			return p.DelegateOf // the generator draws no chains but through a, who delegates for nobody
		}
	}
	return h
}

func possible(p Policy, r gov.Risk, owners []string, reg gov.Registry, author string) bool {
	need := map[gov.Risk][]string{
		"low": {"owner"}, "medium": {"owner"}, "high": {"owner", "security_lead"},
		"critical": {"owner", "security_lead", "architecture_lead"},
	}[r]
	strict := r == "high" || r == "critical"
	var assign func(i int, used []string) bool
	assign = func(i int, used []string) bool {
		if i == len(need) {
			return true
		}
		for _, who := range reg.People {
			id := root(reg, who.Handle)
			self := id == root(reg, author)
			wears := slices.Contains(who.Roles, need[i])
			if need[i] == "owner" {
				wears = slices.Contains(owners, who.Handle)
				self = self && (!p.Solo || strict)
			}
			k := gov.Key{}
			if len(who.Keys) == 1 {
				k = who.Keys[0]
			}
			good := who.Kind == "human" && k.NotAfter.IsZero() && (!strict || k.Presence)
			if wears && !self && good && !slices.Contains(used, id) && assign(i+1, append(slices.Clone(used), id)) {
				return true
			}
		}
		return false
	}
	return assign(0, nil)
}
