package change

import (
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Status is where in its life a change stands.
type Status string

const (
	Absent Status = ""          // never proposed
	Open   Status = "open"      // proposed
	Merge  Status = "merged"    // on its branch
	Revert Status = "reverted"  // merged and taken back
	Closed Status = "withdrawn" // given up
)

// State is the fold of a change's events. It is flat and serialisable.
type State struct {
	ID       gov.ChangeID `json:"id"`
	Status   Status       `json:"status"`
	Author   string       `json:"author"`
	Owner    string       `json:"owner"`
	Proposer string       `json:"proposer"`
	Authors  []string     `json:"authors,omitempty"` // of the current revision
	Agent    string       `json:"agent,omitempty"`
	Sponsor  string       `json:"sponsor,omitempty"`
	Type     string       `json:"type,omitempty"`
	Targets  []string     `json:"targets,omitempty"`
	Declared gov.Risk     `json:"declared"`
	Metadata gov.Digest   `json:"metadata"`
	Branch   string       `json:"branch,omitempty"`
	Revision gov.Revision `json:"revision"`
	Revised  int          `json:"revised"` // how often the content changed

	Statements []gov.Recorded `json:"statements,omitempty"` // all, in log order
	Stages     []Passed       `json:"stages,omitempty"`     // of the current change digest
	Allowed    *MergeAllowed  `json:"allowed,omitempty"`    // newest permission to merge
	RevertOK   *MergeAllowed  `json:"revert_ok,omitempty"`  // newest permission to merge the inverse
	Refused    *MergeRefused  `json:"refused,omitempty"`    // newest refusal since the last permission
	Merged     *Merged        `json:"merged,omitempty"`
	Reverted   *Reverted      `json:"reverted,omitempty"`
	Reviews    []ReviewDue    `json:"reviews,omitempty"`  // still open, by due time
	Reviewed   []ReviewClosed `json:"reviewed,omitempty"` // closed

	ProposedAt time.Time `json:"proposed_at,omitzero"`
	ChangedAt  time.Time `json:"changed_at,omitzero"` // of the newest event that has a time
}
