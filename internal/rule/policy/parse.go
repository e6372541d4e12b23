package policy

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/governhq/govern/internal/gov"
)

// Bounds of a file, far above what people write. The YAML parser needs time
// that grows with the square of the keys in one mapping and of the nesting;
// these keep it below a second.
const (
	maxTokens = 20_000
	maxNested = 32  // flow collections around a value, or dashes on one line
	maxColumn = 400 // where a dash or a key may stand
)

const hintCheck = "govern policy check"

// Parse reads governance.yaml. Keys left out take the value of Default; what it
// returns has passed Validate. Errors are of KindInvalid, start with
// "governance.yaml:line:column:", and carry one of the codes policy_too_large,
// policy_encoding, policy_syntax, policy_too_deep, policy_indirection (anchor,
// alias, tag, directive), policy_empty, policy_unknown_key,
// policy_duplicate_key, policy_type, policy_value, policy_expression,
// policy_weaker.
func Parse(data []byte) (Policy, error) {
	p := Default()
	d := &decoder{file: Path, at: map[string]pos{}}
	if err := d.read(data, &p); err != nil {
		return Policy{}, err
	}
	if _, ok := d.at["version"]; !ok {
		return Policy{}, d.fail(pos{1, 1}, "policy_value", "the key version is missing; the first line is: version: 1")
	}
	if _, named := d.at["owners.codeowners"]; !named && len(p.Owners.Rules) > 0 {
		p.Owners.Codeowners = ""
	}
	p.keepGovernable()
	p.normalise()
	if f := p.check(); f != nil {
		return Policy{}, d.fault(f)
	}
	return p, nil
}

// keepGovernable puts the exemption of changes to nothing but policy, people and
// owners behind the rows of the file. A file that writes not_applicable for
// something else must not make itself unchangeable: these files are always high,
// and no canary could carry them anywhere.
func (p *Policy) keepGovernable() {
	own := governanceExemption()
	same := func(x Exemption) bool {
		return x.When == own.When && x.Because == own.Because && slices.Equal(x.What, own.What)
	}
	if !slices.ContainsFunc(p.NotApplicable, same) {
		p.NotApplicable = append(p.NotApplicable, own)
	}
}

// read decodes one YAML document over v, a pointer to a struct.
func (d *decoder) read(data []byte, v any) error {
	root, err := d.document(data)
	if err != nil {
		return err
	}
	return d.into(root, v)
}

func (d *decoder) document(data []byte) (ast.Node, error) {
	if len(data) > MaxBytes {
		return nil, d.fail(pos{1, 1}, "policy_too_large", "the file has %d bytes; at most %d are read", len(data), MaxBytes)
	}
	if err := d.encoding(data); err != nil {
		return nil, err
	}
	tokens, err := d.tokens(string(data))
	if err != nil {
		return nil, err
	}
	file, err := d.parse(tokens)
	if err != nil {
		return nil, err
	}
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, d.fail(posOf(doc.Body), "policy_syntax", "a second document begins; the file is one document")
		}
		body = doc.Body
	}
	if body == nil {
		return nil, d.fail(pos{1, 1}, "policy_empty", "the file says nothing; an empty file decides nothing")
	}
	return body, nil
}

func (d *decoder) encoding(data []byte) error {
	if bytes.HasPrefix(data, []byte("\ufeff")) {
		return d.fail(pos{1, 1}, "policy_encoding", "the file begins with a byte order mark; save it as UTF-8 without one")
	}
	line, col := 1, 1
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n <= 1:
			return d.fail(pos{line, col}, "policy_encoding", "the byte 0x%02x is not UTF-8", data[i])
		case r == '\n':
			line, col = line+1, 0
		case r != '\t' && r != '\r' && unprintable(r):
			return d.fail(pos{line, col}, "policy_encoding", "the control character U+%04X has no place in the file", r)
		case r == '\r' && (i+1 == len(data) || data[i+1] != '\n'):
			return d.fail(pos{line, col}, "policy_encoding", "a carriage return without a line feed; end lines with a line feed")
		}
		i += n
		col++
	}
	return nil
}

// tokens cuts the text and refuses what would make the parser slow, or the
// meaning depend on another place of the file.
func (d *decoder) tokens(text string) (token.Tokens, error) {
	ts := lexer.Tokenize(text)
	if len(ts) > maxTokens {
		return nil, d.fail(pos{1, 1}, "policy_too_large", "the file has %d words and signs; at most %d are read", len(ts), maxTokens)
	}
	depth, dashes, line := 0, 0, 0
	for _, t := range ts {
		at := pos{t.Position.Line, t.Position.Column}
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType:
			return nil, d.fail(at, "policy_indirection", "%q: anchors, aliases, tags and directives are not read; write the value where it belongs", short(t.Value))
		case token.InvalidType:
			return nil, d.fail(at, "policy_syntax", "%s", reason(t.Error))
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType, token.MappingKeyType:
			dashes++
		}
		if depth > maxNested || dashes > maxNested || (t.Position.Column > maxColumn && t.Type == token.SequenceEntryType) {
			return nil, d.fail(at, "policy_too_deep", "lists and mappings are nested more than %d deep", maxNested)
		}
	}
	return ts, nil
}

// parse runs the YAML parser. It is other people's code on other people's
// input: a panic in it is a syntax error here, never a crash and never a yes.
func (d *decoder) parse(ts token.Tokens) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, d.fail(pos{1, 1}, "policy_syntax", "the YAML cannot be read")
		}
	}()
	file, err = parser.Parse(ts, 0)
	if err == nil {
		return file, nil
	}
	at := pos{1, 1}
	if se, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		if se.Token != nil && se.Token.Position != nil {
			at = pos{se.Token.Position.Line, se.Token.Position.Column}
		}
		if strings.Contains(se.Message, "already defined") {
			return nil, d.fail(at, "policy_duplicate_key", "%s", reason(se.Message))
		}
		return nil, d.fail(at, "policy_syntax", "%s", reason(se.Message))
	}
	return nil, d.fail(at, "policy_syntax", "%s", reason(err.Error()))
}

// reason keeps the first line of a parser's message.
func reason(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if s == "" {
		s = "the YAML cannot be read"
	}
	return short(s)
}

// short bounds what is quoted in a message.
func short(s string) string {
	if len(s) <= 120 {
		return s
	}
	return strings.ToValidUTF8(s[:117], "") + "…"
}

// pos is a place in the file, both from 1, columns in characters.
type pos struct{ line, col int }

func posOf(n ast.Node) pos {
	// A block mapping's own token is the colon of its first key.
	switch x := n.(type) {
	case *ast.MappingNode:
		if !x.IsFlowStyle && len(x.Values) > 0 {
			return posOf(x.Values[0])
		}
	case *ast.MappingValueNode:
		return posOf(x.Key)
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return pos{1, 1}
	}
	return pos{t.Position.Line, t.Position.Column}
}

func (d *decoder) fail(at pos, code, format string, args ...any) *gov.Error {
	return gov.Errorf(gov.KindInvalid, code, "%s:%d:%d: %s", d.file, at.line, at.col, fmt.Sprintf(format, args...)).
		WithHint(hintCheck)
}

// fault gives a fault of the content its place in the file.
func (d *decoder) fault(f *fault) *gov.Error {
	path := f.path
	for {
		if at, ok := d.at[path]; ok {
			return d.fail(at, f.code, "%s", f.text())
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return d.fail(pos{1, 1}, f.code, "%s", f.text())
		}
		path = path[:i]
	}
}
