package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Short is a way in which no assignment of distinct people exists. Everybody is
// true where nobody's change could pass; otherwise Author is whose could not, or
// empty where only paths that no rule matches have no owner.
type Short struct {
	Risk      gov.Risk `json:"risk"`
	Role      string   `json:"role"`             // the role that is short, or the check
	Path      string   `json:"path,omitempty"`   // the owner rule, for the role owner
	Author    string   `json:"author,omitempty"` // whose change could not pass
	Everybody bool     `json:"everybody"`
	Why       string   `json:"why"`
	Fix       string   `json:"fix"`
}

// Liveness proves, for each risk and each owner rule, that whoever of the
// registry writes a change (a human, or an agent with its sponsor) there are
// distinct people with valid keys who can approve it, and that every check has
// somebody who may attest it. It gives what is short, hard cases (Everybody)
// first, and nothing when all is well. rules are the owner rules in force, now
// is when keys must be valid.
//
// People are counted as approvals are: humans only, an author and whoever is
// one with the author through delegation not at all (but see solo), a delegate
// and the delegator once, with a key that proves presence where that is
// demanded.
func Liveness(p Policy, rules []OwnerRule, reg gov.Registry, now time.Time) []Short {
	l := &liveness{p: p, reg: reg, now: now, members: Members(reg)}
	if len(rules) == 0 {
		return []Short{{
			Risk: gov.RiskLow, Role: RoleOwner, Everybody: true, Why: "there are no owner rules, so nobody owns anything",
			Fix: "write a line \"* @handle\" in " + l.where(),
		}}
	}
	for _, r := range gov.Risks {
		l.checks(r)
		for _, rule := range effective(rules) {
			l.rule(r, rule)
		}
	}
	if !catchAll(rules) {
		l.out = append(l.out, Short{
			Risk: gov.RiskLow, Role: RoleOwner, Author: "", Path: "*", Why: "no rule matches every path, so a new top-level path has no owner",
			Fix: "begin " + l.where() + " with a line \"* @handle\"",
		})
	}
	slices.SortStableFunc(l.out, func(a, b Short) int {
		switch {
		case a.Everybody == b.Everybody:
			return 0
		case a.Everybody:
			return -1
		}
		return 1
	})
	return l.out
}

type liveness struct {
	p       Policy
	reg     gov.Registry
	now     time.Time
	members []Member
	owners  []string // humans whom the rule at hand names
	out     []Short
}

func (l *liveness) where() string {
	if l.p.Owners.Codeowners != "" {
		return l.p.Owners.Codeowners
	}
	return "owners.rules of " + Path
}

// effective drops rules that a later rule with the same pattern replaces.
func effective(rules []OwnerRule) []OwnerRule {
	var out []OwnerRule
	for i, r := range rules {
		if !slices.ContainsFunc(rules[i+1:], func(o OwnerRule) bool { return o.Path == r.Path }) {
			out = append(out, r)
		}
	}
	return out
}

func catchAll(rules []OwnerRule) bool {
	return slices.ContainsFunc(rules, func(r OwnerRule) bool {
		return r.Path == "*" || r.Path == "**" || r.Path == "/**" || r.Path == "**/*"
	})
}

// author is somebody who can write a change.
type author struct {
	name  string // for the report
	id    string // identity that does not count, "" when the author is nobody of the registry
	agent bool
}

// authors lists every human of the registry and every agent that has a sponsor.
func (l *liveness) authors() []author {
	var out []author
	for _, p := range l.reg.People {
		switch {
		case p.Kind == gov.Human:
			out = append(out, author{name: p.Handle, id: l.identity(p.Handle)})
		case p.Kind == gov.Agent && p.Sponsor != "":
			out = append(out, author{name: p.Handle, id: l.identity(p.Sponsor), agent: true})
		}
	}
	return out
}

// identity follows delegation: a delegate and the delegator are one.
func (l *liveness) identity(handle string) string {
	for range l.reg.People {
		p, ok := l.reg.Person(handle)
		if !ok || p.DelegateOf == "" {
			return handle
		}
		handle = p.DelegateOf
	}
	return handle
}

// slot is one approval and the identities that can give it.
type slot struct {
	role string
	can  []string
}

func (l *liveness) rule(r gov.Risk, rule OwnerRule) {
	l.owners, _ = resolve(rule.Owners, l.members)
	authors := l.authors()
	var failed []Short
	for _, a := range authors {
		if s, ok := l.try(r, rule, a); !ok {
			failed = append(failed, s)
		}
	}
	if len(authors) == 0 {
		if s, ok := l.try(r, rule, author{}); !ok {
			failed = append(failed, s)
		}
	}
	if len(failed) == max(1, len(authors)) {
		s := failed[0]
		s.Author, s.Everybody = "", true
		failed = []Short{s}
	}
	for _, s := range failed {
		l.add(s)
	}
}

// add reports each shortage once.
func (l *liveness) add(s Short) {
	same := func(o Short) bool {
		return o.Risk == s.Risk && o.Role == s.Role && o.Path == s.Path && o.Author == s.Author && o.Everybody == s.Everybody
	}
	if i := slices.IndexFunc(l.out, same); i < 0 {
		l.out = append(l.out, s)
	} else if !strings.Contains(l.out[i].Why, s.Why) {
		l.out[i].Why += "; " + s.Why
	}
}

