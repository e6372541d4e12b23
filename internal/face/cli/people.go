// people.go: written by helper C

package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/policy"
)

func (a *app) people() *cobra.Command {
	cmd := group("people COMMAND", "who may sign: the people file of the work tree", groupHouse, a.peopleList(), a.peopleAdd(), a.peopleRevoke(), a.peopleRotate())
	cmd.Long = "Edits the people file of the work tree. What it says counts once it is merged, as a change of risk high or more."
	return cmd
}

// register is the people file of the work tree as it stands.
type register struct {
	a       *app
	w       Workbench
	name    string // in the repository, slashes
	bytes   []byte
	entries []KeyEntry
	reg     gov.Registry
}

// register reads the people file: the work tree's, or, where there is none, the
// one in force. A file that is missing is empty.
func (a *app) register(ctx context.Context) (*register, error) {
	w, err := a.repo(ctx)
	if err != nil {
		return nil, err
	}
	r := &register{a: a, w: w}
	if w.WorkTreeDir() == "" {
		err = r.readLaw(ctx)
	} else {
		err = r.readTree()
	}
	if err != nil {
		return nil, err
	}
	return r, r.parse()
}

func (r *register) parse() (err error) {
	if r.entries, err = r.a.People(r.bytes); err != nil {
		return err
	}
	r.reg, err = r.a.Registry(r.bytes)
	return err
}

func (r *register) readLaw(ctx context.Context) error {
	law, err := engine.ReadLaw(ctx, r.w)
	if err != nil {
		return uninitialised(err)
	}
	r.name = law.Policy.People
	r.bytes, err = r.w.ReadFile(ctx, law.Commit, r.name)
	return err
}

// readTree goes by the work tree's own policy, which may not be merged yet. A
// root keeps links in the repository from leading out of it.
func (r *register) readTree() error {
	root, err := os.OpenRoot(r.w.WorkTreeDir())
	if err != nil {
		return unreadable(err)
	}
	defer root.Close()
	p := policy.Default()
	switch b, err := root.ReadFile(policy.Path); {
	case err == nil:
		if p, err = policy.Parse(b); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return unreadable(err)
	}
	r.name = p.People
	if r.bytes, err = root.ReadFile(filepath.FromSlash(r.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unreadable(err)
	}
	return nil
}

func unreadable(err error) error {
	return gov.Errorf(gov.KindUnavailable, "work_tree_unreadable", "the work tree cannot be read: %w", err).WithHint("govern doctor")
}

// write puts the file in place of the old one, whole or not at all.
func (r *register) write() error {
	if r.w.WorkTreeDir() == "" {
		return gov.Errorf(gov.KindInvalid, "work_tree_missing", "a bare repository has no work tree to edit").WithHint("run this in a clone")
	}
	root, err := os.OpenRoot(r.w.WorkTreeDir())
	if err != nil {
		return unreadable(err)
	}
	defer root.Close()
	name := filepath.FromSlash(r.name)
	err = root.MkdirAll(filepath.FromSlash(path.Dir(r.name)), 0o755)
	if err == nil {
		err = root.WriteFile(name+".new", r.bytes, 0o644)
	}
	if err == nil {
		err = root.Rename(name+".new", name)
	}
	if err != nil {
		return gov.Errorf(gov.KindUnavailable, "work_tree_unwritable", "%s cannot be written: %w", r.name, err).WithHint("govern doctor")
	}
	return nil
}

// of lists the keys of a handle.
func (r *register) of(handle string) []KeyEntry {
	return slices.DeleteFunc(slices.Clone(r.entries), func(e KeyEntry) bool { return e.Handle != handle })
}

// add and remove change the bytes; what they print must be readable again.
func (r *register) add(e KeyEntry) (err error) {
	if r.bytes, err = r.a.AddPerson(r.bytes, e); err != nil {
		return err
	}
	return r.parse()
}

func (r *register) remove(fingerprint string) (err error) {
	if r.bytes, err = r.a.RemoveKey(r.bytes, fingerprint); err != nil {
		return err
	}
	return r.parse()
}

// edited is the answer of a command that edits the people file.
type edited struct {
	File    string   `json:"file"`
	Added   []string `json:"added,omitempty"`   // fingerprints
	Removed []string `json:"removed,omitempty"` // fingerprints
	Changed []string `json:"changed,omitempty"` // fingerprints
	Next    string   `json:"next"`
}

// finish writes the file and says what was done and how it comes into force.
func (r *register) finish(e edited, said ...string) error {
	if err := r.write(); err != nil {
		return err
	}
	e.File, e.Next = r.name, "git add "+r.name+" && git commit, then govern submit -m WHY"
	return r.a.give(e, func(w io.Writer) {
		for _, s := range said {
			fmt.Fprintln(w, printable(s))
		}
		fmt.Fprintf(w, "%s is edited and not in force: it counts when it is merged, as a\nchange of risk high or more\nnext: %s\n", r.name, e.Next)
	})
}

// listedKey is one line of `people list`.
type listedKey struct {
	Handle      string            `json:"handle"`
	Kind        gov.PrincipalKind `json:"kind"`
	Roles       []string          `json:"roles,omitempty"`
	Emails      []string          `json:"emails,omitempty"`
	Sponsor     string            `json:"sponsor,omitempty"`
	DelegateOf  string            `json:"delegate_of,omitempty"`
	Fingerprint string            `json:"fingerprint"`
	Type        string            `json:"type"`
	Presence    bool              `json:"presence"`
	NotBefore   time.Time         `json:"not_before,omitzero"`
	NotAfter    time.Time         `json:"not_after,omitzero"`
	Valid       bool              `json:"valid"` // now
	Mine        bool              `json:"mine,omitempty"`
}

func (a *app) peopleList() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use: "list [--role ROLE]", Short: "who may sign, with which keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			r, err := a.register(ctx)
			if err != nil {
				return err
			}
			mine := ""
			if s, err := a.signer(ctx, r.w); err == nil {
				mine = s.Fingerprint()
			}
			out := struct {
				File    string      `json:"file"`
				InForce bool        `json:"in_force"` // the governed branch has the same bytes
				Keys    []listedKey `json:"keys"`
			}{r.name, r.inForce(ctx), r.list(role, mine, now())}
			if role == policy.RoleOwner {
				if out.Keys, err = r.owners(ctx, mine, now()); err != nil {
					return err
				}
			}
			return a.give(out, func(w io.Writer) {
				printPeople(w, out.Keys)
				if !out.InForce {
					fmt.Fprintf(w, "note: %s differs from what is in force on the governed branch\n", r.name)
				}
			})
		},
	}
	cmd.Flags().StringVar(&role, "role", "", "only those with this role")
	return cmd
}

