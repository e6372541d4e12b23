package evidence

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Rule and Version name this rule in recorded decisions. Version rises whenever
// the same Facts may give another Answer.
const (
	Rule    = "evidence"
	Version = 1
)

// Kinds of checks, equal to the kinds of gov.Evidence.
const (
	KindTests              = "tests"
	KindCoverage           = "coverage"
	KindContracts          = "contracts"
	KindSecurityScan       = "security_scan"
	KindArchitectureReview = "architecture_review"
	KindIntegration        = "integration"
	KindBuild              = "build"
)

// Facts is the whole input of Judge: flat and serialisable.
type Facts struct {
	Now        time.Time      `json:"now"`
	Change     gov.ChangeID   `json:"change"`
	Tree       gov.Digest     `json:"tree"`     // that will stand on the target; "" lets no report count
	Revision   gov.Digest     `json:"revision"` // the change digest, for signed findings of people
	Authors    []string       `json:"authors,omitempty"`
	People     []gov.Person   `json:"people"`
	Checks     []Want         `json:"checks,omitempty"`
	Statements []gov.Recorded `json:"statements,omitempty"` // in log order
	Claims     []Claim        `json:"claims,omitempty"`
}

// Want is one check that a stage demands.
type Want struct {
	ID   string `json:"id"` // "validate/tests", unique
	Kind string `json:"kind"`
	// NotApplicable is the policy's reason why the check does not apply; only
	// policy sets it.
	NotApplicable string `json:"not_applicable,omitempty"`
	// Roles may sign this kind; empty means services with the role "ci" or a
	// role named as the kind. "ci" is worn by services only.
	Roles []string `json:"roles,omitempty"`

	TestsRun         []string `json:"tests_run,omitempty"`         // tests, integration: each must have passed
	Minimum          float64  `json:"minimum,omitempty"`           // coverage: least share in [0,1]
	ContractsTouched []string `json:"contracts_touched,omitempty"` // contracts: declared contract files that differ
	Artifacts        []string `json:"artifacts,omitempty"`         // build: names that must have been built
	// Finding names roles of which one must add a signed finding (decision
	// attest, stage = Kind) on this revision, apart from any approval. For
	// architecture_review empty means architecture_lead.
	Finding  []string `json:"finding,omitempty"`
	Presence bool     `json:"presence,omitempty"` // the finding must prove a person's touch
}

// Claim is an unsigned report. It is shown and never counts.
type Claim struct {
	Kind   string `json:"kind"`
	Source string `json:"source"` // where it stands, e.g. a path
}

// Answer is the whole output of Judge.
type Answer struct {
	Requirements []gov.Requirement `json:"requirements"` // one a Want, in order
	NotCounted   []gov.NotCounted  `json:"not_counted,omitempty"`
	Artifacts    []gov.Artifact    `json:"artifacts,omitempty"` // built from this tree, by counted evidence
}

// Codes of statements and claims that do not count.
const (
	CodeUnsigned      = "unsigned"       // a claim
	CodeOtherTree     = "other_tree"     // of another tree
	CodeOtherRevision = "other_revision" // a finding on other content
	CodeNotAllowed    = "not_allowed"    // the signer may not give this kind
	CodeNotHuman      = "not_human"      // a finding needs a person
	CodeSignerUnknown = "signer_unknown" // no longer in the registry
	CodeKeyRemoved    = "key_removed"    // the key is no longer the signer's
	CodeKeyExpired    = "key_expired"    // the key was not valid when it signed
	CodeIsAuthor      = "is_author"      // had a hand in the change, or is one with somebody who had
	CodeNoRationale   = "no_rationale"   // a finding without words
	CodeNoPresence    = "no_presence"    // a plain key where a touch is demanded
	CodeExpired       = "expired"        // past its own expiry
	CodeRevoked       = "revoked"        // taken back by its signer
	CodeNoReport      = "no_report"      // an evidence statement without a report
	CodeNotWanted     = "not_wanted"     // no check asks for this kind
)

// Replay runs Judge on recorded facts.
func Replay(facts json.RawMessage) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(facts))
	dec.DisallowUnknownFields()
	var f Facts
	if err := dec.Decode(&f); err != nil {
		return nil, &gov.Error{Kind: gov.KindIntegrity, Code: "facts_unreadable", Op: "replay evidence", Message: "the recorded facts are not those of this rule", Err: err}
	}
	return json.Marshal(Judge(f))
}
