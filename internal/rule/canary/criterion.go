package canary

import (
	"math"
	"strconv"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Op compares a measured value with the bound of a criterion.
type Op string

// The five comparisons of the grammar.
const (
	Less         Op = "<"
	LessEqual    Op = "<="
	Greater      Op = ">"
	GreaterEqual Op = ">="
	Equal        Op = "=="
)

// Criterion is one promotion criterion, written as operator and number:
// "<0.005", ">0.95". Grammar: (< | <= | > | >= | ==) number, where number is
// a finite JSON number (RFC 8259); blanks may stand around the number.
type Criterion struct {
	Op    Op
	Bound float64
}

// ParseCriterion reads the grammar and refuses everything else.
func ParseCriterion(s string) (Criterion, error) {
	bad := func(why string) (Criterion, error) {
		return Criterion{}, gov.Errorf(gov.KindInvalid, "canary_criterion_invalid",
			"%q is not a criterion: %s", clip(s), why).WithHint(`write an operator and a number, as in "<0.005" or ">=0.95"`)
	}
	var op Op
	for _, o := range []Op{LessEqual, GreaterEqual, Equal, Less, Greater} { // longest first
		if strings.HasPrefix(s, string(o)) {
			op = o
			break
		}
	}
	if op == "" {
		return bad("it starts with none of <, <=, >, >=, ==")
	}
	number := strings.Trim(s[len(op):], " ")
	if !jsonNumber(number) {
		return bad("no number follows the operator")
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsInf(x, 0) {
		return bad("the number is too large")
	}
	if x == 0 {
		x = 0 // -0 and 0 are one bound
	}
	return Criterion{op, x}, nil
}

// String prints the shortest text that ParseCriterion reads back as c.
func (c Criterion) String() string {
	return string(c.Op) + strconv.FormatFloat(c.Bound, 'g', -1, 64)
}

// MarshalText prints c.
func (c Criterion) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText parses c.
func (c *Criterion) UnmarshalText(b []byte) error {
	x, err := ParseCriterion(string(b))
	if err == nil {
		*c = x
	}
	return err
}

// Holds tells whether x meets c. A NaN meets nothing.
func (c Criterion) Holds(x float64) bool {
	switch c.Op {
	case Less:
		return x < c.Bound
	case LessEqual:
		return x <= c.Bound
	case Greater:
		return x > c.Bound
	case GreaterEqual:
		return x >= c.Bound
	case Equal:
		return x == c.Bound
	}
	return false
}

// Within tells whether everything that meets c also meets outer: c is the same
// or stricter.
func (c Criterion) Within(outer Criterion) bool {
	switch outer.Op {
	case Equal:
		return c.Op == Equal && c.Bound == outer.Bound
	case Less, LessEqual:
		if c.Op == Greater || c.Op == GreaterEqual {
			return false
		}
		return c.Bound < outer.Bound || c.Bound == outer.Bound && (outer.Op == LessEqual || c.Op == Less)
	case Greater, GreaterEqual:
		if c.Op == Less || c.Op == LessEqual {
			return false
		}
		return c.Bound > outer.Bound || c.Bound == outer.Bound && (outer.Op == GreaterEqual || c.Op == Greater)
	}
	return false
}

// jsonNumber tells whether s is a number of RFC 8259, section 6.
func jsonNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	whole, s := digits(s)
	if whole == "" || len(whole) > 1 && whole[0] == '0' {
		return false
	}
	if rest, ok := strings.CutPrefix(s, "."); ok {
		frac, tail := digits(rest)
		if frac == "" {
			return false
		}
		s = tail
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		exp, tail := digits(s)
		if exp == "" {
			return false
		}
		s = tail
	}
	return s == ""
}

func digits(s string) (head, tail string) {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n], s[n:]
}

// clip keeps foreign words in messages short.
func clip(s string) string { return cut(s, 40) }

// cut keeps reasons short enough for an event.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

const maxReason = 400 // bytes of a reason in an event
