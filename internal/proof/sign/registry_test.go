package sign

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"github.com/governhq/govern/internal/gov"
)

// pub is "type base64" of a test key.
func pub(t testing.TB, name string) string {
	t.Helper()
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(testKey(t, name).PublicKey())))
}

func print256(t testing.TB, name string) string {
	return ssh.FingerprintSHA256(testKey(t, name).PublicKey())
}

func TestParseRegistry(t *testing.T) {
	file := "# people of the studio\n\n" +
		"ana,ana@example.com namespaces=\"git,govern-statement\",valid-after=\"20240101Z\",valid-before=\"202601021530\" " + pub(t, "ed25519") + " handle=ana kind=human roles=owner,security_lead emails=a.b@example.org name=\"Ana \\\"A\\\" Lopez\"\n" +
		"\tana@example.com\tVALID-BEFORE=\"20260102153059Z\" " + pub(t, "p256") + " handle=ana   kind=human\troles=security_lead,owner \n" +
		"bot " + pub(t, "p384") + " handle=bot kind=agent sponsor=ana\n" +
		"  # ci\n" +
		"ci " + pub(t, "rsa") + " kind=service handle=ci roles=ci\n" +
		"dan@example.com " + pub(t, "other") + " handle=dan kind=human delegate_of=ana"
	got, err := ParseRegistry([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	date := func(m time.Month, d, hh, mm, ss, y int) time.Time { return time.Date(y, m, d, hh, mm, ss, 0, time.UTC) }
	want := gov.Registry{Digest: gov.DigestOf([]byte(file)), People: []gov.Person{
		{Handle: "ana", Kind: gov.Human, Roles: []string{"owner", "security_lead"}, Emails: []string{"ana@example.com", "a.b@example.org"}, Keys: []gov.Key{
			{Fingerprint: print256(t, "ed25519"), Type: "ssh-ed25519", NotBefore: date(1, 1, 0, 0, 0, 2024), NotAfter: date(1, 2, 15, 30, 0, 2026)},
			{Fingerprint: print256(t, "p256"), Type: "ecdsa-sha2-nistp256", NotAfter: date(1, 2, 15, 30, 59, 2026)},
		}},
		{Handle: "bot", Kind: gov.Agent, Sponsor: "ana", Keys: []gov.Key{{Fingerprint: print256(t, "p384"), Type: "ecdsa-sha2-nistp384"}}},
		{Handle: "ci", Kind: gov.Service, Roles: []string{"ci"}, Keys: []gov.Key{{Fingerprint: print256(t, "rsa"), Type: "ssh-rsa"}}},
		{Handle: "dan", Kind: gov.Human, DelegateOf: "ana", Emails: []string{"dan@example.com"}, Keys: []gov.Key{{Fingerprint: print256(t, "other"), Type: "ssh-ed25519"}}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	f, err := ParseFile([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if string(f.Print()) != file+"\n" {
		t.Errorf("printed otherwise:\n%s", f.Print())
	}
	if n := f.Entries()[0].Name; n != `Ana "A" Lopez` {
		t.Errorf("name %q", n)
	}
	empty, err := ParseRegistry(nil)
	if err != nil || len(empty.People) != 0 || empty.Digest != gov.DigestOf(nil) {
		t.Errorf("an empty file: %+v, %v", empty, err)
	}
}

func TestRegistryRefusals(t *testing.T) {
	k, k2, k3 := pub(t, "ed25519"), pub(t, "other"), pub(t, "p256")
	ok := "ana " + k + " handle=ana kind=human roles=owner\n"
	opt := func(o string) string { return "ana " + o + " " + k + " handle=ana kind=human\n" }
	field := func(f string) string { return "ana " + k + " handle=ana kind=human " + f + "\n" }
	rows := []struct {
		name, in, code string
		line           int
		hint           string
	}{
		{"unknown field", ok + "bob " + k2 + " handle=bob kind=human rolse=owner\n", "registry_unknown_field", 2, "write roles=…"},
		{"plain comment", "ana " + k + " ana@laptop\n", "registry_unknown_field", 1, "the fields are"},
		{"field twice", field("kind=human"), "registry_field", 1, ""},
		{"kind", "ana " + k + " handle=ana kind=person\n", "registry_field", 1, ""},
		{"handle in capitals", "ana " + k + " handle=Ana kind=human\n", "registry_field", 1, ""},
		{"no handle", "ana " + k + " kind=human\n", "registry_syntax", 1, "handle="},
		{"no kind", "ana " + k + " handle=ana\n", "registry_syntax", 1, "kind="},
		{"no key", "ana\n", "registry_syntax", 1, "form"},
		{"no base64", "ana ssh-ed25519\n", "registry_syntax", 1, "form"},
		{"role twice", field("roles=a,a"), "registry_field", 1, ""},
		{"role empty", field("roles="), "registry_field", 1, ""},
		{"email odd", field("emails=x"), "registry_field", 1, ""},
		{"name not closed", field(`name="Ana`), "registry_syntax", 1, ""},
		{"name glued", field(`name="Ana"roles=owner`), "registry_syntax", 1, ""},
		{"name with an odd escape", field(`name="A\n"`), "registry_syntax", 1, ""},
		{"quote inside", field(`name=A"b"`), "registry_syntax", 1, ""},
		{"principal star", "* " + k + " handle=ana kind=human\n", "registry_principal", 1, "patterns"},
		{"principal of all hosts", "*@example.com " + k + " handle=ana kind=human\n", "registry_principal", 1, "patterns"},
		{"principal negated", "ana,!bob " + k + " handle=ana kind=human\n", "registry_principal", 1, "patterns"},
		{"principal quoted", `"ana" ` + k + " handle=ana kind=human\n", "registry_principal", 1, ""},
		{"principal of another handle", "bob " + k + " handle=ana kind=human\n", "registry_principal", 1, ""},
		{"cert-authority", opt("cert-authority"), "registry_cert_authority", 1, "one line per key"},
		{"cert-authority among others", opt(`namespaces="govern-statement",cert-authority`), "registry_cert_authority", 1, ""},
		{"option misspelt", opt(`namespace="govern-statement"`), "registry_option", 1, `namespaces="…"`},
		{"option unknown", opt(`command="x"`), "registry_option", 1, "the options are"},
		{"option twice", opt(`valid-after="20240101",valid-after="20240102"`), "registry_option", 1, ""},
		{"option unquoted", opt(`valid-after=20240101`), "registry_option", 1, ""},
		{"option not closed", opt(`valid-after="20240101`), "registry_syntax", 1, ""},
		{"namespaces without ours", opt(`namespaces="git,file"`), "registry_namespace", 1, "govern-statement"},
		{"namespaces with a pattern", opt(`namespaces="govern-*"`), "registry_namespace", 1, ""},
		{"namespaces negated", opt(`namespaces="govern-statement,!govern-statement"`), "registry_namespace", 1, ""},
		{"time short", opt(`valid-after="2024"`), "registry_validity", 1, "YYYYMMDD"},
		{"time impossible", opt(`valid-after="20240230"`), "registry_validity", 1, ""},
		{"time with two Z", opt(`valid-after="20240101ZZ"`), "registry_validity", 1, ""},
		{"ends before it begins", opt(`valid-after="20240102",valid-before="20240101"`), "registry_validity", 1, ""},
		{"key of another type", "ana ssh-rsa " + strings.Fields(k)[1] + " handle=ana kind=human\n", "key_malformed", 1, ""},
		{"short RSA", "ana " + pub(t, "rsa2048") + " handle=ana kind=human\n", "key_too_short", 1, "ed25519"},
		{"key twice, one person", ok + ok, "registry_key_twice", 2, ""},
		{"key of two people", ok + "bob " + k + " handle=bob kind=human\n", "registry_key_twice", 2, ""},
		{"kinds differ", ok + "ana " + k2 + " handle=ana kind=service roles=owner\n", "registry_conflict", 2, ""},
		{"roles differ", ok + "ana " + k2 + " handle=ana kind=human\n", "registry_conflict", 2, ""},
		{"names differ", field("name=A") + "ana " + k2 + " handle=ana kind=human name=B\n", "registry_conflict", 2, ""},
		{"address of two people", "ana,x@example.com " + k + " handle=ana kind=human\nbob " + k2 + " handle=bob kind=human emails=X@example.com\n", "registry_email_shared", 2, ""},
		{"agent without sponsor", ok + "bot " + k2 + " handle=bot kind=agent\n", "registry_sponsor", 2, "sponsor="},
		{"sponsor missing", ok + "bot " + k2 + " handle=bot kind=agent sponsor=eve\n", "registry_sponsor", 2, ""},
		{"sponsor an agent", ok + "b1 " + k2 + " handle=b1 kind=agent sponsor=ana\nb2 " + k3 + " handle=b2 kind=agent sponsor=b1\n", "registry_sponsor", 3, ""},
		{"sponsor a service", "ci " + k + " handle=ci kind=service\nb2 " + k2 + " handle=b2 kind=agent sponsor=ci\n", "registry_sponsor", 2, ""},
		{"human with sponsor", ok + "bob " + k2 + " handle=bob kind=human sponsor=ana\n", "registry_sponsor", 2, ""},
		{"delegate of nobody", field("delegate_of=eve"), "registry_delegate", 1, ""},
		{"delegate of oneself", field("delegate_of=ana"), "registry_delegate", 1, ""},
		{"delegate of a delegate", ok + "b " + k2 + " handle=b kind=human delegate_of=ana\nc " + k3 + " handle=c kind=human delegate_of=b\n", "registry_delegate", 3, ""},
		{"carriage return", strings.Replace(ok, "\n", "\r\n", 1), "registry_syntax", 1, "line feeds"},
		{"NUL", "# \x00\n", "registry_syntax", 1, ""},
		{"invalid UTF-8", "# \xff\n", "registry_syntax", 1, ""},
		{"bidi in a comment", ok + "# \u202e\n", "registry_syntax", 2, ""},
		{"line too long", "# " + strings.Repeat("x", MaxRegistryLine) + "\n", "registry_too_large", 1, ""},
	}
	if _, err := ParseRegistry([]byte(ok)); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			reg, err := ParseRegistry([]byte(r.in))
			wantCode(t, err, gov.KindInvalid, r.code)
			e, _ := errors.AsType[*gov.Error](err)
			if e == nil {
				return
			}
			if !strings.HasPrefix(e.Message, fmt.Sprintf(".govern/allowed_signers:%d: ", r.line)) {
				t.Errorf("message %q does not name line %d", e.Message, r.line)
			}
			if !strings.Contains(e.Hint, r.hint) {
				t.Errorf("hint %q lacks %q", e.Hint, r.hint)
			}
			if len(reg.People) != 0 {
				t.Error("a refused registry has people")
			}
		})
	}
	_, err := ParseRegistry(bytes.Repeat([]byte("#\n"), MaxRegistry))
	wantCode(t, err, gov.KindInvalid, "registry_too_large")
}

func TestAddAndRemove(t *testing.T) {
	file := "# people\n\nana   " + pub(t, "ed25519") + "  handle=ana kind=human roles=owner\n# agents\nbot " + pub(t, "p384") + " handle=bot kind=agent sponsor=ana\n"
	f, err := ParseFile([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	second := Entry{Principals: []string{"ana"}, Key: testKey(t, "p256").PublicKey(), Handle: "ana", Kind: gov.Human, Roles: []string{"owner"}}
	if err := f.Add(second); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(file, "# agents\n", "ana "+pub(t, "p256")+" handle=ana kind=human roles=owner\n# agents\n", 1)
	if diff := cmp.Diff(want, string(f.Print())); diff != "" {
		t.Error(diff)
	}
	bad := []struct {
		name string
		e    Entry
		code string
	}{
		{"key already there", second, "registry_key_twice"},
		{"other kind", Entry{Principals: []string{"ana"}, Key: testKey(t, "other").PublicKey(), Handle: "ana", Kind: gov.Service}, "registry_conflict"},
		{"no key", Entry{Principals: []string{"eve"}, Handle: "eve", Kind: gov.Human}, "registry_syntax"},
		{"a second line in the name", Entry{Principals: []string{"eve"}, Key: testKey(t, "other").PublicKey(), Handle: "eve", Kind: gov.Human, Name: "x\nbob"}, "registry_syntax"},
		{"read as a comment", Entry{Principals: []string{"#eve"}, Key: testKey(t, "other").PublicKey(), Handle: "eve", Kind: gov.Human}, "registry_syntax"},
		{"options in a principal", Entry{Principals: []string{"eve cert-authority"}, Key: testKey(t, "other").PublicKey(), Handle: "eve", Kind: gov.Human}, "registry_cert_authority"},
	}
	for _, r := range bad {
		t.Run(r.name, func(t *testing.T) {
			wantCode(t, f.Add(r.e), gov.KindInvalid, r.code)
			if string(f.Print()) != want {
				t.Error("a refused entry changed the file")
			}
		})
	}
	wantCode(t, f.Remove("SHA256:none"), gov.KindNotFound, "registry_key_unknown")
	if err := f.Remove(print256(t, "p256")); err != nil || string(f.Print()) != file {
		t.Errorf("%v\n%s", err, f.Print())
	}
	wantCode(t, f.Remove(print256(t, "ed25519")), gov.KindInvalid, "registry_sponsor")
	if string(f.Print()) != file {
		t.Error("a refused removal changed the file")
	}
	if err := f.Remove(print256(t, "p384")); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(print256(t, "ed25519")); err != nil || string(f.Print()) != "# people\n\n# agents\n" {
		t.Errorf("%v %q", err, f.Print())
	}
}

// TestPrintThenParse: valid entries, drawn at random, come back as they were.
func TestPrintThenParse(t *testing.T) {
	names := []string{"ed25519", "other", "p256", "p384", "p521", "rsa"}
	rapid.Check(t, func(rt *rapid.T) {
		var want []Entry
		for i := range rapid.IntRange(0, len(names)).Draw(rt, "entries") {
			handle := fmt.Sprintf("h%d.%s", i, rapid.StringMatching(`[a-z0-9._-]{0,9}`).Draw(rt, "handle"))
			e := Entry{
				Principals: []string{handle}, Key: testKey(t, names[i]).PublicKey(), Handle: handle, Kind: gov.Human,
				Name: rapid.StringOf(rapid.SampledFrom([]rune(`aé "\#=,'x`))).Draw(rt, "name"),
			}
			if rapid.Bool().Draw(rt, "more") {
				e.Namespaces = []string{gov.SSHNamespace, "git"}
				e.Roles = []string{"owner", "r2"}
				e.Emails = []string{handle + "@example.com"}
				e.NotBefore = time.Unix(rapid.Int64Range(1, 2e9).Draw(rt, "from"), 0).UTC()
				e.NotAfter = e.NotBefore.Add(time.Duration(rapid.Int64Range(1, 1e6).Draw(rt, "for")) * time.Second)
			}
			if i > 0 && rapid.Bool().Draw(rt, "agent") {
				e.Kind, e.Sponsor = gov.Agent, want[0].Handle
			}
			want = append(want, e)
		}
		f, err := ParseFile(PrintRegistry(want))
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, f.Entries(), sameKey); diff != "" {
			rt.Fatal(diff)
		}
	})
}

var sameKey = cmp.Comparer(func(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) })

func FuzzRegistry(f *testing.F) {
	k := "ssh-ed25519 " + base64.StdEncoding.EncodeToString(ssh.Marshal(struct{ T, K string }{"ssh-ed25519", strings.Repeat("k", 32)}))
	for _, s := range []string{
		"# c\n\nana,a@b namespaces=\"govern-statement\",valid-after=\"20240101Z\" " + k + " handle=ana kind=human roles=a,b emails=c@d name=\"x \\\" y\"\n",
		"bot\t" + k + " handle=bot kind=agent sponsor=ana", "a " + k + " handle=a kind=service\nb " + k + " handle=b kind=service\n", "\n\n#",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := ParseFile(in)
		if err != nil {
			if gov.KindOf(err) != gov.KindInvalid || gov.CodeOf(err) == "" {
				t.Errorf("an odd error: %v", err)
			}
			return
		}
		if got := file.Print(); !bytes.Equal(bytes.TrimSuffix(got, []byte("\n")), bytes.TrimSuffix(in, []byte("\n"))) {
			t.Errorf("%q is printed as %q", in, got)
		}
		again, err := ParseFile(PrintRegistry(file.Entries()))
		if err != nil {
			t.Fatalf("%q: its print is refused: %v", in, err)
		}
		if diff := cmp.Diff(file.Entries(), again.Entries(), sameKey); diff != "" {
			t.Error(diff)
		}
		a, b := file.Registry(), again.Registry()
		if a.Digest, b.Digest = "", ""; !cmp.Equal(a, b) {
			t.Error(cmp.Diff(a, b))
		}
	})
}
