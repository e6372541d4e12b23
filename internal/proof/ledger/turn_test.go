package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/governhq/govern/internal/gov"
)

func rotateTo(t *testing.T, l *Log, id string, key ed25519.PrivateKey) Turn {
	t.Helper()
	var turn Turn
	r, err := l.RotateKey(t.Context(), key, func(k KeyChange) (Entry, error) {
		turn = Turn(k)
		body := fmt.Appendf(nil, `{"log_key":%q}`, k.Note)
		return Entry{ID: id, Body: body}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Index != turn.Index {
		t.Fatalf("receipt %d, turn %d", r.Index, turn.Index)
	}
	return turn
}

func pubOf(n byte) ed25519.PublicKey { return testKey(n).Public().(ed25519.PublicKey) }

func TestKeyRotation(t *testing.T) {
	for _, mode := range []Mode{Governance, Audit} {
		m := newMemFS()
		o := memOptions(t.TempDir(), m, mode)
		l := mustOpen(t, o)
		add(l, 0)
		l.sign()
		old := l.Checkpoint()
		turn := rotateTo(t, l, "rotate", testKey(2))
		add(l, 2)
		l.sign()
		now := l.Checkpoint()

		v := testVerifier(t, o)
		if _, err := v.Checkpoint(now); gov.KindOf(err) != gov.KindIntegrity {
			t.Fatalf("the new key verifies without its turn: %v", err)
		}
		turns, err := l.Turns()
		if err != nil || len(turns) != 1 || turns[0] != turn {
			t.Fatalf("%+v %v", turns, err)
		}
		if err := v.AddTurn(turns[0]); err != nil {
			t.Fatal(err)
		}
		for _, msg := range [][]byte{old, now} {
			if _, err := v.Checkpoint(msg); err != nil {
				t.Fatal(err)
			}
		}
		// The old key may not sign a size behind the turn.
		oldSigner, _ := newSigner(testOrigin, testKey(1))
		l.signer, l.signed = oldSigner, Checkpoint{}
		if err := l.signAt(3, l.Root()); err != nil || l.signed.Note != nil {
			t.Fatal("signed with the wrong key")
		}
		newer, _ := newSigner(testOrigin, testKey(2))
		l.signer = newer
		mustClose(t, l)
		rep := mustCheck(t, o)
		if rep.Turns != 1 {
			t.Fatalf("%+v", rep)
		}
		_, err = Open(context.Background(), o)
		wantCode(t, err, "log_key_retired")
		o.Key = testKey(5)
		_, err = Open(context.Background(), o)
		wantCode(t, err, "log_key_mismatch")
		o.Key = testKey(2)
		l = mustOpen(t, o)
		turn2 := rotateTo(t, l, "again", testKey(3))
		mustClose(t, l)
		o.Key = testKey(3)
		l = mustOpen(t, o)
		add(l, 9)
		mustClose(t, l)
		mustCheck(t, o)
		if err := testVerifier(t, o).AddTurn(turn2); gov.CodeOf(err) != "turn_invalid" {
			t.Fatalf("a turn was skipped: %v", err)
		}
	}
}

// TestRotationWithoutCheckpoint: the record of a change is durable, but the
// first checkpoint of the new key fails.
func TestRotationWithoutCheckpoint(t *testing.T) {
	m := newMemFS()
	o := memOptions(t.TempDir(), m, Governance)
	l := mustOpen(t, o)
	add(l, 0)
	m.noSync = slotsPath(o.Dir, Governance)
	_, err := l.RotateKey(t.Context(), testKey(2), func(k KeyChange) (Entry, error) {
		return Entry{ID: "r", Body: fmt.Appendf(nil, `{"n":%q}`, k.Note)}, nil
	})
	wantCode(t, err, "log_broken")
	m = m.crash(rand.New(rand.NewPCG(1, 1)))
	l.Close()
	o.FS = m
	_, err = Open(t.Context(), o)
	wantCode(t, err, "log_key_retired")
	o.Key = testKey(2)
	l = mustOpen(t, o)
	if _, err := add(l, 1); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	if rep := mustCheck(t, o); rep.Turns != 1 || rep.Records != 3 {
		t.Fatalf("%+v", rep)
	}
}

func TestRotationNeedsItsNote(t *testing.T) {
	o := testOptions(t, Governance)
	l := mustOpen(t, o)
	add(l, 0)
	_, err := l.RotateKey(t.Context(), testKey(2), func(KeyChange) (Entry, error) {
		return Entry{ID: "x", Body: []byte(`{"no":"note"}`)}, nil
	})
	wantCode(t, err, "turn_not_recorded")
	_, err = l.RotateKey(t.Context(), testKey(1), func(k KeyChange) (Entry, error) {
		return Entry{ID: "x", Body: fmt.Appendf(nil, `{"n":%q}`, k.Note)}, nil
	})
	wantCode(t, err, "turn_invalid")
	boom := errors.New("no")
	if _, err = l.RotateKey(t.Context(), testKey(2), func(KeyChange) (Entry, error) { return Entry{}, boom }); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if _, err := add(l, 1); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	mustCheck(t, o)
}

// TestForgedTurns: whoever can write lines, but has not the keys, puts turns
// into them.
func TestForgedTurns(t *testing.T) {
	o := testOptions(t, Audit)
	l := mustOpen(t, o)
	mine, _ := newSigner(testOrigin, testKey(66))
	also, _ := newSigner(testOrigin, testKey(67))
	forged, err := keyChangeNote(0, mine, also)
	if err != nil {
		t.Fatal(err)
	}
	// Signed by the thief alone, with the true key named.
	true1, _ := VerifierKey(testOrigin, pubOf(1))
	evil, _ := VerifierKey(testOrigin, pubOf(66))
	half := func(index int, by *keySigner) string {
		text := fmt.Sprintf("%s\n%s\n%d\n%s\n%s\n", keyHeader, testOrigin, index, true1, evil)
		msg, err := note.Sign(&note.Note{Text: text}, by)
		if err != nil {
			t.Fatal(err)
		}
		return string(msg)
	}
	right, _ := newSigner(testOrigin, testKey(1))
	for i, text := range []string{forged, half(1, mine), half(2, right), "govern-log-key/v1\n"} {
		if _, err := l.AppendLine(t.Context(), fmt.Appendf(nil, `{"i":%d,"n":%q}`, i, text)); err != nil {
			t.Fatal(err)
		}
	}
	rotateTo(t, l, "", testKey(2))
	mustClose(t, l)
	if rep := mustCheck(t, o); rep.Turns != 1 {
		t.Fatalf("%+v", rep)
	}
	o.Key = testKey(2)
	mustClose(t, mustOpen(t, o))
	o.Key = testKey(67) // the thief's
	_, err = Open(context.Background(), o)
	wantCode(t, err, "log_key_mismatch")
}

// TestRestoreAcceptLoss loses signed records in three ways, accepts it, and
// loses the acceptance again.
func TestRestoreAcceptLoss(t *testing.T) {
	for _, mode := range []Mode{Governance, Audit} {
		for name, damage := range map[string]func(f *memFile){
			"cut": func(f *memFile) {
				at := lineStart(f.data, 6)
				f.data, f.dirty = f.data[:at], f.dirty[:at]
			},
			"damaged": func(f *memFile) { f.data[lineStart(f.data, 6)] = 'x' },
			"torn":    func(f *memFile) { f.data, f.dirty = f.data[:lineStart(f.data, 7)-2], f.dirty[:lineStart(f.data, 7)-2] },
		} {
			t.Run(string(mode)+"/"+name, func(t *testing.T) {
				m, o := memLog(t, mode, 10)
				before := testNote(t, m, o)
				damage(m.file(string(mode) + ".log"))
				if _, err := Open(t.Context(), o); gov.KindOf(err) != gov.KindIntegrity {
					t.Fatal(err)
				}
				accept := func(want int) *Log {
					t.Helper()
					l, err := RestoreAcceptLoss(t.Context(), o, func(loss Loss) (Entry, error) {
						if loss.Epoch != want || loss.Kept != 6 || loss.Lost.Size < 10 {
							t.Fatalf("%+v", loss)
						}
						if (name != "cut") != (loss.Torn != nil) && want == 2 {
							t.Fatalf("torn: %+v", loss.Torn)
						}
						return Entry{ID: fmt.Sprint("loss-", want), Body: fmt.Appendf(nil, `{"n":100,"accepted_by":"a","note":%q}`, loss.Note)}, nil
					})
					if err != nil {
						t.Fatal(err)
					}
					return l
				}
				l := accept(2)
				if l.Size() != 7 || l.Origin() != testOrigin+"/epoch-2" {
					t.Fatalf("size %d, origin %s", l.Size(), l.Origin())
				}
				for i := 20; i < 25; i++ {
					if _, err := add(l, i); err != nil {
						t.Fatal(err)
					}
				}
				mustClose(t, l)
				if rep := mustCheck(t, o); rep.Turns != 1 || rep.Checkpoint != 12 {
					t.Fatalf("%+v", rep)
				}
				l = mustOpen(t, o)
				turns, _ := l.Turns()
				mustClose(t, l)
				// The checkpoint of the lost records is of no epoch any more.
				v := testVerifier(t, o)
				if err := v.AddTurn(turns[0]); err != nil {
					t.Fatal(err)
				}
				if _, err := v.Checkpoint(before); gov.CodeOf(err) != "origin_mismatch" {
					t.Fatalf("the lost checkpoint still verifies: %v", err)
				}
				// Lost again, with the record of the first loss: epoch 2 is used up.
				f := m.file(string(mode) + ".log")
				at := lineStart(f.data, 6)
				f.data, f.dirty = f.data[:at], f.dirty[:at]
				mustClose(t, accept(3))
				if rep := mustCheck(t, o); rep.Origin != testOrigin+"/epoch-3" {
					t.Fatalf("%+v", rep)
				}
				_, err := RestoreAcceptLoss(t.Context(), o, nil2)
				wantCode(t, err, "restore_not_needed")
			})
		}
	}
}

func nil2(Loss) (Entry, error) { return Entry{}, errors.New("not asked for") }

func testNote(t *testing.T, m *memFS, o Options) []byte {
	t.Helper()
	msg, err := readCheckpoint(m, o.Dir, o.Mode)
	if err != nil || msg == nil {
		t.Fatal(err)
	}
	return msg
}

// TestRestoreSurvivesFaults lets every operation of a restore fail; afterwards
// either it has happened or it can be done again.
func TestRestoreSurvivesFaults(t *testing.T) {
	build := func(loss Loss) (Entry, error) {
		return Entry{ID: fmt.Sprint("loss-", loss.Epoch), Body: fmt.Appendf(nil, `{"note":%q}`, loss.Note)}, nil
	}
	for at := 1; ; at++ {
		m, o := memLog(t, Governance, 10)
		f := m.file("governance.log")
		cut := lineStart(f.data, 6)
		f.data, f.dirty, f.disk = f.data[:cut], f.dirty[:cut], bytes.Clone(f.data[:cut])
		m.faultAt, m.fault = m.ops+at, fault(at%int(faultEnd))
		if l, err := RestoreAcceptLoss(t.Context(), o, build); err == nil {
			l.Close()
		}
		hit := m.hit
		m = m.crash(rand.New(rand.NewPCG(uint64(at), 3)))
		o.FS = m
		l, err := Open(t.Context(), o)
		if err != nil {
			if l, err = RestoreAcceptLoss(t.Context(), o, build); err != nil {
				t.Fatalf("fault %d (%s): %v", at, hit, err)
			}
		}
		if _, err := add(l, 50); err != nil {
			t.Fatal(err)
		}
		mustClose(t, l)
		if rep := mustCheck(t, o); rep.Turns < 1 || !strings.Contains(rep.Origin, "/epoch-") {
			t.Fatalf("fault %d (%s): %+v", at, hit, rep)
		}
		if hit == "" {
			break
		}
	}
}

// TestReaderBesideWriter reads, in the same process but through files only,
// while a log grows and seals segments.
func TestReaderBesideWriter(t *testing.T) {
	o := testOptions(t, Audit)
	o.SegmentBytes, o.CheckpointEvery = 6000, 1e6
	l := mustOpen(t, o)
	add(l, 0)
	l.sign()
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		defer close(done)
		r, err := OpenReader(o.Dir, "")
		if err != nil {
			done <- err
			return
		}
		defer r.Close()
		for last := false; !last; {
			select {
			case <-stop:
				last = true
			default:
			}
			if err := r.Refresh(); err != nil {
				done <- err
				return
			}
			n := r.Size()
			for _, i := range []uint64{0, n / 2, n - 1} {
				line, err := r.Line(i)
				if err == nil && numberOf(Audit, line) != int(i) {
					err = fmt.Errorf("line %d is %s", i, line)
				}
				if err != nil {
					done <- fmt.Errorf("size %d: %w", n, err)
					return
				}
			}
			if h, err := r.TreeHash(n); err != nil || h != r.Root() {
				done <- fmt.Errorf("tree hash at %d: %v", n, err)
				return
			}
			for line, err := range r.Tail(context.Background()) {
				if err != nil || numberOf(Audit, line.Bytes) != int(line.Index) {
					done <- fmt.Errorf("tail %d: %s %v", line.Index, line.Bytes, err)
					return
				}
			}
		}
	}()
	for i := 1; i < 600; i++ {
		if _, err := add(l, i); err != nil {
			t.Fatal(err)
		}
	}
	l.sign()
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(o.Dir, "audit-*.log")); len(files) < 3 {
		t.Fatal("nothing was sealed")
	}
}

