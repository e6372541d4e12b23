package engine

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
	"github.com/governhq/govern/internal/proof/sign"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/policy"
)

// law is what one commit of the protected branch says: the policy and the
// people in force.
type law struct {
	commit     string
	policy     policy.Policy
	digest     gov.Digest // of the normalised policy
	registry   gov.Registry
	codeowners []policy.OwnerRule
	manifest   gov.Manifest // zero when there is none
}

// content is everything git says about one change, read before any decision.
type content struct {
	law         law
	branch      string // where it wants to go
	target      string // tip of that branch
	head        string
	id          gov.ChangeID
	revision    gov.Revision
	paths       []gov.PathChange
	metadata    change.Metadata
	metadataSum gov.Digest
	metadataErr error
	emails      []string
	agents      []string
	nextLaw     error // why the policy or people that it leaves cannot be used
	statements  []statementFile
	contracts   []string // declared contract files that differ
	landing     bool     // it is about to land: a closed change may not
	landed      bool     // it stands on its branch: a fact, proposed or not
	unproposed  string   // the author in whose name nobody has signed a proposal of this content
}

type statementFile struct {
	path   string
	digest gov.Digest // of its bytes
	bytes  []byte
	astray bool // its name or place is not what govern gives a file with these bytes
}

// readLaw reads policy and people at a commit. No policy is no: the error is
// policy_missing.
func readLaw(ctx context.Context, repo Repo, commit string) (law, error) {
	l := law{commit: commit}
	b, err := repo.ReadFile(ctx, commit, policy.Path)
	if gov.KindOf(err) == gov.KindNotFound {
		return l, gov.Errorf(gov.KindRefused, "policy_missing", "there is no %s at %s, so nothing can be allowed", policy.Path, short(commit)).WithHint("govern init")
	}
	if err != nil {
		return l, err
	}
	if l.policy, err = policy.Parse(b); err != nil {
		return l, err
	}
	if l.policy.Changes.Dir != "changes" {
		return l, gov.Errorf(gov.KindInvalid, "policy_changes_dir", "changes.dir is %q, but the digests of this version leave out statements in changes/ only", l.policy.Changes.Dir).
			WithHint("take the key changes out of %s", policy.Path)
	}
	l.digest = l.policy.Digest()
	if b, err = repo.ReadFile(ctx, commit, l.policy.People); err != nil {
		if gov.KindOf(err) != gov.KindNotFound {
			return l, err
		}
		return l, gov.Errorf(gov.KindRefused, "registry_missing", "there is no registry %s at %s, so nobody can approve", l.policy.People, short(commit)).WithHint("govern people add HANDLE --key-file FILE.pub")
	}
	if l.registry, err = sign.ParseRegistry(b); err != nil {
		return l, err
	}
	if err := l.readOwners(ctx, repo); err != nil {
		return l, err
	}
	return l, l.readManifest(ctx, repo)
}

func (l *law) readOwners(ctx context.Context, repo Repo) error {
	if l.policy.Owners.Codeowners == "" {
		return nil
	}
	b, err := repo.ReadFile(ctx, l.commit, l.policy.Owners.Codeowners)
	if gov.KindOf(err) == gov.KindNotFound {
		return nil // every path is then unowned, which the plan reports
	}
	if err == nil {
		l.codeowners, err = policy.ParseOwners(b)
	}
	return err
}

// manifestPath is where the reference system lists its modules; a repository
// without one has no declared contracts but those in contracts/.
const manifestPath = "manifest.json"

func (l *law) readManifest(ctx context.Context, repo Repo) error {
	b, err := repo.ReadFile(ctx, l.commit, manifestPath)
	if gov.KindOf(err) == gov.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return strict.Unmarshal(b, &l.manifest, strict.Options{})
}

// readContent reads a change. The law is that of the target's tip, so that a
// change cannot judge itself by rules it brings along.
func (e *Engine) readContent(ctx context.Context, repo Repo, id gov.ChangeID, branch, target, head string) (*content, error) {
	l, err := readLaw(ctx, repo, target)
	if err != nil {
		return nil, err
	}
	c := &content{law: l, branch: branch, target: target, head: head, id: id}
	if c.revision, c.paths, err = repo.Revision(ctx, target, head, id); err != nil {
		return nil, err
	}
	return c, c.fill(ctx, repo)
}

// fill reads what does not depend on how the range was found.
func (c *content) fill(ctx context.Context, repo Repo) error {
	if err := c.readMetadata(ctx, repo, c.head); err != nil {
		return err
	}
	if err := c.readNextLaw(ctx, repo); err != nil {
		return err
	}
	var err error
	if c.emails, c.agents, err = repo.Contributors(ctx, c.revision.Base, c.head); err != nil {
		return err
	}
	c.contracts = contractFiles(c.law.manifest, c.metadata.Contracts, c.paths)
	return c.readStatements(ctx, repo, path.Join(c.law.policy.Changes.Dir, string(c.id), "statements"))
}

