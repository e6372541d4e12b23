package engine

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
	"github.com/governhq/govern/internal/proof/sign"
)

// StageRestore is the stage of a statement that accepts the loss of records.
const StageRestore = "restore"

// RestoreRequest is who accepts that signed records are lost.
type RestoreRequest struct {
	Actor  gov.Principal
	People gov.Registry
	// Sign signs the statement as a human of the registry and returns the envelope.
	Sign func(gov.Statement) ([]byte, error)
	// Rationale is why, for the statement; the log keeps its digest alone.
	Rationale string
}

// Restored is what came of it. Healed: nothing was lost, and opening the log put
// its files right; no epoch began and nothing was signed.
type Restored struct {
	Healed bool   `json:"healed"`
	Epoch  int    `json:"epoch,omitempty"`
	Kept   uint64 `json:"kept"`
	Lost   uint64 `json:"lost"`
	Record uint64 `json:"record,omitempty"`
	By     string `json:"by,omitempty"`
}

// LossText is what a person accepts: Statement.Subject is its digest. It names
// the log, what is kept and what cannot be met, so that the signature is good for
// this loss and no other.
func LossText(origin string, l ledger.Loss) []byte {
	return fmt.Appendf(nil, "govern-restore/v1\n%s\n%d\n%d\n%s\n%d\n%s\n", origin, l.Epoch, l.Kept, l.KeptRoot, l.Lost.Size, l.Lost.Root)
}

// Restore opens a log that is refused as rolled back or damaged, or whose
// checkpoints are gone. Where opening it alone mends it, that is all. Else it
// keeps the valid records, records who accepts the loss of the others, and
// begins a new epoch under the pinned origin. The data directory must not be in
// use. Errors: log_locked, restore_unsigned, those of ledger.Open.
func Restore(ctx context.Context, cfg Config, req RestoreRequest) (Restored, error) {
	if cfg.Clock == nil {
		cfg.Clock = SystemClock{}
	}
	id, err := ReadIdentity(cfg.Dir)
	if err != nil {
		return Restored{}, err
	}
	key, err := readKey(cfg.Dir)
	if err != nil {
		return Restored{}, err
	}
	o := (&Engine{cfg: cfg, identity: id}).options(key)
	out := Restored{}
	var envelope []byte
	log, err := ledger.RestoreAcceptLoss(ctx, o, func(l ledger.Loss) (ledger.Entry, error) {
		out = Restored{Epoch: l.Epoch, Kept: l.Kept, Lost: l.Lost.Size, Record: l.Kept}
		rec, err := acceptance(cfg, id, req, l)
		if err != nil {
			return ledger.Entry{}, err
		}
		out.By, envelope = rec.by, rec.envelope
		// The text first: a record must not name what is not there.
		if _, err := (blobs{cfg.Dir + "/statements"}).put(envelope); err != nil {
			return ledger.Entry{}, err
		}
		return rec.entry, nil
	})
	if gov.CodeOf(err) == "restore_not_needed" {
		if log, err = ledger.Open(ctx, o); err == nil {
			out = Restored{Healed: true, Kept: log.Size()}
		}
	}
	if err != nil {
		return Restored{}, err
	}
	return out, log.Close()
}

// accepted is a loss that somebody signed for.
type accepted struct {
	by       string
	envelope []byte
	entry    ledger.Entry
}

// acceptance makes the record of a loss.
func acceptance(cfg Config, id Identity, req RestoreRequest, l ledger.Loss) (accepted, error) {
	now := cfg.Clock.Now()
	subject := gov.DigestOf(LossText(id.Origin, l))
	env, err := req.Sign(gov.Statement{
		Decision: gov.DecideAttest, Stage: StageRestore, Subject: subject, Rationale: req.Rationale, Issued: now,
		Checkpoint: string(l.Lost.Note),
	})
	if err != nil {
		return accepted{}, err
	}
	rec, st, err := sign.Verify(env, req.People, now)
	if err != nil {
		return accepted{}, err
	}
	if rec.Decision != gov.DecideAttest || rec.Stage != StageRestore || rec.SignerKind != gov.Human || st.Subject != subject || !rec.Explained {
		return accepted{}, gov.Errorf(gov.KindDenied, "restore_unsigned", "a loss is accepted by a human's signed statement about this loss, with a reason").
			WithHint("govern restore --accept-loss -m REASON")
	}
	rec.Time = now
	stream := gov.StreamLog(id.Origin)
	record := gov.Record{
		ID: uuid.NewString(), Time: now, Actor: req.Actor, Command: "log.restore",
		Events: []gov.Event{
			gov.NewEvent(stream, EventLogRestored, LogRestored{
				By: rec.Signer, Epoch: l.Epoch, Kept: l.Kept, Lost: l.Lost.Size, Turn: l.Note,
				Reason: gov.DigestOf([]byte(st.Rationale)), At: now,
			}),
			gov.NewEvent(stream, "statement.recorded", rec),
		},
	}
	body, err := encode(record)
	if err != nil {
		return accepted{}, err
	}
	return accepted{rec.Signer, env, ledger.Entry{ID: record.ID, Body: body, Adds: map[gov.Stream]int{stream: 2}}}, nil
}