// inForce tells whether the governed branch has the same people.
func (r *register) inForce(ctx context.Context) bool {
	law, err := engine.ReadLaw(ctx, r.w)
	if err != nil {
		return false
	}
	b, err := r.w.ReadFile(ctx, law.Commit, law.Policy.People)
	return err == nil && law.Policy.People == r.name && bytes.Equal(b, r.bytes)
}

// owners lists who owns something by the law in force: owner is no role of the
// registry, the rules of the policy say it.
func (r *register) owners(ctx context.Context, mine string, at time.Time) ([]listedKey, error) {
	law, err := engine.ReadLaw(ctx, r.w)
	if err != nil {
		return nil, err
	}
	rules := law.Policy.Owners.Rules
	if len(rules) == 0 {
		rules = law.Owners
	}
	named := map[string]bool{}
	for _, rule := range rules {
		// One rule by itself, so that a later one does not hide its owners.
		own, err := policy.Owners([]policy.OwnerRule{{Path: "*", Owners: rule.Owners}}, policy.Members(r.reg), []string{"x"})
		if err != nil {
			return nil, err
		}
		for _, g := range own.Groups {
			for _, h := range g.Owners {
				named[h] = true
			}
		}
	}
	return slices.DeleteFunc(r.list("", mine, at), func(k listedKey) bool { return !named[k.Handle] }), nil
}

func (r *register) list(role, mine string, at time.Time) []listedKey {
	out := []listedKey{}
	for _, p := range r.reg.People {
		if role != "" && !slices.Contains(p.Roles, role) {
			continue
		}
		for _, k := range p.Keys {
			out = append(out, listedKey{
				Handle: p.Handle, Kind: p.Kind, Roles: p.Roles, Emails: p.Emails, Sponsor: p.Sponsor, DelegateOf: p.DelegateOf,
				Fingerprint: k.Fingerprint, Type: k.Type, Presence: k.Presence, NotBefore: k.NotBefore, NotAfter: k.NotAfter,
				Valid: k.ValidAt(at), Mine: k.Fingerprint == mine,
			})
		}
	}
	return out
}

// printPeople prints a line a key, and its fingerprint beneath, which would
// make the line too long.
func printPeople(w io.Writer, keys []listedKey) {
	if len(keys) == 0 {
		fmt.Fprintln(w, "there is nobody")
		return
	}
	rows := [][]string{{"", "HANDLE", "KIND", "ROLES", "KEY", "VALID"}}
	for _, k := range keys {
		mark, key := "", k.Type
		if k.Mine {
			mark = "*"
		}
		if k.Presence {
			key += " (touch)"
		}
		roles := strings.Join(k.Roles, ",")
		switch {
		case k.Sponsor != "":
			roles = strings.TrimPrefix(roles+"; for "+k.Sponsor, "; ")
		case k.DelegateOf != "":
			roles = strings.TrimPrefix(roles+"; delegate of "+k.DelegateOf, "; ")
		}
		rows = append(rows, []string{mark, k.Handle, string(k.Kind), orElse(roles, "-"), key, validity(k)})
	}
	for i, line := range tableLines(rows) {
		fmt.Fprintln(w, line)
		if i > 0 {
			fmt.Fprintln(w, "     "+keys[i-1].Fingerprint)
		}
	}
	if slices.ContainsFunc(keys, func(k listedKey) bool { return k.Mine }) {
		fmt.Fprintln(w, "* the key that signs here")
	}
}

