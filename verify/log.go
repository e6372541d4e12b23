package verify

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
	"github.com/governhq/govern/internal/proof/ledger"
)

// identity is what a verifier pins of a log, as it stands in identity.json.
type identity struct {
	Origin  string     `json:"origin"`
	Key     string     `json:"key"`
	Genesis gov.Digest `json:"genesis"`
	Local   bool       `json:"local"`
	Second  string     `json:"second_place,omitempty"`
}

// Log checks the governance log or audit log in a directory. It takes no lock; a
// log that grows meanwhile is checked up to where it was.
func Log(ctx context.Context, dir string, o Options) (Result, error) {
	mode := ledger.Audit
	if exists(filepath.Join(dir, "governance.log")) || exists(filepath.Join(dir, "governance.checkpoint")) {
		mode = ledger.Governance
	}
	r := newResult(string(mode) + "_log")
	opts := ledger.CheckOptions{Mode: mode, Genesis: gov.Digest(o.Genesis), SecondPlace: o.SecondPlace}
	if mode == ledger.Governance {
		opts.Adds = ledger.EventAdds
	}
	if o.Genesis != "" {
		if _, err := gov.ParseDigest(o.Genesis); err != nil {
			return Result{}, err
		}
	}
	key, err := pin(dir, mode, o, &opts, r)
	if err != nil {
		return Result{}, err
	}
	if key != "" {
		if opts.Verifier, err = ledger.ParseVerifier(key); err != nil {
			return Result{}, err
		}
	}
	rep, err := ledger.Check(ctx, dir, opts)
	if err != nil {
		return Result{}, err
	}
	report(r, rep, key)
	if err := slots(r, []string{dir, o.SecondPlace}, string(mode)+".checkpoint"); err != nil {
		return Result{}, err
	}
	if mode == ledger.Governance {
		if err := texts(ctx, dir, r); err != nil {
			return Result{}, err
		}
	}
	return r.done(), nil
}

// pin finds what the log is checked against: what the caller gave, else what
// lies beside the log.
func pin(dir string, mode ledger.Mode, o Options, opts *ledger.CheckOptions, r *Result) (string, error) {
	if o.Key != "" && (o.Genesis != "" || mode == ledger.Audit) {
		return o.Key, nil
	}
	b, err := os.ReadFile(filepath.Join(dir, "identity.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist) && mode == ledger.Audit:
		return ownKey(dir, r)
	case errors.Is(err, fs.ErrNotExist):
		return o.Key, nil
	case err != nil:
		return "", unreadable("identity.json", err)
	}
	var id identity
	if err := strict.Unmarshal(b, &id, strict.Options{}); err != nil {
		r.failed(0, err)
		return o.Key, nil
	}
	if opts.Genesis == "" {
		opts.Genesis = id.Genesis
	}
	if id.Local {
		r.note("this is a clone's own view: nobody signed its beginning")
	}
	if o.Key != "" {
		r.note("the genesis was taken from identity.json beside the log; pin it with --genesis")
		return o.Key, nil
	}
	r.note("key and genesis were taken from identity.json beside the log; pin them with --vkey and --genesis")
	return id.Key, nil
}

var epoch = regexp.MustCompile(`/epoch-[1-9][0-9]*$`)

// ownKey derives the verifier key of an audit log from the key file that its
// writer keeps beside it.
func ownKey(dir string, r *Result) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "audit.key"))
	if err != nil {
		return "", nil // nothing to check against: said as unchecked
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", nil
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return "", nil
	}
	lines, err := ledger.OpenReader(dir, ledger.Audit)
	if err != nil {
		return "", nil // what is wrong shows in the check
	}
	defer lines.Close()
	origin := epoch.ReplaceAllString(lines.Origin(), "")
	if origin == "" {
		return "", nil
	}
	r.note("the key was taken from audit.key beside the log; pin it with --vkey")
	return ledger.VerifierKey(origin, key.Public().(ed25519.PublicKey))
}

// turned says that the log's key or epoch changed on the way.
func turned(rep ledger.Report) string {
	if n := epoch.FindString(rep.Origin); n != "" {
		return "a new epoch has begun (" + strings.TrimPrefix(n, "/") + "): a person accepted that signed records were lost; the log says who and when (log.restored)"
	}
	return "the log's key was changed on the way, by a record that both keys signed"
}

