package sign

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// Entry is one key line of a registry.
//
// Principals are what `ssh-keygen -I` may be given: the handle or e-mail
// addresses, no patterns. Namespaces, when set, include govern-statement.
// NotBefore and NotAfter are UTC, whole seconds. Emails stand beside addresses
// among the principals; both count as committer addresses. Name is for people
// to read and reaches no log.
type Entry struct {
	Principals []string
	Namespaces []string
	NotBefore  time.Time
	NotAfter   time.Time
	Key        ssh.PublicKey
	Handle     string
	Kind       gov.PrincipalKind
	Roles      []string
	Emails     []string
	Sponsor    string
	DelegateOf string
	Name       string
}

// Fingerprint is "SHA256:…" as ssh-keygen -l prints it.
func (e Entry) Fingerprint() string { return ssh.FingerprintSHA256(e.Key) }

func (e Entry) allEmails() []string {
	var out []string
	for _, m := range slices.Concat(e.Principals, e.Emails) {
		if strings.Contains(m, "@") && !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

var (
	handleForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	emailForm  = regexp.MustCompile(`^[^\s@,"'!*?#=\\<>]{1,64}@[^\s@,"'!*?#=\\<>]{1,190}$`)
)

// parseEntry reads "principals [options] type base64 fields…".
func parseEntry(text string) (Entry, *gov.Error) {
	var e Entry
	principals, rest := cutBlank(text)
	if err := e.readPrincipals(principals); err != nil {
		return e, err
	}
	typ, rest2 := cutBlank(rest)
	if rest != "" && !looksLikeKey(typ) {
		options, after, err := cutOptions(rest)
		if err != nil {
			return e, err
		}
		if err := e.readOptions(options); err != nil {
			return e, err
		}
		typ, rest2 = cutBlank(after)
	}
	blob, comment := cutBlank(rest2)
	if typ == "" || blob == "" {
		return e, syntax("the line has no key").WithHint("a line has the form: principals [options] keytype base64 handle=… kind=…")
	}
	pub, err := parseKey(typ, blob)
	if err != nil {
		return e, asGov(err)
	}
	e.Key = pub
	if err := e.readFields(comment); err != nil {
		return e, err
	}
	return e, e.judge()
}

func asGov(err error) *gov.Error {
	if e, ok := err.(*gov.Error); ok {
		return e
	}
	return gov.Errorf(gov.KindInvalid, "key_malformed", "the key cannot be read: %w", err)
}

func syntax(format string, args ...any) *gov.Error {
	return gov.Errorf(gov.KindInvalid, "registry_syntax", format, args...)
}

// cutBlank splits at the first run of blanks.
func cutBlank(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

// parseKey reads a key from its declared type and base64.
func parseKey(typ, blob string) (ssh.PublicKey, error) {
	if strings.Contains(typ, "-cert-") {
		return nil, gov.Errorf(gov.KindInvalid, "key_type", "certificates do not count; list the key itself")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(blob)
	if err != nil {
		return nil, gov.Errorf(gov.KindInvalid, "key_malformed", "the public key is not base64")
	}
	pub, err := parsePublic(raw)
	if err != nil {
		return nil, err
	}
	if pub.Type() != typ {
		return nil, gov.Errorf(gov.KindInvalid, "key_malformed", "the line says %s, but the key is of type %s", short(typ), pub.Type())
	}
	return pub, nil
}

func (e *Entry) readPrincipals(s string) *gov.Error {
	e.Principals = strings.Split(s, ",")
	for _, p := range e.Principals {
		if !handleForm.MatchString(p) && !emailForm.MatchString(p) {
			return gov.Errorf(gov.KindInvalid, "registry_principal", "%q is neither a handle nor an e-mail address", short(p)).
				WithHint("name each person in full; patterns (*, ?, !) would let one key speak for many")
		}
	}
	return nil
}

// cutOptions takes a comma-separated list that ends at the first blank outside
// double quotes.
func cutOptions(s string) (options []string, rest string, err *gov.Error) {
	quoted, start := false, 0
	for i := 0; i <= len(s); i++ {
		end := i == len(s)
		switch {
		case end && quoted:
			return nil, "", syntax("a quoted option does not end")
		case !end && s[i] == '\\' && quoted:
			return nil, "", syntax("options take no escapes")
		case !end && s[i] == '"':
			quoted = !quoted
		case quoted:
		case end || s[i] == ' ' || s[i] == '\t' || s[i] == ',':
			options = append(options, s[start:i])
			start = i + 1
			if end || s[i] != ',' {
				return options, strings.TrimLeft(s[i:], " \t"), nil
			}
		}
	}
	return nil, "", syntax("the options do not end")
}

func (e *Entry) readOptions(options []string) *gov.Error {
	seen := map[string]bool{}
	for _, o := range options {
		name, value, hasValue := strings.Cut(o, "=")
		name = strings.ToLower(name)
		if seen[name] {
			return gov.Errorf(gov.KindInvalid, "registry_option", "the option %q stands twice", short(name))
		}
		seen[name] = true
		inner, ok := unquoteOption(value)
		if hasValue && !ok {
			return gov.Errorf(gov.KindInvalid, "registry_option", "the value of %q is not in double quotes", short(name))
		}
		if err := e.readOption(name, inner, hasValue); err != nil {
			return err
		}
	}
	if !e.NotAfter.IsZero() && !e.NotBefore.Before(e.NotAfter) {
		return gov.Errorf(gov.KindInvalid, "registry_validity", "the key ends before it begins")
	}
	return nil
}

func unquoteOption(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' || strings.Contains(s[1:len(s)-1], `"`) {
		return "", false
	}
	return s[1 : len(s)-1], true
}

func (e *Entry) readOption(name, value string, hasValue bool) (err *gov.Error) {
	switch {
	case name == "cert-authority":
		return gov.Errorf(gov.KindInvalid, "registry_cert_authority", "certificate authorities are not supported; list each key").
			WithHint("remove cert-authority and add one line per key")
	case name == "namespaces" && hasValue:
		e.Namespaces = strings.Split(value, ",")
		for _, n := range e.Namespaces {
			if n == "" || strings.ContainsAny(n, "!*? \t") {
				return gov.Errorf(gov.KindInvalid, "registry_namespace", "%q is not the name of one namespace", short(n))
			}
		}
		if !slices.Contains(e.Namespaces, gov.SSHNamespace) {
			return gov.Errorf(gov.KindInvalid, "registry_namespace", "the key is not allowed to sign statements").
				WithHint("add %s to its namespaces", gov.SSHNamespace)
		}
		return nil
	case name == "valid-after" && hasValue:
		e.NotBefore, err = parseTime(value)
		return err
	case name == "valid-before" && hasValue:
		e.NotAfter, err = parseTime(value)
		return err
	}
	bad := gov.Errorf(gov.KindInvalid, "registry_option", "%q is not an option of allowed_signers", short(name))
	if near := strict.Suggest(name, []string{"namespaces", "valid-after", "valid-before"}); near != "" {
		return bad.WithHint("write %s=\"…\"", near)
	}
	return bad.WithHint("the options are namespaces, valid-after and valid-before")
}

// parseTime reads OpenSSH's YYYYMMDD[HHMM[SS]][Z]. OpenSSH takes a time
// without Z in the zone of the machine that looks; govern takes UTC, so that
// every machine answers alike. Print always writes Z.
func parseTime(s string) (time.Time, *gov.Error) {
	digits := strings.TrimSuffix(strings.TrimSuffix(s, "Z"), "z")
	layout := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}[len(digits)]
	if len(s)-len(digits) <= 1 && layout != "" && strings.Trim(digits, "0123456789") == "" {
		if t, err := time.Parse(layout, digits); err == nil && t.Year() >= 1970 {
			return t, nil
		}
	}
	return time.Time{}, gov.Errorf(gov.KindInvalid, "registry_validity", "%q is not a time", short(s)).
		WithHint("write YYYYMMDD or YYYYMMDDHHMM[SS], followed by Z for UTC")
}

// judge looks at the fields together.
func (e Entry) judge() *gov.Error {
	if e.Handle == "" {
		return syntax("the line names no handle").WithHint("add handle=NAME kind=human behind the key")
	}
	if e.Kind == "" {
		return syntax("the line does not say what kind %s is", e.Handle).WithHint("add kind=human, kind=agent or kind=service")
	}
	for _, p := range e.Principals {
		if !strings.Contains(p, "@") && p != e.Handle {
			return gov.Errorf(gov.KindInvalid, "registry_principal", "the principal %q is not the handle %s", short(p), e.Handle)
		}
	}
	return nil
}