func validity(k listedKey) string {
	const day = "2006-01-02"
	switch {
	case !k.Valid && !k.NotAfter.IsZero() && now().After(k.NotAfter):
		return "EXPIRED " + k.NotAfter.UTC().Format(day)
	case !k.Valid:
		return "from " + k.NotBefore.UTC().Format(day)
	case !k.NotAfter.IsZero():
		return "until " + k.NotAfter.UTC().Format(day)
	default:
		return "yes"
	}
}

// personFlags are the fields of a person as they stand on the command line.
type personFlags struct {
	keyFile, kind, sponsor, delegate, name, notBefore, notAfter string
	roles, emails                                               []string
}

func (f *personFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.keyFile, "key-file", "", "public key: a .pub file")
	fs.StringVar(&f.kind, "kind", "", "human, agent or service (default: as the handle is known, else human)")
	fs.StringSliceVar(&f.roles, "roles", nil, "roles, comma-separated")
	fs.StringSliceVar(&f.emails, "email", nil, "committer addresses that are this person")
	fs.StringVar(&f.sponsor, "sponsor", "", "agents: the human who answers for it")
	fs.StringVar(&f.delegate, "delegate-of", "", "counts as one with this handle")
	fs.StringVar(&f.name, "name", "", "name for people to read")
	fs.StringVar(&f.notBefore, "not-before", "", "the key counts from this date on")
	fs.StringVar(&f.notAfter, "not-after", "", "the key counts until this date")
	keyFileFlag(fs)
}

// keyFileFlag lets --public-key mean --key-file, and --role mean --roles.
func keyFileFlag(fs *pflag.FlagSet) {
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "public-key", "pub":
			name = "key-file"
		case "role":
			name = "roles"
		}
		return pflag.NormalizedName(name)
	})
}

// publicKey reads a .pub file. A private key is refused before it is copied
// anywhere.
func (a *app) publicKey(file string) (string, error) {
	if file == "" {
		return "", gov.Errorf(gov.KindInvalid, "key_file_missing", "a public key is needed").WithHint("add --key-file FILE.pub   (govern key new FILE makes one)")
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(a.Dir, file)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", gov.Errorf(gov.KindNotFound, "key_file_unreadable", "the public key cannot be read: %w", err).WithHint("govern key new FILE")
	}
	text := strings.TrimSpace(string(b))
	if strings.Contains(text, "PRIVATE KEY") {
		return "", gov.Errorf(gov.KindInvalid, "key_file_private", "%s holds a private key; nobody else may have that", file).WithHint("give %s.pub", file)
	}
	if text == "" || strings.Contains(text, "\n") {
		return "", gov.Errorf(gov.KindInvalid, "key_file_lines", "%s does not hold one line with one public key", file).WithHint("ssh-keygen -y -f PRIVATE > FILE.pub")
	}
	return text, nil
}

// parseKind reads what somebody is.
func parseKind(s string) (gov.PrincipalKind, error) {
	k := gov.PrincipalKind(s)
	if k != gov.Human && k != gov.Agent && k != gov.Service {
		return "", gov.Errorf(gov.KindInvalid, "kind_invalid", "%q is no kind of principal", printable(s)).WithHint("use human, agent or service")
	}
	return k, nil
}

func (a *app) peopleAdd() *cobra.Command {
	var f personFlags
	cmd := &cobra.Command{
		Use: "add HANDLE --key-file FILE.pub [--kind KIND] [--roles A,B] [--email ADDRESS]", Short: "add a person, or one more key of a known one", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := a.publicKey(f.keyFile)
			if err != nil {
				return err
			}
			r, err := a.register(cmd.Context())
			if err != nil {
				return err
			}
			e, err := f.entry(args[0], key, r.of(args[0]))
			if err != nil {
				return err
			}
			if err := r.add(e); err != nil {
				return err
			}
			added := r.of(e.Handle)
			fingerprint := added[len(added)-1].Fingerprint
			said := []string{fmt.Sprintf("%s (%s) gets the key %s", e.Handle, e.Kind, fingerprint)}
			if p, ok := r.reg.Person(e.Handle); ok && e.Kind == gov.Human && len(p.Emails) == 0 {
				said = append(said, "note: without --email nobody's commits are known as "+e.Handle+"'s")
			}
			return r.finish(edited{Added: []string{fingerprint}}, said...)
		},
	}
	f.register(cmd)
	return cmd
}

