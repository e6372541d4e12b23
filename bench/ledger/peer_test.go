package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/governhq/govern/internal/proof/ledger"
)

// TestTesseraReadsOurTree lets Tessera's client and fsck check an exported log.
func TestTesseraReadsOurTree(t *testing.T) {
	for _, n := range []int{1, 255, 256, 257, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { tesseraReads(t, n) })
	}
}

func tesseraReads(t *testing.T, n int) {
	ctx := context.Background()
	const origin = "example.org/peer"
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize))
	dir := t.TempDir()
	l, err := ledger.Open(ctx, ledger.Options{Dir: filepath.Join(dir, "log"), Mode: ledger.Audit, Origin: origin, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		record := newRecord(0)
		number(record, i)
		if _, err := l.AppendLine(ctx, record); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := ledger.OpenReader(filepath.Join(dir, "log"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	static := filepath.Join(dir, "static")
	if err := r.ExportStatic(ctx, static); err != nil {
		t.Fatal(err)
	}
	vkey, err := ledger.VerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	files := client.FileFetcher{Root: static}
	if err := fsck.New(origin, v, files, leafHashes, fsck.Opts{N: 1}).Check(ctx); err != nil {
		t.Fatalf("tessera fsck: %v", err)
	}
	proofs, err := client.NewProofBuilder(ctx, uint64(n), files.ReadTile)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 1 + n/7 {
		theirs, err := proofs.InclusionProof(ctx, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := r.Inclusion(uint64(i), uint64(n))
		if err != nil || !equal(ours, theirs) {
			t.Fatalf("inclusion proof of %d differs from Tessera's (%v)", i, err)
		}
	}
}

func equal(ours []ledger.Hash, theirs [][]byte) bool {
	if len(ours) != len(theirs) {
		return false
	}
	for i, h := range ours {
		if !bytes.Equal(h[:], theirs[i]) {
			return false
		}
	}
	return true
}

// leafHashes reads an entry bundle as c2sp.org/tlog-tiles says.
func leafHashes(bundle []byte) (out [][]byte, err error) {
	for len(bundle) > 0 {
		if len(bundle) < 2 {
			return nil, fmt.Errorf("bundle ends early")
		}
		n := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+n {
			return nil, fmt.Errorf("bundle ends early")
		}
		h := tlog.RecordHash(bundle[2 : 2+n])
		out = append(out, h[:])
		bundle = bundle[2+n:]
	}
	return out, nil
}
