package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/governhq/govern/internal/gov"
)

// filledLog is an audit log of n records.
func filledLog(t testing.TB, n int) (*Log, Options) {
	t.Helper()
	o := testOptions(t, Audit)
	o.FS = newMemFS()
	if err := os.MkdirAll(o.Dir, 0o755); err != nil { // for the lock file
		t.Fatal(err)
	}
	l := mustOpen(t, o)
	for i := range n {
		if _, err := add(l, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.sign(); err != nil {
		t.Fatal(err)
	}
	return l, o
}

func TestProofOffline(t *testing.T) {
	l, o := filledLog(t, 300)
	v := testVerifier(t, o)
	for _, i := range []uint64{0, 1, 127, 255, 256, 299} {
		p, err := l.Prove(i)
		if err != nil {
			t.Fatal(err)
		}
		p.Extra = []byte("anything")
		again, err := ParseProof(p.Marshal())
		if err != nil || !bytes.Equal(again.Marshal(), p.Marshal()) {
			t.Fatalf("proof does not survive its text form: %v", err)
		}
		line, _ := l.Line(i)
		if c, err := v.Proof(again, line); err != nil || c.Size != 300 {
			t.Fatalf("%+v %v", c, err)
		}
		_, err = v.Proof(again, append(line, ' '))
		wantCode(t, err, "proof_invalid")
		again.Index ^= 1
		_, err = v.Proof(again, line)
		wantCode(t, err, "proof_invalid")
		again.Index ^= 1
		again.Checkpoint = bytes.Replace(again.Checkpoint, []byte("\n300\n"), []byte("\n301\n"), 1)
		_, err = v.Proof(again, line)
		wantCode(t, err, "signature_invalid")
	}
	older := l.Checkpoint()
	add(l, 300)
	if err := l.sign(); err != nil {
		t.Fatal(err)
	}
	proof, err := l.Consistency(300, 301)
	if err != nil || v.Consistent(older, l.Checkpoint(), proof) != nil {
		t.Fatalf("consistency: %v", err)
	}
	wantCode(t, v.Consistent(older, l.Checkpoint(), proof[1:]), "proof_invalid")
	other, _ := NewVerifier(o.Origin, testKey(9).Public().(ed25519.PublicKey))
	if _, err := other.Checkpoint(older); gov.KindOf(err) != gov.KindIntegrity {
		t.Fatalf("another key verifies: %v", err)
	}
	vkey, _ := VerifierKey(o.Origin, testKey(1).Public().(ed25519.PublicKey))
	if std, err := note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	} else if _, err := note.Open(older, note.VerifierList(std)); err != nil {
		t.Fatalf("x/mod does not verify our checkpoint: %v", err)
	}
}

func FuzzProof(f *testing.F) {
	cp := "example.org/log\n1\n" + tlog.RecordHash(nil).String() + "\n\n— example.org/log Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n" + cp))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nextra YQ==\nindex 3\n" + tlog.RecordHash(nil).String() + "\n\n" + cp))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProof(b)
		if err == nil && !bytes.Equal(p.Marshal(), b) {
			t.Fatalf("%q prints as %q", b, p.Marshal())
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add([]byte("example.org/log\n1\n" + tlog.RecordHash(nil).String() + "\n\n— a b\n"))
	f.Add([]byte("\n1\n\n\n"))
	v, err := NewVerifier(testOrigin, testKey(1).Public().(ed25519.PublicKey))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCheckpoint(b)
		if err == nil && !strings.HasPrefix(string(b), checkpointText(c.Origin, c.Size, c.Root)+"\n") {
			t.Fatalf("%q was read as %+v", b, c)
		}
		if _, err := v.Checkpoint(b); err == nil {
			t.Fatalf("%q verifies", b)
		}
	})
}

