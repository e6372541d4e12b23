package change

import (
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Types of the events of a change, on its stream gov.StreamChange(id). Payloads
// are the structs below, version 1, except for statement.recorded whose payload
// is gov.Recorded. They hold handles and digests only.
const (
	EventProposed  = "change.proposed"    // Proposed
	EventRevised   = "change.revised"     // Revised: the content changed, statements of people are void
	EventCarried   = "change.carried"     // Carried: another commit, the same content, statements stay
	EventRecorded  = "statement.recorded" // gov.Recorded
	EventPassed    = "stage.passed"       // Passed
	EventAllowed   = "merge.allowed"      // MergeAllowed
	EventRefused   = "merge.refused"      // MergeRefused
	EventMerged    = "change.merged"      // Merged
	EventReverted  = "change.reverted"    // Reverted
	EventWithdrawn = "change.withdrawn"   // Withdrawn
	EventReviewDue = "review.due"         // ReviewDue
	EventReviewed  = "review.closed"      // ReviewClosed
)

// Proposed opens a change.
type Proposed struct {
	Change   gov.ChangeID `json:"change"`
	Author   string       `json:"author"` // declared
	Owner    string       `json:"owner"`  // declared
	Proposer string       `json:"proposer"`
	Authors  []string     `json:"authors"` // everybody who had a hand in it, as the engine found
	Agent    string       `json:"agent,omitempty"`
	Sponsor  string       `json:"sponsor,omitempty"`
	Type     string       `json:"type,omitempty"`
	Targets  []string     `json:"targets,omitempty"`
	Declared gov.Risk     `json:"declared"` // the metadata's risk_level
	Metadata gov.Digest   `json:"metadata"` // SHA-256 of the metadata file
	Revision gov.Revision `json:"revision"`
	Branch   string       `json:"branch,omitempty"`
	At       time.Time    `json:"at"`
}

// Revised gives a change other content. Statements of people that were signed
// for the old change digest no longer match it.
type Revised struct {
	From     gov.Revision `json:"from"`
	Revision gov.Revision `json:"revision"`
	Authors  []string     `json:"authors"`
	Owner    string       `json:"owner"`
	Agent    string       `json:"agent,omitempty"`
	Sponsor  string       `json:"sponsor,omitempty"`
	Type     string       `json:"type,omitempty"`
	Targets  []string     `json:"targets,omitempty"`
	Declared gov.Risk     `json:"declared"`
	Metadata gov.Digest   `json:"metadata"`
	By       string       `json:"by"`
	At       time.Time    `json:"at"`
}

// Carried moves a change to another commit or base with an equal change digest:
// a rebase, a squash, a merge-queue candidate. Where the tree differs, evidence
// is needed anew.
type Carried struct {
	From gov.Revision `json:"from"`
	To   gov.Revision `json:"to"`
	// Metadata is the digest of the metadata file there: its approvals may
	// differ without changing the change digest.
	Metadata gov.Digest `json:"metadata"`
	// Authors are all who had a hand in it, newly found committers included.
	Authors []string  `json:"authors"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
}

// Passed latches that a stage was done for a revision.
type Passed struct {
	Stage    string     `json:"stage"`
	Revision gov.Digest `json:"revision"` // change digest
	At       time.Time  `json:"at"`
}

// MergeAllowed is the permission to merge one revision, given by the gate.
type MergeAllowed struct {
	Revision gov.Revision `json:"revision"`
	Ref      string       `json:"ref"`
	Policy   gov.Digest   `json:"policy"`
	Risk     gov.Risk     `json:"risk"`
	Revert   bool         `json:"revert,omitempty"`  // the exact inverse of this change
	Observe  bool         `json:"observe,omitempty"` // the policy only observes: the verdict was not allowed
	At       time.Time    `json:"at"`
}

// MergeRefused is a "no" of the gate.
type MergeRefused struct {
	Revision gov.Revision `json:"revision"`
	Ref      string       `json:"ref"`
	Answer   gov.Answer   `json:"answer"`
	Stage    string       `json:"stage"`             // the first that is not done
	Missing  []string     `json:"missing,omitempty"` // ids of requirements that are not done
	At       time.Time    `json:"at"`
}

// Merged tells that the change stands on its branch.
type Merged struct {
	Revision gov.Revision `json:"revision"`
	Commit   string       `json:"commit"` // on the branch
	Ref      string       `json:"ref"`
	Bypassed bool         `json:"bypassed,omitempty"` // no permission for this revision was recorded
	At       time.Time    `json:"at"`
}

// Reverted tells that the merged change was taken back.
type Reverted struct {
	Revision gov.Revision `json:"revision"` // of the inverse
	Commit   string       `json:"commit"`   // of the inverse, on the branch
	By       gov.ChangeID `json:"by,omitempty"`
	Bypassed bool         `json:"bypassed,omitempty"`
	At       time.Time    `json:"at"`
}

// Withdrawn closes a change that nobody wants any more.
type Withdrawn struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Reasons of reviews.
const (
	ReviewOverride = "override" // Subject is the break-glass statement
	ReviewRevert   = "revert"   // Subject is the owner's statement on the inverse
	ReviewBypass   = "bypass"   // Subject is the change digest that was merged without permission
)

// ReviewDue says that somebody must look at what was done in a hurry.
type ReviewDue struct {
	Subject      gov.Digest `json:"subject"`
	Reason       string     `json:"reason"`
	Requirements []string   `json:"requirements,omitempty"`
	Due          time.Time  `json:"due"`
	At           time.Time  `json:"at"`
}

// ReviewClosed says that somebody has looked.
type ReviewClosed struct {
	Subject   gov.Digest `json:"subject"`
	Statement gov.Digest `json:"statement"`
	By        string     `json:"by"`
	At        time.Time  `json:"at"`
}