// entry fills what was not said from the keys that a handle has already: all
// lines of one person agree.
func (f *personFlags) entry(handle, key string, known []KeyEntry) (KeyEntry, error) {
	e := KeyEntry{
		Handle: handle, Name: f.name, Sponsor: f.sponsor, DelegateOf: f.delegate, Roles: f.roles, Emails: f.emails,
		PublicKey: key, NotBefore: f.notBefore, NotAfter: f.notAfter, Kind: gov.Human,
	}
	if len(known) > 0 {
		k := known[0]
		e.Kind, e.Name = k.Kind, cmp.Or(e.Name, k.Name)
		e.Sponsor, e.DelegateOf = cmp.Or(e.Sponsor, k.Sponsor), cmp.Or(e.DelegateOf, k.DelegateOf)
		if len(e.Roles) == 0 {
			e.Roles = k.Roles
		}
	}
	if f.kind != "" {
		var err error
		if e.Kind, err = parseKind(f.kind); err != nil {
			return e, err
		}
	}
	return e, nil
}

func (a *app) peopleRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke HANDLE|FINGERPRINT", Short: "take one key out, or all keys of a person", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.register(cmd.Context())
			if err != nil {
				return err
			}
			gone := r.of(args[0])
			if strings.HasPrefix(args[0], "SHA256:") {
				gone = slices.DeleteFunc(slices.Clone(r.entries), func(e KeyEntry) bool { return e.Fingerprint != args[0] })
			}
			if len(gone) == 0 {
				return unknownPerson(args[0])
			}
			var e edited
			var said []string
			for _, k := range gone {
				if err := r.remove(k.Fingerprint); err != nil {
					return err
				}
				e.Removed = append(e.Removed, k.Fingerprint)
				said = append(said, fmt.Sprintf("%s loses the key %s", k.Handle, k.Fingerprint))
			}
			if len(r.of(gone[0].Handle)) == 0 {
				said = append(said, gone[0].Handle+" is nobody any more")
			}
			return r.finish(e, said...)
		},
	}
}

func unknownPerson(s string) error {
	return gov.Errorf(gov.KindNotFound, "person_unknown", "nobody in the people file is, or has, %q", printable(s)).WithHint("govern people list")
}

func (a *app) peopleRotate() *cobra.Command {
	var keyFile, keep string
	cmd := &cobra.Command{
		Use: "rotate HANDLE --key-file FILE.pub [--keep-until DATE]", Short: "give a person a new key in place of the old ones", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := a.publicKey(keyFile)
			if err != nil {
				return err
			}
			r, err := a.register(cmd.Context())
			if err != nil {
				return err
			}
			return r.rotate(args[0], key, keep)
		},
	}
	cmd.Flags().StringVar(&keyFile, "key-file", "", "the new public key: a .pub file")
	cmd.Flags().StringVar(&keep, "keep-until", "", "the old keys count until this date (default: they are taken out)")
	keyFileFlag(cmd.Flags())
	return cmd
}

// rotate puts the new key in first, so that nobody is without one in between.
func (r *register) rotate(handle, key, keep string) error {
	old := r.of(handle)
	if len(old) == 0 {
		return unknownPerson(handle)
	}
	p, _ := r.reg.Person(handle)
	fresh := old[0]
	fresh.PublicKey, fresh.Emails, fresh.NotBefore, fresh.NotAfter = key, p.Emails, "", ""
	if err := r.add(fresh); err != nil {
		return err
	}
	var e edited
	for _, k := range r.of(handle) {
		if !slices.ContainsFunc(old, func(o KeyEntry) bool { return o.Fingerprint == k.Fingerprint }) {
			e.Added = append(e.Added, k.Fingerprint)
		}
	}
	said := []string{fmt.Sprintf("%s gets the key %s", handle, strings.Join(e.Added, ", "))}
	for _, k := range old {
		if err := r.remove(k.Fingerprint); err != nil {
			return err
		}
		if keep == "" {
			e.Removed = append(e.Removed, k.Fingerprint)
			said = append(said, fmt.Sprintf("%s loses the key %s", handle, k.Fingerprint), "  what it signed no longer counts in open changes (--keep-until DATE keeps it)")
			continue
		}
		k.NotAfter, k.Emails = keep, p.Emails
		if err := r.add(k); err != nil {
			return err
		}
		e.Changed = append(e.Changed, k.Fingerprint)
		said = append(said, fmt.Sprintf("the key %s counts until %s", k.Fingerprint, keep))
	}
	return r.finish(e, said...)
}
