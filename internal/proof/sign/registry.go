package sign

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/governhq/govern/internal/gov"
)

// RegistryPath is where the registry stands on the protected branch.
const RegistryPath = ".govern/allowed_signers"

// Limits of a registry file.
const (
	MaxRegistry     = 1 << 20 // bytes
	MaxRegistryLine = 16 << 10
)

// File is a registry file: OpenSSH's allowed_signers (ssh-keygen(1)), with
// govern's own fields where OpenSSH has its comment:
//
//	ana,ana@example.com namespaces="govern-statement" ssh-ed25519 AAAA… handle=ana kind=human roles=owner,security_lead
//
// A line is one key. Several lines with one handle are several keys of one
// person. Comments, blank lines and the spelling of untouched lines are kept.
type File struct {
	lines []line
}

// line is one line: its text as it stands, and what it says unless it is blank
// or a comment.
type line struct {
	text  string
	entry *Entry
}

// ParseRegistry reads the people out of a registry file. Every error names its
// line. Codes: registry_too_large, registry_syntax, registry_unknown_field,
// registry_field, registry_principal, registry_option, registry_namespace,
// registry_cert_authority, registry_validity, registry_key_twice,
// registry_conflict, registry_email_shared, registry_sponsor,
// registry_delegate, key_type, key_too_short, key_malformed.
func ParseRegistry(b []byte) (gov.Registry, error) {
	f, err := ParseFile(b)
	if err != nil {
		return gov.Registry{}, err
	}
	reg := f.Registry()
	reg.Digest = gov.DigestOf(b)
	return reg, nil
}