// hookFS lets a test act right after a directory was listed.
type hookFS struct {
	osFS
	after func()
}

func (h *hookFS) ReadDir(name string) ([]fs.DirEntry, error) {
	list, err := h.osFS.ReadDir(name)
	if after := h.after; after != nil {
		h.after = nil
		after()
	}
	return list, err
}

// TestSealedWhileListing seals the active file between a reader's listing and
// its opening of the files.
func TestSealedWhileListing(t *testing.T) {
	o := testOptions(t, Audit)
	o.SegmentBytes = 500
	l := mustOpen(t, o)
	for i := range 3 {
		add(l, i)
	}
	l.sign()
	hook := &hookFS{}
	r, err := openReader(hook, o.Dir, Audit)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	add(l, 3)
	l.sign()
	hook.after = func() {
		for i := 4; i < 60; i++ {
			add(l, i)
		}
	}
	if err := r.Refresh(); err != nil {
		t.Fatal(err)
	}
	if g := r.segs.borders(); len(g) < 3 || g[0].first != 0 || !g[0].sealed {
		t.Fatalf("segments %+v", g)
	}
	for i := range uint64(4) {
		if line, err := r.Line(i); err != nil || numberOf(Audit, line) != int(i) {
			t.Fatalf("line %d: %s %v", i, line, err)
		}
	}
}

func TestOpenReaderErrors(t *testing.T) {
	_, err := OpenReader(t.TempDir(), "")
	wantCode(t, err, "log_not_found")
	_, err = OpenReader(t.TempDir(), "other")
	wantCode(t, err, "log_mode_invalid")
	o := testOptions(t, Audit)
	l := mustOpen(t, o)
	r, err := OpenReader(o.Dir, "")
	if err != nil || r.Size() != 0 || r.Checkpoint() != nil {
		t.Fatalf("an empty log: %v", err)
	}
	r.Close()
	add(l, 0)
	l.sign()
	mustClose(t, l)
	if err := os.Truncate(activePath(o.Dir, "audit"), 3); err != nil {
		t.Fatal(err)
	}
	os.Remove(tilePath(o.Dir, "audit", 0))
	_, err = OpenReader(o.Dir, "")
	wantCode(t, err, "log_rolled_back")
}