func report(r *Result, rep ledger.Report, key string) {
	c := r.Checked
	c["origin"], c["records"], c["bytes"], c["root"], c["checkpoint"] = rep.Origin, rep.Records, rep.Bytes, rep.Root, rep.Checkpoint
	c["hashes"], c["turns"], c["torn"] = rep.Hashes, rep.Turns, len(rep.Torn)
	if rep.Mode == ledger.Governance {
		c["streams"], c["genesis"] = rep.Streams, rep.Genesis
	} else {
		c["segments"] = rep.Segments
	}
	if rep.Unsigned > 0 {
		c["unsigned"] = rep.Unsigned
	}
	if rep.Unfinished > 0 {
		c["unfinished_bytes"] = rep.Unfinished
	}
	if len(rep.Unchecked) > 0 {
		c["unchecked"] = rep.Unchecked
	}
	for _, f := range rep.Failures {
		r.fail(f.Code, f.Index, f.Message)
	}
	if len(rep.Derived) > 0 {
		c["derived_missing"] = true
		r.note("files that are derived from the log are not here or end too early (" + strings.Join(rep.Derived, ", ") +
			"); they prove nothing and are made again when the log is opened for writing")
	}
	if rep.Turns > 0 {
		r.note(turned(rep))
	}
	switch {
	case key == "":
		r.fail("signatures_unchecked", rep.Checkpoint, "unchecked: there is no key to check the signed checkpoint against; give one with --vkey")
	case rep.Unsigned > 0:
		r.note("records behind the signed checkpoint are not vouched for: they are being written, or a writer died")
	}
}

// texts checks what a governance log names and keeps beside it: statements with
// names and words, and facts that were too large for a line. One that is not
// there was erased, which the proofs survive; one that is not what was recorded
// is a failure.
func texts(ctx context.Context, dir string, r *Result) error {
	lines, err := ledger.OpenReader(dir, ledger.Governance)
	if err != nil {
		return nil // the check has said why
	}
	defer lines.Close()
	seen := map[string]bool{}
	have := map[string]int{}
	erased := 0
	look := func(kind string, index uint64, d gov.Digest) {
		if d == "" || seen[kind+string(d)] {
			return
		}
		seen[kind+string(d)] = true
		if _, err := gov.ParseDigest(string(d)); err != nil {
			r.fail("digest_invalid", index, "the record names "+kind+" by what is no digest")
			return
		}
		b, err := os.ReadFile(filepath.Join(dir, kind, d.Hex()+".json"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			erased++
		case err != nil:
			r.fail("blob_unreadable", index, "the text "+d.Short()+" cannot be read")
		case gov.DigestOf(b) != d:
			r.fail("blob_altered", index, "the text "+d.Short()+" in "+kind+" is not what was recorded")
		default:
			have[kind]++
		}
	}
	for line, err := range lines.Lines(ctx, 0, lines.Size()) {
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			break // damage that the check has named
		}
		named(line, look, r)
	}
	r.Checked["statements"], r.Checked["facts"] = have["statements"], have["blobs"]
	if erased > 0 {
		r.Checked["erased"] = erased
	}
	return nil
}

// named finds the digests of texts in a record.
func named(line ledger.Line, look func(kind string, index uint64, d gov.Digest), r *Result) {
	var v struct {
		Record gov.Record `json:"record"`
	}
	if err := json.Unmarshal(line.Bytes, &v); err != nil {
		r.fail("record_unreadable", line.Index, "the record is not one of govern's")
		return
	}
	for _, d := range v.Record.Decided {
		if d.Blob != "" {
			look("blobs", line.Index, d.Blob)
		}
	}
	for _, e := range v.Record.Events {
		var data struct {
			Digest    gov.Digest     `json:"digest"`
			Founders  []gov.Recorded `json:"founders"`
			Statement gov.Digest     `json:"statement"`
			Latched   struct {
				Statement gov.Digest `json:"statement"`
			} `json:"latched"`
		}
		switch e.Type {
		case "statement.recorded", "log.created", "verdict.latched", "digest.unblocked":
		default:
			continue
		}
		if json.Unmarshal(e.Data, &data) != nil {
			r.fail("record_unreadable", line.Index, "the event "+e.Type+" is not one of govern's")
			continue
		}
		switch e.Type {
		case "statement.recorded":
			look("statements", line.Index, data.Digest)
		case "digest.unblocked":
			look("statements", line.Index, data.Statement)
		}
		look("statements", line.Index, data.Latched.Statement)
		for _, f := range data.Founders {
			look("statements", line.Index, f.Digest)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
