package engine

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/proof/ledger"
)

// AnchorRequest is a checkpoint of an audit log with the proof that it continues
// the one anchored before.
type AnchorRequest struct {
	CommandID string
	Actor     gov.Principal
	Key       string   // verifier key, c2sp.org/signed-note; must be the one first anchored
	Note      []byte   // the signed checkpoint
	Proof     []string // base64 hashes from the anchored size to this one (RFC 6962, 2.1.2)
}

// Anchor records an audit log's checkpoint, so that the audit log cannot be cut
// or rewritten behind it any more. The first anchor of an origin pins its key.
// Errors: those of ledger.Verifier, anchor_key_changed, anchor_smaller,
// anchor_inconsistent, anchor_own_log.
func (e *Engine) Anchor(ctx context.Context, req AnchorRequest) (Anchored, Receipt, error) {
	v, err := ledger.ParseVerifier(req.Key)
	if err != nil {
		return Anchored{}, Receipt{}, err
	}
	c, err := v.Checkpoint(req.Note)
	if err != nil {
		return Anchored{}, Receipt{}, err
	}
	if v.Origin() == e.identity.Origin {
		return Anchored{}, Receipt{}, gov.Errorf(gov.KindInvalid, "anchor_own_log", "%s is this log itself; audit logs are anchored in it", v.Origin())
	}
	path, err := hashes(req.Proof)
	if err != nil {
		return Anchored{}, Receipt{}, err
	}
	next := Anchored{Origin: v.Origin(), Size: c.Size, Root: c.Root.String(), Note: string(req.Note), Key: req.Key}
	stream := gov.StreamLog(next.Origin)
	receipt, _, err := e.do(ctx, request{ID: req.CommandID, Actor: req.Actor, Name: "audit.anchor"}, func(ctx context.Context, t *tx) error {
		if _, err := t.load(ctx, stream); err != nil {
			return err
		}
		before, err := e.Anchored(ctx, next.Origin)
		if err != nil && gov.KindOf(err) != gov.KindNotFound {
			return err
		}
		if err == nil {
			if err := continues(v, before, next, path); err != nil {
				return err
			}
			if before.Size == next.Size && before.Root == next.Root {
				return nil
			}
		}
		return t.emit(ctx, gov.NewEvent(stream, EventAnchored, next))
	})
	return next, receipt, err
}

// continues tells why a checkpoint may not follow the anchored one.
func continues(v *ledger.Verifier, before, next Anchored, path []ledger.Hash) error {
	switch {
	case before.Key != next.Key:
		return gov.Errorf(gov.KindIntegrity, "anchor_key_changed", "%s was anchored under another key", next.Origin).WithHint("govern log query --dir DIR")
	case next.Size < before.Size:
		return gov.Errorf(gov.KindIntegrity, "anchor_smaller", "%s has %d signed records, but %d were anchored: records are gone", next.Origin, next.Size, before.Size).
			WithHint("govern verify DIR")
	case next.Size == before.Size && next.Root != before.Root:
		return gov.Errorf(gov.KindIntegrity, "anchor_inconsistent", "%s has other records than those anchored", next.Origin).WithHint("govern verify DIR")
	case next.Size == before.Size:
		return nil
	}
	if err := v.Consistent([]byte(before.Note), []byte(next.Note), path); err != nil {
		return gov.Errorf(gov.KindIntegrity, "anchor_inconsistent", "nothing proves that %s still holds its first %d records: %w", next.Origin, before.Size, err).
			WithHint("govern verify DIR")
	}
	return nil
}

// Anchored is the newest anchor of an audit log; anchor_unknown when there is
// none.
func (e *Engine) Anchored(ctx context.Context, origin string) (Anchored, error) {
	evs, err := e.view.Events(ctx, gov.StreamLog(origin))
	if err != nil {
		return Anchored{}, err
	}
	for i := len(evs) - 1; i >= 0; i-- {
		if evs[i].Type != EventAnchored {
			continue
		}
		var a Anchored
		if err := json.Unmarshal(evs[i].Data, &a); err != nil {
			return a, gov.Errorf(gov.KindIntegrity, "anchor_unreadable", "the anchor of %s cannot be read: %w", origin, err).WithHint("govern verify log")
		}
		return a, nil
	}
	return Anchored{}, gov.Errorf(gov.KindNotFound, "anchor_unknown", "%s was never anchored here", origin).WithHint("govern log anchor --dir DIR")
}

const maxProof = 64 // hashes of a consistency proof: no tree is higher

func hashes(text []string) ([]ledger.Hash, error) {
	if len(text) > maxProof {
		return nil, gov.Errorf(gov.KindInvalid, "proof_malformed", "a consistency proof has at most %d hashes", maxProof)
	}
	out := make([]ledger.Hash, len(text))
	for i, s := range text {
		if strings.ContainsAny(s, `"\`) || out[i].UnmarshalJSON([]byte(`"`+s+`"`)) != nil {
			return nil, gov.Errorf(gov.KindInvalid, "proof_malformed", "hash %d of the consistency proof is malformed", i)
		}
	}
	return out, nil
}

// aboutTarget tells decisions about a target from those about a change, which
// may name a target too.
func aboutTarget(d gov.Decision) bool {
	return d == gov.DecidePromote || d == gov.DecideUnblock || d == gov.DecideAbort
}
