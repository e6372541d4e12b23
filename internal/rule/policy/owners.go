package policy

import (
	"regexp"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// ownerWord is a handle, an e-mail address, or org/team, "@" already cut off.
var ownerWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*([@/][A-Za-z0-9][A-Za-z0-9._-]*)?$`)

// ParseOwners reads a CODEOWNERS file as GitHub does: a pattern and its owners
// on a line, blank lines, comments from "#" on (a line's first character, or
// behind a space), spaces in a pattern behind a backslash, the last match wins,
// a pattern without owners has none. What GitHub skips silently (exceptions
// with "!", character classes, words that are no owner) and what only GitLab
// reads (sections) is an error with its line here: policy_codeowners.
func ParseOwners(data []byte) ([]OwnerRule, error) {
	d := &decoder{file: "CODEOWNERS"}
	if len(data) > MaxBytes {
		return nil, d.fail(pos{1, 1}, "policy_too_large", "the file has %d bytes; at most %d are read", len(data), MaxBytes)
	}
	if err := d.encoding(data); err != nil {
		return nil, err
	}
	var out []OwnerRule
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		words := ownerLine(strings.TrimRight(line, "\r\n"))
		if len(words) == 0 {
			continue
		}
		r := OwnerRule{Path: words[0], Line: n}
		if _, err := CompilePattern(r.Path); err != nil {
			return nil, d.fail(pos{n, 1}, "policy_codeowners", "%s", message(err))
		}
		for _, w := range words[1:] {
			o := strings.TrimPrefix(w, "@")
			if !ownerWord.MatchString(o) || (o == w && !strings.Contains(w, "@")) {
				return nil, d.fail(pos{n, 1}, "policy_codeowners", "%q is not an owner; write @handle, @org/team or an e-mail address", short(w))
			}
			r.Owners = append(r.Owners, o)
		}
		out = append(out, r)
	}
	return out, nil
}

// ownerLine cuts a line into its pattern, backslashes kept, and its owners.
func ownerLine(line string) []string {
	var words []string
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && len(words) == 0:
			word.WriteByte(c)
			i++
			word.WriteByte(line[i])
		case c == ' ' || c == '\t':
			flush()
		case c == '#' && word.Len() == 0:
			return words
		default:
			word.WriteByte(c)
		}
	}
	flush()
	return words
}

// Rules gives the owner rules in force: the policy's own, or those of the
// CODEOWNERS file it names, whose bytes on the target branch are codeowners.
func (p Policy) Rules(codeowners []byte) ([]OwnerRule, error) {
	if len(p.Owners.Rules) > 0 {
		return p.Owners.Rules, nil
	}
	return ParseOwners(codeowners)
}

// Members takes what Plan needs from a registry.
func Members(reg gov.Registry) []Member {
	out := make([]Member, len(reg.People))
	for i, p := range reg.People {
		out[i] = Member{Handle: p.Handle, Kind: p.Kind, Roles: p.Roles, Emails: p.Emails}
	}
	return out
}

// Grouped is the answer of Owners.
type Grouped struct {
	Groups  []OwnerGroup `json:"groups"`            // by their first path
	Unowned []string     `json:"unowned,omitempty"` // paths that nobody known owns, sorted
	Unknown []string     `json:"unknown,omitempty"` // owners that are nobody in the registry, sorted
}

// Owners groups paths by the set of people who own them: of the last rule that
// matches a path, every entry that is a human of the registry (by handle,
// e-mail address, or role for org/team). A path whose owners are all unknown is
// unowned.
func Owners(rules []OwnerRule, people []Member, paths []string) (Grouped, error) {
	var g Grouped
	compiled := make([]Pattern, len(rules))
	resolved, unknown := make([][]string, len(rules)), make([][]string, len(rules))
	for i, r := range rules {
		var err error
		if compiled[i], err = CompilePattern(r.Path); err != nil {
			return g, err
		}
		resolved[i], unknown[i] = resolve(r.Owners, people)
	}
	at := map[string]int{}
	for _, path := range uniq(paths) {
		i := lastMatch(compiled, path)
		if i >= 0 {
			g.Unknown = append(g.Unknown, unknown[i]...)
		}
		if i < 0 || len(resolved[i]) == 0 {
			g.Unowned = append(g.Unowned, path)
			continue
		}
		key := strings.Join(resolved[i], "\x00")
		j, ok := at[key]
		if !ok {
			j = len(g.Groups)
			at[key] = j
			g.Groups = append(g.Groups, OwnerGroup{Owners: resolved[i]})
		}
		g.Groups[j].Paths = append(g.Groups[j].Paths, path)
	}
	g.Unknown = none(uniq(g.Unknown))
	return g, nil
}

func lastMatch(ps []Pattern, path string) int {
	for i := len(ps) - 1; i >= 0; i-- {
		if ps[i].Match(path) {
			return i
		}
	}
	return -1
}

// resolve gives the handles of the humans that the entries name, sorted, and
// the entries that name nobody.
func resolve(entries []string, people []Member) (handles, unknown []string) {
	for _, e := range entries {
		found := false
		for _, m := range people {
			if m.Kind == gov.Human && names(e, m) {
				handles = append(handles, m.Handle)
				found = true
			}
		}
		if !found {
			unknown = append(unknown, e)
		}
	}
	return uniq(handles), unknown
}

func names(entry string, m Member) bool {
	switch {
	case entry == m.Handle:
		return true
	case strings.Contains(entry, "@"):
		return slices.ContainsFunc(m.Emails, func(e string) bool { return strings.EqualFold(e, entry) })
	case strings.Contains(entry, "/"):
		return slices.Contains(m.Roles, entry)
	}
	return false
}

// uniq sorts a copy and drops what is repeated.
func uniq(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}
