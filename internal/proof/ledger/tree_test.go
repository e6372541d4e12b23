package ledger

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// refTree is the tree as x/mod keeps it.
type refTree []tlog.Hash

func (r *refTree) add(t testing.TB, n int64, line []byte) {
	t.Helper()
	hs, err := tlog.StoredHashes(n, line, r)
	if err != nil {
		t.Fatal(err)
	}
	*r = append(*r, hs...)
}

func (r *refTree) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, x := range at {
		out[i] = (*r)[x]
	}
	return out, nil
}

// TestTreeAgainstReference compares roots, tiles and proofs with those that
// x/mod makes, and lets it verify ours.
func TestTreeAgainstReference(t *testing.T) {
	const n = 1100
	var ref refTree
	var f frontier
	mem := &memTiles{}
	for i := range n {
		line := fmt.Appendf(nil, `{"i":%d}`, i)
		ref.add(t, int64(i), line)
		f.push(leafAt(append([]byte{'\n'}, line...), 1, 1+len(line)), mem.add)
		want, err := tlog.TreeHash(int64(i)+1, &ref)
		if err != nil {
			t.Fatal(err)
		}
		if f.root() != want {
			t.Fatalf("root at %d differs", i+1)
		}
		if g, err := frontierAt(mem, uint64(i)+1); err != nil || g != f {
			// Nodes at unset bits are leftovers; compare what counts.
			if g.root() != want || err != nil {
				t.Fatalf("restored frontier at %d differs (%v)", i+1, err)
			}
		}
	}
	hr := hashReader(mem)
	root := f.root()
	for i := int64(0); i < n; i += 13 {
		want, err := tlog.ProveRecord(n, i, &ref)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tlog.ProveRecord(n, i, hr)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("inclusion of %d: %v", i, err)
		}
		if err := tlog.CheckRecord(got, n, root, i, tlog.RecordHash(fmt.Appendf(nil, `{"i":%d}`, i))); err != nil {
			t.Fatal(err)
		}
		tree, err := tlog.ProveTree(n, i+1, hr)
		old, _ := tlog.TreeHash(i+1, &ref)
		if err != nil || tlog.CheckTree(tree, n, root, i+1, old) != nil {
			t.Fatalf("consistency of %d: %v", i+1, err)
		}
	}
	for _, tile := range tlog.NewTiles(tileHeight, 0, n) {
		want, err := tlog.ReadTileData(tile, &ref)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, tile.W*hashSize)
		if err := mem.readTile(tile.L, uint64(tile.N)*tileWidth, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("tile %v differs (%v)", tile, err)
		}
	}
	var empty frontier
	if want, _ := tlog.TreeHash(0, &ref); empty.root() != want {
		t.Fatal("root of the empty tree differs")
	}
}
