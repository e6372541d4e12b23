package sign

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// fieldNames are govern's fields, in the order they are printed.
var fieldNames = []string{"handle", "kind", "roles", "emails", "sponsor", "delegate_of", "name"}

// readFields reads "name=value" words; a value with blanks stands in double
// quotes, in which \" and \\ mean themselves.
func (e *Entry) readFields(s string) *gov.Error {
	seen := map[string]bool{}
	for s != "" {
		name, rest, ok := strings.Cut(s, "=")
		if !ok || strings.ContainsAny(name, " \t\"") {
			word, _ := cutBlank(s)
			return gov.Errorf(gov.KindInvalid, "registry_unknown_field", "%q is not of the form name=value", short(word)).
				WithHint("the fields are %s", strings.Join(fieldNames, ", "))
		}
		value, after, err := cutValue(rest)
		if err != nil {
			return err
		}
		if !slices.Contains(fieldNames, name) {
			bad := gov.Errorf(gov.KindInvalid, "registry_unknown_field", "%q is not a field", short(name))
			if near := strict.Suggest(name, fieldNames); near != "" {
				return bad.WithHint("write %s=…", near)
			}
			return bad.WithHint("the fields are %s", strings.Join(fieldNames, ", "))
		}
		if seen[name] {
			return gov.Errorf(gov.KindInvalid, "registry_field", "the field %s stands twice", name)
		}
		seen[name] = true
		if err := e.setField(name, value); err != nil {
			return err
		}
		s = after
	}
	return nil
}

// cutValue takes one value, quoted or not, and the blanks behind it.
func cutValue(s string) (value, rest string, err *gov.Error) {
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutBlank(s)
		if strings.ContainsAny(value, `"\`) {
			return "", "", syntax("a quote stands inside a value")
		}
		return value, rest, nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			rest = strings.TrimLeft(s[i+1:], " \t")
			if rest != "" && len(rest) == len(s)-i-1 {
				return "", "", syntax("a blank is missing behind a quoted value")
			}
			return b.String(), rest, nil
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case c == '\\':
			return "", "", syntax(`in a quoted value \ stands before " or \ only`)
		default:
			b.WriteByte(c)
		}
	}
	return "", "", syntax("a quoted value does not end")
}

func (e *Entry) setField(name, value string) *gov.Error {
	bad := func(want string) *gov.Error {
		return gov.Errorf(gov.KindInvalid, "registry_field", "%s=%q is not %s", name, short(value), want)
	}
	switch name {
	case "kind":
		if e.Kind = gov.PrincipalKind(value); !slices.Contains([]gov.PrincipalKind{gov.Human, gov.Agent, gov.Service}, e.Kind) {
			return bad("human, agent or service")
		}
	case "name":
		if e.Name = value; value == "" || len(value) > MaxWord || !printable(value, false) {
			return bad("a printable name")
		}
	case "roles", "emails":
		form, into := handleForm, &e.Roles
		if name == "emails" {
			form, into = emailForm, &e.Emails
		}
		*into = strings.Split(value, ",")
		for i, item := range *into {
			if !form.MatchString(item) || slices.Contains((*into)[:i], item) {
				return bad("a list of different " + name + ", separated by commas")
			}
		}
	default:
		if !handleForm.MatchString(value) {
			return bad("a handle (lower-case letters, digits, and . _ - inside)")
		}
		*map[string]*string{"handle": &e.Handle, "sponsor": &e.Sponsor, "delegate_of": &e.DelegateOf}[name] = value
	}
	return nil
}

// String prints the line; parsing it gives the entry again.
func (e Entry) String() string {
	var b strings.Builder
	b.WriteString(strings.Join(e.Principals, ","))
	b.WriteByte(' ')
	var options []string
	if len(e.Namespaces) > 0 {
		options = append(options, `namespaces="`+strings.Join(e.Namespaces, ",")+`"`)
	}
	if !e.NotBefore.IsZero() {
		options = append(options, `valid-after="`+e.NotBefore.UTC().Format("20060102150405")+`Z"`)
	}
	if !e.NotAfter.IsZero() {
		options = append(options, `valid-before="`+e.NotAfter.UTC().Format("20060102150405")+`Z"`)
	}
	if len(options) > 0 {
		b.WriteString(strings.Join(options, ",") + " ")
	}
	b.WriteString(e.Key.Type() + " " + base64.StdEncoding.EncodeToString(e.Key.Marshal()))
	for i, value := range []string{e.Handle, string(e.Kind), strings.Join(e.Roles, ","), strings.Join(e.Emails, ","), e.Sponsor, e.DelegateOf} {
		if value != "" {
			b.WriteString(" " + fieldNames[i] + "=" + value)
		}
	}
	if e.Name != "" {
		b.WriteString(` name="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(e.Name) + `"`)
	}
	return b.String()
}
