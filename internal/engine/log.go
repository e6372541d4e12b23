package engine

import (
	"context"
	"crypto/ed25519"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
	"github.com/governhq/govern/internal/proof/sign"
)

// Types of the events of the log itself (gov.StreamLog), and of the policy and
// people streams.
const (
	EventLogCreated    = "log.created"    // LogCreated, record 0
	EventLogRestored   = "log.restored"   // LogRestored
	EventClockAccepted = "clock.accepted" // ClockAccepted
	EventAnchored      = "audit.anchored" // Anchored
	EventPolicyAdopted = "policy.adopted" // Adopted
	EventPeopleAdopted = "people.adopted" // Adopted
)

// LogCreated is the genesis: what a verifier pins.
type LogCreated struct {
	Origin   string         `json:"origin"`
	Key      string         `json:"key"`    // verifier key, c2sp.org/signed-note
	Policy   gov.Digest     `json:"policy"` // of the normalised policy
	People   gov.Digest     `json:"people"` // of the registry file
	Branch   string         `json:"branch"`
	Commit   string         `json:"commit"` // where both stand
	Founders []gov.Recorded `json:"founders,omitempty"`
	At       time.Time      `json:"at"`
}

// GenesisText is what founders sign: Statement.Subject is its digest.
func (g LogCreated) GenesisText() gov.Digest {
	g.Founders = nil
	b, err := canonical(g)
	if err != nil {
		panic("engine: genesis has no canonical form: " + err.Error())
	}
	return gov.DigestOf(b)
}

// LogRestored says who accepted that signed records are lost. Turn is the note
// that begins the new epoch (package ledger, "Turns").
type LogRestored struct {
	By     string     `json:"by"`
	Epoch  int        `json:"epoch"`
	Kept   uint64     `json:"kept"`
	Lost   uint64     `json:"lost"` // size of the checkpoint that cannot be met, 0 when none is lost
	Turn   string     `json:"turn"`
	Reason gov.Digest `json:"reason"` // digest of the words; the words themselves are not kept
	At     time.Time  `json:"at"`
}

// ClockAccepted says that a person took a clock that had jumped for right.
type ClockAccepted struct {
	By        string     `json:"by"`
	Statement gov.Digest `json:"statement"`
	Wall      time.Time  `json:"wall"`
	Before    time.Time  `json:"before"` // time of the last record
}

// Anchored ties an audit log's checkpoint into the governance log.
type Anchored struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"` // base64
	Note   string `json:"note"` // the signed checkpoint
	Key    string `json:"key"`  // verifier key; pinned by the first anchor
}

// Adopted says which policy or registry is in force from here on.
type Adopted struct {
	Digest gov.Digest `json:"digest"`
	Commit string     `json:"commit"`
	At     time.Time  `json:"at"`
}

// InitRequest is what a log begins with.
type InitRequest struct {
	Dir         string
	SecondPlace string // "" keeps one copy of the checkpoint: tests only
	Origin      string
	Branch      string
	Commit      string // of the protected branch, where policy and registry stand
	Actor       gov.Principal
	Clock       Clock
	// Found signs the genesis as a founder and returns the envelope; nil makes a
	// clone's local view that nobody vouches for.
	Found func(gov.Statement) ([]byte, error)
}

// Init makes a data directory: the log's key, record 0 and the identity.
// A directory that has a log is refused with already_initialised.
func Init(ctx context.Context, repo Repo, req InitRequest) (Identity, error) {
	if req.Clock == nil {
		req.Clock = SystemClock{}
	}
	if _, err := ReadIdentity(req.Dir); gov.KindOf(err) != gov.KindNotFound {
		if err != nil {
			return Identity{}, err
		}
		return Identity{}, gov.Errorf(gov.KindConflict, "already_initialised", "%s holds a log already", req.Dir).WithHint("govern status")
	}
	l, err := readLaw(ctx, repo, req.Commit)
	if err != nil {
		return Identity{}, err
	}
	if err := os.MkdirAll(req.Dir, 0o700); err != nil {
		return Identity{}, storeError(err)
	}
	// A key without an identity is left from an init that died: it signed nothing
	// that anybody was told of, but a log may stand beside it, so it is kept.
	key, err := readKey(req.Dir)
	if gov.CodeOf(err) == "log_key_missing" {
		key, err = makeKey(req.Dir)
	}
	if err != nil {
		return Identity{}, err
	}
	id := Identity{Origin: req.Origin, Local: req.Found == nil}
	if req.SecondPlace != "" {
		if id.Second, err = filepath.Abs(req.SecondPlace); err != nil {
			return Identity{}, storeError(err)
		}
	}
	if id.Key, err = ledger.VerifierKey(req.Origin, key.Public().(ed25519.PublicKey)); err != nil {
		return Identity{}, err
	}
	log, err := ledger.Open(ctx, ledger.Options{
		Dir: req.Dir, Mode: ledger.Governance, Origin: req.Origin, Key: key, SecondPlace: req.SecondPlace,
		Purpose: "govern init", Now: req.Clock.Now,
	})
	if err != nil {
		return Identity{}, err
	}
	defer log.Close()
	if log.Size() == 0 {
		entry, err := genesis(req, id, l)
		if err != nil {
			return Identity{}, err
		}
		if _, id.Genesis, err = log.Genesis(ctx, entry); err != nil {
			return Identity{}, err
		}
	} else {
		line, err := log.Line(0)
		if err != nil {
			return Identity{}, err
		}
		id.Genesis = ledger.Fingerprint(line)
	}
	return id, writeIdentity(req.Dir, id)
}