// try looks for distinct people for the review and for the final approval of a
// change by a to the paths of rule.
func (l *liveness) try(r gov.Risk, rule OwnerRule, a author) (Short, bool) {
	if a.agent {
		r = r.Max(l.p.Agents.Risk)
	}
	presence := demandsPresence(l.p.Presence, r, false, a.agent)
	for _, st := range l.p.Workflows.Row(r) {
		if st.Stage != StageReview && st.Stage != StageFinal {
			continue
		}
		for _, roles := range l.variants(st, a) {
			var slots []slot
			for _, role := range roles {
				slots = append(slots, slot{role, l.able(r, role, a, presence)})
			}
			if i := unmatched(slots); i >= 0 {
				return l.short(r, rule, a, slots, i, presence), false
			}
		}
	}
	return Short{}, true
}

// variants lists the sets of roles that a stage may ask for: those of the row,
// with those of the agents' row, and the same with each require rule's.
func (l *liveness) variants(st Stage, a author) [][]string {
	base := slices.Clone(st.Roles)
	if st.Stage != StageReview {
		return [][]string{base}
	}
	with := func(roles, more []string) []string {
		roles = slices.Clone(roles)
		for _, x := range more {
			if !slices.Contains(roles, x) {
				roles = append(roles, x)
			}
		}
		return roles
	}
	if a.agent {
		base = with(base, l.p.Agents.Roles)
	}
	out := [][]string{base}
	for _, q := range l.p.Require {
		out = append(out, with(base, q.Roles))
	}
	return out
}

// able lists the identities that can wear a role for a change by a.
func (l *liveness) able(r gov.Risk, role string, a author, presence bool) []string {
	solo := l.p.Solo && r.Rank() <= gov.RiskMedium.Rank() && role == RoleOwner
	var out []string
	for _, p := range l.reg.People {
		id := l.identity(p.Handle)
		wears := slices.Contains(p.Roles, role)
		if role == RoleOwner {
			wears = slices.Contains(l.owners, p.Handle)
		}
		if p.Kind == gov.Human && wears && (id != a.id || solo) && l.signs(p, presence) {
			out = append(out, id)
		}
	}
	return uniq(out)
}

// signs tells whether somebody has a key that is valid now and good enough.
func (l *liveness) signs(p gov.Person, presence bool) bool {
	return slices.ContainsFunc(p.Keys, func(k gov.Key) bool { return k.ValidAt(l.now) && (k.Presence || !presence) })
}

// unmatched tries to give every slot an identity of its own (augmenting paths)
// and returns the first slot that gets none, or -1.
func unmatched(slots []slot) int {
	holder := map[string]int{}
	var place func(i int, seen map[string]bool) bool
	place = func(i int, seen map[string]bool) bool {
		for _, id := range slots[i].can {
			if seen[id] {
				continue
			}
			seen[id] = true
			if j, taken := holder[id]; !taken || place(j, seen) {
				holder[id] = i
				return true
			}
		}
		return false
	}
	for i := range slots {
		if !place(i, map[string]bool{}) {
			return i
		}
	}
	return -1
}

func (l *liveness) short(r gov.Risk, rule OwnerRule, a author, slots []slot, i int, presence bool) Short {
	role := slots[i].role
	s := Short{Risk: r, Role: role, Author: a.name}
	if role == RoleOwner {
		s.Path = rule.Path
	}
	key := ""
	if presence {
		key = " with a key that proves presence"
	}
	switch {
	case len(slots[i].can) > 0:
		var roles []string
		for _, o := range slots[:i+1] {
			roles = append(roles, o.role)
		}
		s.Why = fmt.Sprintf("not enough distinct people for %s", strings.Join(roles, ", "))
	case role == RoleOwner:
		s.Why = fmt.Sprintf("no owner of %s besides the author can sign%s", rule.Path, key)
	default:
		s.Why = fmt.Sprintf("nobody besides the author has the role %s%s", role, key)
	}
	if role == RoleOwner {
		s.Fix = fmt.Sprintf("add a second owner%s to the line %q of %s", key, rule.Path, l.where())
		if len(rule.Owners) == 0 {
			s.Fix = fmt.Sprintf("give the line %q of %s an owner", rule.Path, l.where())
		}
	} else {
		s.Fix = fmt.Sprintf("govern people add HANDLE --key-file FILE.pub --roles %s, somebody else%s", role, key)
	}
	return s
}

// checks finds evidence that nobody could attest, and findings that nobody could
// sign. Who attests is a service, or a person who wears the role; an agent never.
func (l *liveness) checks(r gov.Risk) {
	for _, st := range l.p.Workflows.Row(r) {
		kinds := slices.Clone(st.Checks)
		if st.Stage == StageValidate {
			for _, q := range l.p.Require {
				kinds = append(kinds, q.Checks...)
			}
		}
		if st.Stage == StageIntegration {
			kinds = []string{CheckIntegration}
		}
		for _, kind := range uniq(kinds) {
			row := l.p.Evidence[kind]
			l.attester(r, kind, row.By, " --kind service", func(p gov.Person) bool { return p.Kind != gov.Agent })
			if len(row.Finding) > 0 {
				l.attester(r, kind, row.Finding, "", func(p gov.Person) bool { return p.Kind == gov.Human })
			}
		}
	}
}

// attester looks for somebody who may attest a kind; of is the flag that the
// missing one is added with.
func (l *liveness) attester(r gov.Risk, kind string, roles []string, of string, may func(gov.Person) bool) {
	for _, p := range l.reg.People {
		if may(p) && l.signs(p, false) && slices.ContainsFunc(roles, func(x string) bool { return slices.Contains(p.Roles, x) }) {
			return
		}
	}
	l.add(Short{
		Risk: r, Role: roles[0], Everybody: true,
		Why: fmt.Sprintf("nobody can attest %s: it takes one of %s", kind, strings.Join(roles, ", ")),
		Fix: fmt.Sprintf("govern people add HANDLE --key-file FILE.pub%s --roles %s", of, roles[0]),
	})
}