// TestStaticTree exports in two steps and reads everything back as a client of
// c2sp.org/tlog-tiles would; the handler serves the same bytes.
func TestStaticTree(t *testing.T) {
	l, o := filledLog(t, 530)
	dst := t.TempDir()
	if err := l.ExportStatic(context.Background(), dst); err != nil {
		t.Fatal(err)
	}
	for i := 530; i < 600; i++ {
		add(l, i)
	}
	l.sign()
	r, err := openReader(o.FS, o.Dir, Audit)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.ExportStatic(context.Background(), dst); err != nil {
		t.Fatal(err)
	}
	msg, err := os.ReadFile(filepath.Join(dst, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := testVerifier(t, o).Checkpoint(msg)
	if err != nil || c.Size != 600 {
		t.Fatalf("%+v %v", c, err)
	}
	tiles := staticTiles{dst}
	reader := tlog.TileHashReader(tlog.Tree{N: int64(c.Size), Hash: c.Root}, tiles)
	if h, err := tlog.TreeHash(int64(c.Size), reader); err != nil || h != c.Root {
		t.Fatalf("tree hash from tiles: %v", err)
	}
	n := 0
	for i := 0; i*256 < 600; i++ {
		path := fmt.Sprintf("tile/entries/%03d", i)
		if 600-i*256 < 256 {
			path += fmt.Sprintf(".p/%d", 600-i*256)
		}
		b, err := os.ReadFile(filepath.Join(dst, path))
		if err != nil {
			t.Fatal(err)
		}
		for len(b) > 0 {
			k := int(binary.BigEndian.Uint16(b))
			if string(b[2:2+k]) != string(auditLine(n)) {
				t.Fatalf("entry %d is %s", n, b[2:2+k])
			}
			b = b[2+k:]
			n++
		}
	}
	if n != 600 {
		t.Fatalf("%d entries", n)
	}
	srv := httptest.NewServer(r.Handler())
	defer srv.Close()
	filepath.WalkDir(dst, func(path string, d fs.DirEntry, err error) error {
		if d.IsDir() || strings.HasSuffix(path, ".p") {
			return err
		}
		rel, _ := filepath.Rel(dst, path)
		want, _ := os.ReadFile(path)
		res, err := http.Get(srv.URL + "/" + rel)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var got bytes.Buffer
		got.ReadFrom(res.Body)
		if res.StatusCode != 200 || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s: status %d, %d bytes, want %d", rel, res.StatusCode, got.Len(), len(want))
		}
		return nil
	})
	for _, bad := range []string{"tile/0/002.p/89", "tile/0/2", "tile/00/000", "tile/0/003", "tile/3/000", "tile/x/000", "tile/0/x000/001", "nothing", "tile/entries/002"} {
		res, err := http.Get(srv.URL + "/" + bad)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 404 {
			t.Errorf("%s: status %d", bad, res.StatusCode)
		}
	}
	if got := (tileRef{0, 1234067, 256}).path(); got != "tile/0/x001/x234/067" {
		t.Fatal(got)
	}
}

// staticTiles serves exported files to x/mod.
type staticTiles struct{ dir string }

func (s staticTiles) Height() int                     { return tileHeight }
func (s staticTiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (s staticTiles) ReadTiles(tiles []tlog.Tile) (out [][]byte, err error) {
	for _, t := range tiles {
		path := (tileRef{t.L, uint64(t.N), t.W}).path()
		b, err := os.ReadFile(filepath.Join(s.dir, path))
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// witnessKey signs as c2sp.org/tlog-cosignature says, restated.
func witnessLine(name string, key ed25519.PrivateKey, text string, unix uint64) string {
	sig := binary.BigEndian.AppendUint32(nil, keyHash(name, 4, key.Public().(ed25519.PublicKey)))
	sig = binary.BigEndian.AppendUint64(sig, unix)
	sig = append(sig, ed25519.Sign(key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", unix, text))...)
	return fmt.Sprintf("— %s %s\n", name, base64.StdEncoding.EncodeToString(sig))
}

func TestCosignatures(t *testing.T) {
	l, o := filledLog(t, 10)
	key := testKey(7)
	pub := key.Public().(ed25519.PublicKey)
	vkey := fmt.Sprintf("witness.example/w1+%08x+%s", keyHash("witness.example/w1", 4, pub), base64.StdEncoding.EncodeToString(append([]byte{4}, pub...)))
	w, err := WitnessVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	msg := l.Checkpoint()
	text, _, _ := strings.Cut(string(msg), "\n\n")
	good := witnessLine("witness.example/w1", key, text+"\n", 1_800_000_000)
	bad := witnessLine("witness.example/w1", testKey(8), text+"\n", 1_800_000_000)
	wantCode(t, l.AddCosignatures(msg, []byte(bad), w), "cosignature_invalid")
	stranger := witnessLine("witness.example/w2", testKey(8), text+"\n", 1_800_000_000)
	wantCode(t, l.AddCosignatures(msg, []byte(stranger), w), "cosignature_invalid")
	if err := l.AddCosignatures(msg, []byte(stranger+good), w); err != nil {
		t.Fatal(err)
	}
	add(l, 10)
	l.sign()
	v, _ := NewVerifier(o.Origin, testKey(1).Public().(ed25519.PublicKey), w)
	p, err := l.Prove(3)
	if err != nil {
		t.Fatal(err)
	}
	line, _ := l.Line(3)
	if c, err := v.Proof(p, line); err != nil || c.Size != 10 || fmt.Sprint(c.Cosigned) != "[witness.example/w1]" {
		t.Fatalf("%+v %v", c, err)
	}
	if p, err = l.Prove(10); err != nil || bytes.Contains(p.Checkpoint, []byte("witness")) {
		t.Fatalf("record 10 is not under the cosigned checkpoint: %v", err)
	}
	mustCheck(t, o)
	body, err := l.WitnessRequest(10)
	if err != nil {
		t.Fatal(err)
	}
	proof, _ := l.Consistency(10, 11)
	want := "old 10\n"
	for _, h := range proof {
		want += h.String() + "\n"
	}
	if want += "\n" + string(l.Checkpoint()); string(body) != want {
		t.Fatalf("request %q, want %q", body, want)
	}
}
