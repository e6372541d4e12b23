package ledger

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/governhq/govern/internal/gov"
)

// maxDepth bounds the nesting of a line, so that no parser of it recurses far.
const maxDepth = 128

// Fingerprint is the leaf hash of a line, SHA-256(0x00 ‖ line). That of record 0
// is what verifiers pin.
func Fingerprint(line []byte) gov.Digest {
	return gov.DigestSum(tlog.RecordHash(line))
}

// CheckLine refuses, as line_invalid or line_too_long, what may not stand in a
// log (see "Lines" in the package comment).
func CheckLine(line []byte) error {
	if len(line) > MaxLine {
		return gov.Errorf(gov.KindInvalid, "line_too_long", "a line has %d bytes; at most %d are allowed", len(line), MaxLine).
			WithHint("name large values by digest")
	}
	return checkObject(line, maxDepth)
}

func checkObject(line []byte, depth int) error {
	if why, at := scanObject(line, depth); why != "" {
		return gov.Errorf(gov.KindInvalid, "line_invalid", "not a line of the log: %s at byte %d", why, at)
	}
	if !utf8.Valid(line) {
		return gov.Errorf(gov.KindInvalid, "line_invalid", "not a line of the log: invalid UTF-8")
	}
	return nil
}

// plain marks the bytes of a string that need no look: not '"', '\' or a
// control character. UTF-8 is checked apart.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// skipPlain skips plain bytes, eight at a time: a borrow out of a byte's top bit
// marks it as smaller than what was taken away, and the lowest mark is exact
// ("Bit Twiddling Hacks", haszero and hasless).
func skipPlain(b []byte, i int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		marks := ((x-ones*0x20)&^x | (quote-ones)&^quote | (slash-ones)&^slash) & tops
		if marks != 0 {
			return i + bits.TrailingZeros64(marks)/8
		}
	}
	for i < len(b) && plain[b[i]] {
		i++
	}
	return i
}

// scanObject is a JSON (RFC 8259) recogniser for one object that fills b. It
// returns why b is none, and where; "" means it is one. encoding/json accepts
// blanks and control characters around values and replaces lone surrogates in
// silence, and takes five times as long. It is one long function with jumps
// because the jumps are the grammar: value, after, key.
func scanObject(b []byte, depth int) (why string, at int) {
	if len(b) == 0 || b[0] != '{' {
		return "an object must begin with '{'", 0
	}
	var stack [maxDepth]byte // '{' or '[' for each open level
	top := 0
	i := 0
value:
	// b[i] begins a value.
	if i >= len(b) {
		return "the object ends early", i
	}
	switch c := b[i]; {
	case c == '"':
		if i, why = scanString(b, i+1); why != "" {
			return why, i
		}
	case c == '{' || c == '[':
		if top == depth {
			return "nested too deep", i
		}
		stack[top] = c
		top++
		i = skipBlanks(b, i+1)
		if i < len(b) && b[i] == c+2 { // '{'+2 == '}', '['+2 == ']'
			top--
			i++
			goto after
		}
		if c == '{' {
			goto key
		}
		goto value
	case c == '-' || '0' <= c && c <= '9':
		if i, why = scanNumber(b, i); why != "" {
			return why, i
		}
	default:
		n := literal(b[i:])
		if n == 0 {
			return "a value is expected", i
		}
		i += n
	}
after:
	// b[i] follows a value.
	if top == 0 {
		if i != len(b) {
			return "something follows the object", i
		}
		return "", 0
	}
	i = skipBlanks(b, i)
	if i >= len(b) {
		return "the object ends early", i
	}
	switch {
	case b[i] == ',':
		i = skipBlanks(b, i+1)
		if stack[top-1] == '{' {
			goto key
		}
		goto value
	case b[i] == stack[top-1]+2:
		top--
		i++
		goto after
	}
	return "a comma or the end of a list is expected", i
key:
	if i >= len(b) || b[i] != '"' {
		return "a key is expected", i
	}
	if i, why = scanString(b, i+1); why != "" {
		return why, i
	}
	i = skipBlanks(b, i)
	if i >= len(b) || b[i] != ':' {
		return "a colon is expected", i
	}
	i = skipBlanks(b, i+1)
	goto value
}

func skipBlanks(b []byte, i int) int {
	for i < len(b) && b[i] == ' ' {
		i++
	}
	return i
}

func literal(b []byte) int {
	for _, s := range [...]string{"true", "false", "null"} {
		if len(b) >= len(s) && string(b[:len(s)]) == s {
			return len(s)
		}
	}
	return 0
}

// scanString reads from behind the opening quote to behind the closing one.
func scanString(b []byte, i int) (int, string) {
	for {
		if i = skipPlain(b, i); i >= len(b) {
			return i, "a string does not end"
		}
		switch b[i] {
		case '"':
			return i + 1, ""
		case '\\':
			n, why := scanEscape(b[i:])
			if why != "" {
				return i, why
			}
			i += n
		default:
			return i, "a control character"
		}
	}
}

// scanEscape measures the escape at the beginning of b. A surrogate must come
// as a pair, and U+0000 is refused: both poison what reads the log later.
func scanEscape(b []byte) (n int, why string) {
	if len(b) < 2 {
		return 0, "a string does not end"
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, ""
	case 'u':
	default:
		return 0, "an unknown escape"
	}
	r, ok := hex4(b[2:])
	switch {
	case !ok:
		return 0, "an escape without four hexadecimal digits"
	case r == 0:
		return 0, "an escape of U+0000"
	case r < 0xD800 || r > 0xDFFF:
		return 6, ""
	case r >= 0xDC00 || len(b) < 12 || b[6] != '\\' || b[7] != 'u':
		return 0, "an escape of a lone surrogate"
	}
	if low, ok := hex4(b[8:]); !ok || low < 0xDC00 || low > 0xDFFF {
		return 0, "an escape of a lone surrogate"
	}
	return 12, ""
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

func digits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}

func scanNumber(b []byte, i int) (int, string) {
	if b[i] == '-' {
		i++
	}
	j := digits(b, i)
	if j == i || b[i] == '0' && j > i+1 {
		return i, "a malformed number"
	}
	if j < len(b) && b[j] == '.' {
		i = j + 1
		if j = digits(b, i); j == i {
			return i, "a malformed number"
		}
	}
	if j < len(b) && b[j]|0x20 == 'e' {
		i = j + 1
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if j = digits(b, i); j == i {
			return i, "a malformed number"
		}
	}
	return j, ""
}
