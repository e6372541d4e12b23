package policy

import (
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// maxPattern bounds a pattern; longer ones are mistakes.
const maxPattern = 1024

// Pattern matches paths as a CODEOWNERS file of GitHub does. The subset:
//
//   - "*" stands for any characters but "/", "?" for one of them;
//   - "**" as a whole part stands for any number of parts;
//   - a pattern with a "/" before its end counts from the root, one without
//     matches in every directory; a leading "/" only anchors;
//   - a pattern that names a directory matches everything below it, "dir/"
//     nothing but what is below; only a last part "*" is not entered:
//     "docs/*" matches the files of docs, not those of its subdirectories,
//     while a lone "*" matches everything;
//   - a backslash takes the next character as it is.
//
// As on GitHub there is no "!" and no "[…]": both are errors here, not ignored.
// Paths are git's: no leading slash, "/" between parts, case counts.
type Pattern struct {
	segs []segment
}

type segment struct {
	deep   bool // **
	glob   []unit
	opaque bool // a final "*": what it matches is not entered
}

// unit is one element of a part: a literal byte, or a wildcard.
type unit struct {
	lit byte
	any byte // '*', '?' or 0
}

// CompilePattern reads one pattern, backslashes included.
func CompilePattern(s string) (Pattern, error) {
	bad := func(why string) (Pattern, error) {
		return Pattern{}, gov.Errorf(gov.KindInvalid, "policy_pattern", "the pattern %q %s", short(s), why)
	}
	switch {
	case s == "":
		return bad("is empty")
	case len(s) > maxPattern:
		return bad("is too long")
	case s[0] == '!':
		return bad(`begins with "!": there are no exceptions; give those paths a rule of their own further down`)
	}
	parts, err := split(s)
	if err != nil {
		return bad(err.Error())
	}
	anchored := len(parts[0]) == 0
	if anchored {
		parts = parts[1:]
	}
	below := len(parts) > 1 && len(parts[len(parts)-1]) == 0
	if below {
		parts = parts[:len(parts)-1]
	}
	var p Pattern
	if !anchored && len(parts) == 1 && !isDeep(parts[0]) {
		p.segs = append(p.segs, segment{deep: true})
	}
	for i, part := range parts {
		last := i == len(parts)-1 && !below
		switch {
		case len(part) == 0:
			return bad("has an empty part")
		case isDeep(part):
			p.segs = append(p.segs, segment{deep: true})
		default:
			lone := len(part) == 1 && part[0].any == '*'
			p.segs = append(p.segs, segment{glob: part, opaque: last && lone})
		}
	}
	if below {
		p.segs = append(p.segs, segment{deep: true})
	}
	return p, nil
}

type patternError string

func (e patternError) Error() string { return string(e) }

// split cuts a pattern at its slashes and resolves backslashes.
func split(s string) ([][]unit, error) {
	parts := [][]unit{nil}
	put := func(t unit) { parts[len(parts)-1] = append(parts[len(parts)-1], t) }
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '/':
			parts = append(parts, nil)
		case '*', '?':
			put(unit{any: c})
		case '[', ']':
			return nil, patternError(`has a "[" or "]": character classes are not read; write a backslash before a literal one`)
		case '\\':
			if i++; i == len(s) {
				return nil, patternError("ends in a backslash")
			}
			if s[i] == '/' {
				return nil, patternError("has a backslash before a slash")
			}
			put(unit{lit: s[i]})
		default:
			put(unit{lit: c})
		}
	}
	return parts, nil
}

func isDeep(part []unit) bool {
	return len(part) == 2 && part[0].any == '*' && part[1].any == '*'
}

// Match tells whether the pattern matches a path. Time is bounded by the
// product of both lengths.
func (p Pattern) Match(path string) bool {
	if path == "" || len(p.segs) == 0 {
		return false
	}
	names := strings.Split(path, "/")
	// at[j]: the parts of the pattern so far match the first j names.
	at := make([]bool, len(names)+1)
	at[0] = true
	for i, s := range p.segs {
		next := make([]bool, len(names)+1)
		if s.deep {
			// A final ** needs at least one name: "dir/**" is not "dir".
			open := false
			for j := range next {
				if i == len(p.segs)-1 {
					next[j] = open
					open = open || at[j]
					continue
				}
				open = open || at[j]
				next[j] = open
			}
			at = next
			continue
		}
		for j, n := range names {
			next[j+1] = at[j] && globMatch(s.glob, n)
		}
		at = next
	}
	last := p.segs[len(p.segs)-1]
	if last.deep || last.opaque {
		return at[len(names)]
	}
	for j := 1; j <= len(names); j++ {
		if at[j] {
			return true // the path, or a directory above it
		}
	}
	return false
}

// globMatch matches one name; "?" takes one character of UTF-8.
func globMatch(g []unit, s string) bool {
	star, back := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(g) && g[i].any == '*':
			star, back = i, j
			i++
		case i < len(g) && g[i].any == '?':
			i++
			j += runeLen(s[j:])
		case i < len(g) && g[i].any == 0 && g[i].lit == s[j]:
			i++
			j++
		case star >= 0:
			back += runeLen(s[back:])
			i, j = star+1, back
		default:
			return false
		}
	}
	for i < len(g) && g[i].any == '*' {
		i++
	}
	return i == len(g)
}

// runeLen is the length of the first character, at least one byte.
func runeLen(s string) int {
	for i := range s {
		if i > 0 {
			return i
		}
	}
	return max(1, len(s))
}