// ParseFile reads a registry file so that it can be changed and printed again.
func ParseFile(b []byte) (*File, error) {
	if len(b) > MaxRegistry {
		return nil, gov.Errorf(gov.KindInvalid, "registry_too_large", "the registry has %d bytes, more than the %d allowed", len(b), MaxRegistry)
	}
	f := &File{}
	if len(b) == 0 {
		return f, nil
	}
	for i, text := range strings.Split(string(bytes.TrimSuffix(b, []byte("\n"))), "\n") {
		l, err := parseLine(text)
		if err != nil {
			return nil, atLine(err, i+1)
		}
		f.lines = append(f.lines, l)
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return f, nil
}

// atLine puts the line number before the message.
func atLine(err *gov.Error, n int) error {
	prefixed := gov.Errorf(err.Kind, err.Code, "%s:%d: %s", RegistryPath, n, err.Message)
	prefixed.Hint, prefixed.Err = err.Hint, err.Err
	return prefixed
}

func parseLine(text string) (line, *gov.Error) {
	if len(text) > MaxRegistryLine {
		return line{}, gov.Errorf(gov.KindInvalid, "registry_too_large", "the line has %d bytes, more than the %d allowed", len(text), MaxRegistryLine)
	}
	if !utf8.ValidString(text) || !printable(strings.ReplaceAll(text, "\t", " "), false) {
		return line{}, gov.Errorf(gov.KindInvalid, "registry_syntax", "the line holds control characters or is not UTF-8").
			WithHint("save the file as UTF-8 with plain line feeds")
	}
	trimmed := strings.Trim(text, " \t")
	if trimmed == "" || trimmed[0] == '#' {
		return line{text: text}, nil
	}
	e, err := parseEntry(trimmed)
	if err != nil {
		return line{}, err
	}
	return line{text: text, entry: &e}, nil
}

// Entries lists the keys in the order of the file.
func (f *File) Entries() []Entry {
	var out []Entry
	for _, l := range f.lines {
		if l.entry != nil {
			out = append(out, *l.entry)
		}
	}
	return out
}

// Print gives the bytes of the file; untouched lines are as they were read.
func (f *File) Print() []byte {
	var b bytes.Buffer
	for _, l := range f.lines {
		b.WriteString(l.text)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// PrintRegistry prints entries as a registry file without comments;
// ParseFile(PrintRegistry(e)).Entries() is e again when e is valid.
func PrintRegistry(entries []Entry) []byte {
	f := &File{}
	for _, e := range entries {
		f.lines = append(f.lines, line{text: e.String(), entry: &e})
	}
	return f.Print()
}

// Registry gathers the keys of each person, people in the order of their first
// line. Digest is that of Print.
func (f *File) Registry() gov.Registry {
	reg := gov.Registry{Digest: gov.DigestOf(f.Print())}
	index := map[string]int{}
	for _, e := range f.Entries() {
		i, ok := index[e.Handle]
		if !ok {
			i = len(reg.People)
			index[e.Handle] = i
			reg.People = append(reg.People, gov.Person{
				Handle: e.Handle, Kind: e.Kind, Roles: slices.Clone(e.Roles), Sponsor: e.Sponsor, DelegateOf: e.DelegateOf,
			})
		}
		p := &reg.People[i]
		for _, m := range e.allEmails() {
			if !slices.Contains(p.Emails, m) {
				p.Emails = append(p.Emails, m)
			}
		}
		p.Keys = append(p.Keys, gov.Key{
			Fingerprint: e.Fingerprint(), Type: e.Key.Type(), Presence: isSK(e.Key.Type()), NotBefore: e.NotBefore, NotAfter: e.NotAfter,
		})
	}
	return reg
}

// Add appends a key as a new line, behind the last key of the same person when
// there is one. On error the file is unchanged.
func (f *File) Add(e Entry) error {
	if e.Key == nil {
		return gov.Errorf(gov.KindInvalid, "registry_syntax", "the entry has no key")
	}
	l, perr := parseLine(e.String())
	if perr != nil {
		return perr
	}
	if l.entry == nil {
		return gov.Errorf(gov.KindInvalid, "registry_syntax", "the entry would be read as a comment")
	}
	at := len(f.lines)
	for i, old := range f.lines {
		if old.entry != nil && old.entry.Handle == e.Handle {
			at = i + 1
		}
	}
	next := &File{lines: slices.Insert(slices.Clone(f.lines), at, l)}
	if err := next.check(); err != nil {
		return err
	}
	f.lines = next.lines
	return nil
}

// Remove takes out the line of the key with this fingerprint ("SHA256:…"). On
// error (registry_key_unknown, or what the rest of the file would violate: a
// sponsor still needed) the file is unchanged.
func (f *File) Remove(fingerprint string) error {
	rest := slices.DeleteFunc(slices.Clone(f.lines), func(l line) bool {
		return l.entry != nil && l.entry.Fingerprint() == fingerprint
	})
	if len(rest) == len(f.lines) {
		return gov.Errorf(gov.KindNotFound, "registry_key_unknown", "the registry has no key %q", short(fingerprint))
	}
	next := &File{lines: rest}
	if err := next.check(); err != nil {
		return err
	}
	f.lines = next.lines
	return nil
}

// check judges what no line alone can show.
func (f *File) check() error {
	first := map[string]Entry{}  // by handle
	keys := map[string]int{}     // fingerprint → line
	owner := map[string]string{} // folded address → handle
	for i, l := range f.lines {
		if l.entry == nil {
			continue
		}
		e := *l.entry
		if at, ok := keys[e.Fingerprint()]; ok {
			return atLine(gov.Errorf(gov.KindInvalid, "registry_key_twice", "the key %s stands already on line %d", e.Fingerprint(), at).
				WithHint("each key belongs to one person and stands on one line"), i+1)
		}
		keys[e.Fingerprint()] = i + 1
		if old, ok := first[e.Handle]; !ok {
			first[e.Handle] = e
		} else if what := disagree(old, e); what != "" {
			return atLine(gov.Errorf(gov.KindInvalid, "registry_conflict", "another line of %s has another %s", e.Handle, what).
				WithHint("all lines of one handle say the same kind, roles, sponsor, delegate_of and name"), i+1)
		}
		for _, m := range e.allEmails() {
			if who, ok := owner[strings.ToLower(m)]; ok && who != e.Handle {
				return atLine(gov.Errorf(gov.KindInvalid, "registry_email_shared", "the address of %s belongs to %s already", e.Handle, who), i+1)
			}
			owner[strings.ToLower(m)] = e.Handle
		}
	}
	for i, l := range f.lines {
		if l.entry == nil {
			continue
		}
		if err := l.entry.relations(first); err != nil {
			return atLine(err, i+1)
		}
	}
	return nil
}

// disagree names the field in which two lines of one person differ.
func disagree(a, b Entry) string {
	sorted := func(s []string) []string { return slices.Sorted(slices.Values(s)) }
	switch {
	case a.Kind != b.Kind:
		return "kind"
	case !slices.Equal(sorted(a.Roles), sorted(b.Roles)):
		return "roles"
	case a.Sponsor != b.Sponsor:
		return "sponsor"
	case a.DelegateOf != b.DelegateOf:
		return "delegate_of"
	case a.Name != "" && b.Name != "" && a.Name != b.Name:
		return "name"
	}
	return ""
}

// relations judges the people an entry points to.
func (e Entry) relations(people map[string]Entry) *gov.Error {
	if e.Kind == gov.Agent && e.Sponsor == "" {
		return gov.Errorf(gov.KindInvalid, "registry_sponsor", "the agent %s has no sponsor", e.Handle).WithHint("add sponsor=HANDLE of the human who answers for it")
	}
	if e.Kind != gov.Agent && e.Sponsor != "" {
		return gov.Errorf(gov.KindInvalid, "registry_sponsor", "only agents have sponsors, and %s is a %s", e.Handle, e.Kind)
	}
	if e.Sponsor != "" && people[e.Sponsor].Kind != gov.Human {
		return gov.Errorf(gov.KindInvalid, "registry_sponsor", "the sponsor %s of %s is no human of this file", e.Sponsor, e.Handle)
	}
	if e.DelegateOf == "" {
		return nil
	}
	principal, ok := people[e.DelegateOf]
	switch {
	case !ok || e.DelegateOf == e.Handle || principal.Kind != gov.Human || e.Kind != gov.Human:
		return gov.Errorf(gov.KindInvalid, "registry_delegate", "%s can only be the delegate of another human of this file", e.Handle)
	case principal.DelegateOf != "":
		return gov.Errorf(gov.KindInvalid, "registry_delegate", "%s cannot be the delegate of %s, who is a delegate too", e.Handle, e.DelegateOf)
	}
	return nil
}