func genesis(req InitRequest, id Identity, l law) (ledger.Entry, error) {
	now := req.Clock.Now()
	g := LogCreated{Origin: req.Origin, Key: id.Key, Policy: l.digest, People: l.registry.Digest, Branch: req.Branch, Commit: req.Commit, At: now}
	if req.Found != nil {
		env, err := req.Found(gov.Statement{
			Decision: gov.DecideFound, Subject: g.GenesisText(), Policy: l.digest, Issued: now,
			Rationale: "founds the log " + req.Origin + " with this policy and these people",
		})
		if err != nil {
			return ledger.Entry{}, err
		}
		rec, st, err := sign.Verify(env, l.registry, now)
		if err != nil {
			return ledger.Entry{}, err
		}
		if rec.SignerKind != gov.Human || st.Subject != g.GenesisText() {
			return ledger.Entry{}, gov.Errorf(gov.KindDenied, "founder_invalid", "the genesis must be signed by a human of the registry, but %s is %s", rec.Signer, rec.SignerKind).
				WithHint("govern init --key KEY")
		}
		if _, err := (blobs{dir: req.Dir + "/statements"}).put(env); err != nil {
			return ledger.Entry{}, err
		}
		rec.Time = now
		g.Founders = []gov.Recorded{rec}
	}
	rec := gov.Record{
		ID: uuid.NewString(), Time: now, Actor: req.Actor, Command: "log.create",
		Events: []gov.Event{
			gov.NewEvent(gov.StreamLog(req.Origin), EventLogCreated, g),
			gov.NewEvent(gov.StreamPolicy, EventPolicyAdopted, Adopted{Digest: l.digest, Commit: req.Commit, At: now}),
			gov.NewEvent(gov.StreamPeople, EventPeopleAdopted, Adopted{Digest: l.registry.Digest, Commit: req.Commit, At: now}),
		},
	}
	body, err := encode(rec)
	return ledger.Entry{
		ID: rec.ID, Body: body,
		Adds: map[gov.Stream]int{gov.StreamLog(req.Origin): 1, gov.StreamPolicy: 1, gov.StreamPeople: 1},
	}, err
}

// adopt notes which policy and registry the target branch has now.
func (t *tx) adopt(ctx context.Context, l law) error {
	for _, a := range []struct {
		stream gov.Stream
		typ    string
		digest gov.Digest
	}{{gov.StreamPolicy, EventPolicyAdopted, l.digest}, {gov.StreamPeople, EventPeopleAdopted, l.registry.Digest}} {
		have, err := loadAs[Adopted](ctx, t, a.stream)
		if err != nil {
			return err
		}
		if have.Digest == a.digest {
			continue
		}
		if err := t.emit(ctx, gov.NewEvent(a.stream, a.typ, Adopted{Digest: a.digest, Commit: l.commit, At: t.now})); err != nil {
			return err
		}
	}
	return nil
}

// AcceptClock records that a person takes the present clock for right. The
// statement must be a signed attest with stage "clock".
func (e *Engine) AcceptClock(ctx context.Context, actor gov.Principal, l gov.Registry, envelope []byte) (Receipt, error) {
	wall := e.cfg.Clock.Now()
	rec, _, err := sign.Verify(envelope, l, wall)
	if err != nil {
		return Receipt{}, err
	}
	if rec.Decision != gov.DecideAttest || rec.Stage != StageClock || rec.SignerKind != gov.Human {
		return Receipt{}, gov.Errorf(gov.KindDenied, "clock_statement_invalid", "a clock is accepted by a human's signed statement for the stage %q", StageClock).
			WithHint("govern clock accept -m REASON")
	}
	if !rec.Explained || !rec.Expires.IsZero() && !wall.Before(rec.Expires) {
		return Receipt{}, gov.Errorf(gov.KindDenied, "clock_statement_invalid", "the statement that accepts the clock gives no reason, or has expired").
			WithHint("govern clock accept -m REASON")
	}
	if err := e.catch(ctx); err != nil {
		return Receipt{}, err
	}
	before, err := e.lastTime()
	if err != nil {
		return Receipt{}, err
	}
	id := "clock/" + rec.Digest.Hex()
	if err := e.unused(ctx, id, rec.Digest); err != nil {
		return Receipt{}, err
	}
	if _, err := e.statements.put(envelope); err != nil {
		return Receipt{}, err
	}
	e.followClock(ctx) // before the floor is moved, so that nothing moves it back
	now, done := e.keeper.accept()
	stream := gov.StreamLog(e.identity.Origin)
	receipt, _, err := e.do(ctx, request{ID: id, Actor: actor, Name: "clock.accept"}, func(ctx context.Context, t *tx) error {
		if _, err := t.load(ctx, stream); err != nil {
			return err
		}
		rec.Time = t.now
		return t.emit(ctx,
			gov.NewEvent(stream, EventClockAccepted, ClockAccepted{By: rec.Signer, Statement: rec.Digest, Wall: now, Before: before}),
			gov.NewEvent(stream, "statement.recorded", rec))
	})
	if err := done(err == nil); err != nil {
		e.logger.WarnContext(ctx, "clock mark not kept", "err", err)
	}
	return receipt, err
}

// unused refuses a statement that was taken in before, under whatever stream.
func (e *Engine) unused(ctx context.Context, id string, d gov.Digest) error {
	_, again, err := e.Reader().Find(id)
	if err != nil {
		return err
	}
	_, used, err := e.view.HasStatement(ctx, d)
	if err != nil {
		return err
	}
	if again || used {
		return gov.Errorf(gov.KindConflict, "statement_used", "this statement was taken in before; a clock is accepted once").
			WithHint("govern clock accept -m REASON")
	}
	return nil
}

// StageClock is the stage of a statement that accepts a clock.
const StageClock = "clock"