// readMetadata reads the change's file at a commit; a file that is there but
// not valid is kept as metadataErr, for the verdict to say.
func (c *content) readMetadata(ctx context.Context, repo Repo, commit string) error {
	file := path.Join(c.law.policy.Changes.Dir, string(c.id), change.MetadataFile)
	b, err := repo.ReadFile(ctx, commit, file)
	switch {
	case gov.KindOf(err) == gov.KindNotFound:
		return gov.Errorf(gov.KindInvalid, "metadata_missing", "%s has no %s at %s", c.id, file, short(commit)).WithHint("govern submit -m WHY")
	case gov.CodeOf(err) == "file_too_large":
		c.metadataErr = err
		return nil
	case err != nil:
		return err
	}
	c.metadataSum = gov.DigestOf(b)
	c.metadata, c.metadataErr = change.ParseMetadata(b)
	if c.metadataErr == nil && c.metadata.ChangeID != c.id {
		c.metadataErr = gov.Errorf(gov.KindInvalid, "change_id_mismatch", "the file of %s says it is %s", c.id, c.metadata.ChangeID)
	}
	return nil
}

func (c *content) readStatements(ctx context.Context, repo Repo, dir string) error {
	files, err := repo.ListFiles(ctx, c.head, dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !strings.HasSuffix(f, ".json") {
			continue
		}
		b, err := repo.ReadFile(ctx, c.head, f)
		if err != nil {
			return err
		}
		d := gov.DigestOf(b)
		c.statements = append(c.statements, statementFile{path: f, digest: d, bytes: b, astray: f != path.Join(dir, d.Hex()+".json")})
	}
	return nil
}

// contractFiles lists the touched files that are declared contracts: what the
// manifest or the change itself names, and everything in contracts/.
func contractFiles(m gov.Manifest, named []string, paths []gov.PathChange) []string {
	var out []string
	for _, p := range paths {
		declared := strings.HasPrefix(p.Path, "contracts/") || strings.Contains(p.Path, "/contracts/")
		declared = declared || slices.ContainsFunc(named, func(n string) bool {
			file, _, _ := strings.Cut(n, "#")
			return file == p.Path
		})
		for _, mod := range m.Modules {
			file, _, _ := strings.Cut(mod.InterfaceSchema, "#")
			declared = declared || file == p.Path
		}
		if declared {
			out = append(out, p.Path)
		}
	}
	return out
}

func (c *content) touchedPaths() []string {
	out := make([]string, len(c.paths))
	for i, p := range c.paths {
		out[i] = p.Path
	}
	return out
}

// authors is everybody who had a hand in the change: declared author, proposer,
// contributors of the range, the agent and its sponsor. A contributor whose
// address nobody in the registry has stays as the digest of the address: he
// cannot approve, and the log holds no address.
func (c *content) authors(proposer string) []string {
	var out []string
	add := func(handle string) {
		if handle != "" && !slices.Contains(out, handle) {
			out = append(out, handle)
		}
	}
	if c.metadataErr == nil {
		add(c.handle(c.metadata.Author))
		if a := c.metadata.Agent; a != nil {
			add(c.handle(a.Name))
			add(c.handle(a.Sponsor))
		}
	}
	add(proposer)
	for _, m := range c.emails {
		add(c.handle(m))
	}
	for _, a := range c.agents {
		add(c.handle(a))
	}
	for _, h := range slices.Clone(out) {
		if p, ok := c.law.registry.Person(h); ok && p.Kind == gov.Agent {
			add(p.Sponsor)
		}
	}
	return out
}

// authorsOf is authors of a change that the log may know. Whoever commits the
// same content again (a rebase, a squash, the merge itself) had no hand in it:
// the authors of known content are those the log has.
func (c *content) authorsOf(st change.State, proposer string) []string {
	if st.Status != change.Open || st.Revision.Change != c.revision.Change || len(st.Authors) == 0 {
		return c.authors(proposer)
	}
	declared := *c
	declared.emails = nil
	out := declared.authors(proposer)
	for _, h := range st.Authors {
		if !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// handle maps a handle or an e-mail address to a handle.
func (c *content) handle(name string) string {
	if _, ok := c.law.registry.Person(name); ok || name == "" {
		return name
	}
	if p, ok := c.law.registry.ByEmail(name); ok {
		return p.Handle
	}
	if strings.Contains(name, "@") {
		return "unregistered:" + gov.DigestOf([]byte(strings.ToLower(name))).Short()
	}
	return name
}

func short(commit string) string { return commit[:min(10, len(commit))] }
