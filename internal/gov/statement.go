package gov

import "time"

// PredicateType is the in-toto predicateType of every govern statement.
const PredicateType = "https://governhq.github.io/govern/statement/v1"

// SSHNamespace is the SSHSIG namespace of every govern statement.
const SSHNamespace = "govern-statement"

// Decision is what a statement does.
type Decision string

const (
	DecidePropose  Decision = "propose"
	DecideApprove  Decision = "approve"
	DecideReject   Decision = "reject"
	DecideRevoke   Decision = "revoke"   // takes back the statement named by Subject
	DecideOverride Decision = "override" // break-glass for Requirements, falls due for review
	DecideReview   Decision = "review"   // closes the override or revert named by Subject
	DecidePromote  Decision = "promote"
	DecideAbort    Decision = "abort"
	DecideUnblock  Decision = "unblock" // lifts the block of an artifact digest on a target
	DecideActivate Decision = "activate"
	DecideAttest   Decision = "attest"   // a checklist item or a finding, by a person
	DecideEvidence Decision = "evidence" // a report, by a service
	DecideFound    Decision = "found"    // a founder signs the genesis
)

// Decisions lists every decision a statement can carry.
var Decisions = []Decision{
	DecidePropose, DecideApprove, DecideReject, DecideRevoke, DecideOverride, DecideReview,
	DecidePromote, DecideAbort, DecideUnblock, DecideActivate, DecideAttest, DecideEvidence, DecideFound,
}

// Statement is the predicate of an in-toto Statement, the only thing with
// authority. It is signed as a DSSE envelope with SSHSIG (package proof/sign).
// Free text stays in the envelope, a blob beside the log that can be erased;
// the log holds a Recorded.
type Statement struct {
	Decision       Decision   `json:"decision"`
	Stage          string     `json:"stage,omitempty"` // propose, review, validate, canary, final, …
	Change         ChangeID   `json:"change,omitempty"`
	Target         string     `json:"target,omitempty"`
	Role           string     `json:"role,omitempty"` // the role worn
	Revision       Revision   `json:"revision,omitzero"`
	Artifacts      []Artifact `json:"artifacts,omitempty"`
	Risk           Risk       `json:"risk,omitempty"`
	Policy         Digest     `json:"policy,omitempty"` // information: the policy the signer saw
	Rationale      string     `json:"rationale"`
	RiskAssessment string     `json:"risk_assessment,omitempty"` // demanded for models
	Outcome        *Outcome   `json:"outcome,omitempty"`         // demanded at final stages
	Subject        Digest     `json:"subject,omitempty"`         // revoke, review: the statement meant
	Requirements   []string   `json:"requirements,omitempty"`    // override: ids of requirements
	Evidence       *Evidence  `json:"evidence,omitempty"`
	Expires        time.Time  `json:"expires,omitzero"`
	Issued         time.Time  `json:"issued"`               // information; the time that counts is the log position
	Nonce          string     `json:"nonce"`                // 16 random bytes, hex: the digest reveals nothing
	Checkpoint     string     `json:"checkpoint,omitempty"` // newest checkpoint its signer has seen: each approver is a witness
}

// Outcome binds a final approval to one attempt of a rollout and its latched
// verdict, so that a review can never be replayed as final approval.
type Outcome struct {
	Target  string `json:"target"`
	Attempt int    `json:"attempt"`
	Verdict Digest `json:"verdict"` // digest of the latched verdict's RFC 8785 form
}

// Artifact is a named deployable with its digest.
type Artifact struct {
	Name   string `json:"name"`
	Digest Digest `json:"digest"`
}

// Recorded is what the log keeps of a verified statement: handles and digests,
// no free text. It is also the fact that rules decide on.
type Recorded struct {
	Digest       Digest        `json:"digest"` // SHA-256 of the envelope file's bytes
	Decision     Decision      `json:"decision"`
	Stage        string        `json:"stage,omitempty"`
	Change       ChangeID      `json:"change,omitempty"`
	Target       string        `json:"target,omitempty"`
	Role         string        `json:"role,omitempty"`
	Revision     Revision      `json:"revision,omitzero"`
	Artifacts    []Artifact    `json:"artifacts,omitempty"`
	Risk         Risk          `json:"risk,omitempty"`
	Outcome      *Outcome      `json:"outcome,omitempty"`
	Subject      Digest        `json:"subject,omitempty"`
	Requirements []string      `json:"requirements,omitempty"`
	Evidence     *Evidence     `json:"evidence,omitempty"`
	Assessed     bool          `json:"assessed,omitempty"` // it carries a risk assessment
	Explained    bool          `json:"explained"`          // it carries a rationale that is not blank
	Expires      time.Time     `json:"expires,omitzero"`
	Signer       string        `json:"signer"` // handle, from the registry by key
	SignerKind   PrincipalKind `json:"signer_kind"`
	Key          string        `json:"key"`      // fingerprint
	Presence     bool          `json:"presence"` // the signature proves that a person touched the key
	Time         time.Time     `json:"time"`     // of the record that took it in
	Index        uint64        `json:"index"`    // of the record that took it in
}
