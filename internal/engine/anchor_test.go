package engine_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
)

// auditLog is an audit log as another process would write it.
type auditLog struct {
	t      *testing.T
	dir    string
	origin string
	key    ed25519.PrivateKey
}

func newAudit(t *testing.T, origin string, seed byte) *auditLog {
	t.Helper()
	return &auditLog{t: t, dir: t.TempDir(), origin: origin, key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))}
}

// grow adds lines and gives the request that anchors the log, with the proof
// that it continues its first older records.
func (a *auditLog) grow(word string, n int, older uint64) engine.AnchorRequest {
	a.t.Helper()
	log, err := ledger.Open(a.t.Context(), ledger.Options{Dir: a.dir, Mode: ledger.Audit, Origin: a.origin, Key: a.key, LockWait: -1})
	if err != nil {
		a.t.Fatal(err)
	}
	for i := range n {
		if _, err := log.AppendLine(a.t.Context(), fmt.Appendf(nil, `{%q:%d}`, word, i)); err != nil {
			a.t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		a.t.Fatal(err)
	}
	r, err := ledger.OpenReader(a.dir, ledger.Audit)
	if err != nil {
		a.t.Fatal(err)
	}
	defer r.Close()
	k, err := ledger.VerifierKey(a.origin, a.key.Public().(ed25519.PublicKey))
	if err != nil {
		a.t.Fatal(err)
	}
	req := engine.AnchorRequest{Actor: gov.Principal{Handle: "bo", Kind: gov.Human, Via: "local"}, Key: k, Note: r.Checkpoint()}
	if older > 0 && older <= r.Size() {
		path, err := r.Consistency(older, r.Size())
		if err != nil {
			a.t.Fatal(err)
		}
		for _, h := range path {
			req.Proof = append(req.Proof, h.String())
		}
	}
	return req
}

// TestAnchor: an audit log may only grow from what was anchored, under the key
// that was anchored first.
func TestAnchor(t *testing.T) {
	t.Parallel()
	h := newHouse(t, testPolicy, nil)
	a := newAudit(t, "test/studio", 1)
	anchor := func(req engine.AnchorRequest) (engine.Receipt, string) {
		t.Helper()
		_, r, err := h.e.Anchor(h.ctx, req)
		h.check()
		return r, gov.CodeOf(err)
	}
	if _, err := h.e.Anchored(h.ctx, a.origin); gov.CodeOf(err) != "anchor_unknown" {
		t.Fatal(err)
	}
	first := a.grow("a", 3, 0)
	if r, code := anchor(first); code != "" || !r.Recorded {
		t.Fatal(code, r)
	}
	if r, code := anchor(first); code != "" || r.Recorded {
		t.Fatalf("the same checkpoint again: %s, recorded %t", code, r.Recorded)
	}
	longer := a.grow("b", 4, 3)
	unproved := longer
	unproved.Proof = nil
	if _, code := anchor(unproved); code != "anchor_inconsistent" {
		t.Errorf("without proof: %s", code)
	}
	if r, code := anchor(longer); code != "" || !r.Recorded {
		t.Fatal(code, r)
	}
	if _, code := anchor(first); code != "anchor_smaller" {
		t.Errorf("an older checkpoint: %s", code)
	}
	forged := newAudit(t, "test/studio", 1) // same name and key, another history
	if _, code := anchor(forged.grow("c", 7, 0)); code != "anchor_inconsistent" {
		t.Errorf("other records, same size: %s", code)
	}
	if _, code := anchor(forged.grow("c", 2, 7)); code != "anchor_inconsistent" {
		t.Errorf("other records, larger: %s", code)
	}
	if _, code := anchor(newAudit(t, "test/studio", 2).grow("a", 9, 7)); code != "anchor_key_changed" {
		t.Errorf("another key: %s", code)
	}
	bad := longer
	bad.Note = bytes.Replace(longer.Note, []byte("\n7\n"), []byte("\n8\n"), 1)
	if _, code := anchor(bad); code != "signature_invalid" {
		t.Errorf("a checkpoint that nobody signed: %s", code)
	}
	bad = longer
	bad.Proof = []string{`x"`}
	if _, code := anchor(bad); code != "proof_malformed" {
		t.Errorf("a proof that is none: %s", code)
	}
	if _, code := anchor(newAudit(t, "test/house", 3).grow("a", 1, 0)); code != "anchor_own_log" {
		t.Errorf("a log of this log's name: %s", code)
	}
	got, err := h.e.Anchored(h.ctx, a.origin)
	if err != nil || got.Size != 7 || got.Note != string(longer.Note) {
		t.Fatalf("%+v %v", got, err)
	}
}
