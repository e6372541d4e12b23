package verify

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/sign"
)

// Statement checks one statement file: a DSSE envelope signed with SSHSIG by a
// key of the registry in Options.People. That it counts for anything is for the
// rules to say, not for a signature.
func Statement(envelope []byte, o Options) Result {
	r := newResult("statement")
	r.Checked["digest"] = gov.DigestOf(envelope)
	if o.People == nil {
		r.fail("signer_unchecked", 0, "unchecked: there is no registry of people to check the signature against; give one with --people")
		return r.done()
	}
	reg, err := sign.ParseRegistry(o.People)
	if err != nil {
		r.failed(0, err)
		return r.done()
	}
	rec, st, err := sign.Verify(envelope, reg, when(envelope, o))
	if err != nil {
		r.failed(0, err)
		return r.done()
	}
	c := r.Checked
	c["decision"], c["signer"], c["kind"], c["key"], c["presence"] = rec.Decision, rec.Signer, rec.SignerKind, rec.Key, rec.Presence
	for name, v := range map[string]string{"change": string(rec.Change), "target": rec.Target, "stage": rec.Stage, "role": rec.Role, "revision": string(rec.Revision.Change), "tree": string(rec.Revision.Tree)} {
		if v != "" {
			c[name] = v
		}
	}
	c["issued"] = st.Issued
	if o.At.IsZero() {
		r.note("the key was valid when the statement says it was issued; the time that counts is that of its record in the log")
	}
	return r.done()
}

// when is the time at which the key must be valid.
func when(envelope []byte, o Options) time.Time {
	if !o.At.IsZero() {
		return o.At
	}
	var env struct {
		Payload []byte `json:"payload"`
	}
	var st struct {
		Predicate struct {
			Issued time.Time `json:"issued"`
		} `json:"predicate"`
	}
	if json.Unmarshal(envelope, &env) == nil && json.Unmarshal(env.Payload, &st) == nil && !st.Predicate.Issued.IsZero() {
		return st.Predicate.Issued
	}
	return time.Now() // unreadable anyway: Verify says how
}

// folder checks every statement file of a directory; a file's name must be the
// digest of its content.
func folder(paths []string, o Options) (Result, error) {
	r := newResult("statements")
	signers := map[string]int{}
	for i, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return Result{}, unreadable(p, err)
		}
		name := filepath.Base(p)
		one := Statement(b, o)
		for _, f := range one.Failures {
			r.fail(f.Code, uint64(i), name+": "+f.Message)
		}
		if hex := strings.TrimSuffix(name, ".json"); len(hex) == 64 && gov.DigestOf(b).Hex() != hex {
			r.fail("statement_name_mismatch", uint64(i), name+": the content does not hash to the name")
		}
		if s, ok := one.Checked["signer"].(string); ok {
			signers[s]++
		}
	}
	r.Checked["files"], r.Checked["signers"] = len(paths), signers
	return r.done(), nil
}
