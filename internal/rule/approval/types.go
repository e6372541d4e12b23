package approval

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Rule and Version name this rule in recorded decisions. Version rises whenever
// the same Facts may give another Answer.
const (
	Rule    = "approval"
	Version = 1
)

// RoleOwner is the role that paths give, not the registry.
const RoleOwner = "owner"

// StageRevert is the stage of the one signed statement under which the exact
// inverse of a merged change passes.
const StageRevert = "revert"

// Facts is the whole input of Judge: flat and serialisable.
type Facts struct {
	Now        time.Time      `json:"now"`
	Change     gov.ChangeID   `json:"change"`
	Risk       gov.Risk       `json:"risk"`
	Revision   gov.Digest     `json:"revision"` // the current change digest; "" lets nothing count
	Authors    []string       `json:"authors"`  // declared author, proposer, committers, agent, its sponsor
	People     []gov.Person   `json:"people"`   // the registry in force
	Statements []gov.Recorded `json:"statements,omitempty"`
	Wants      []Want         `json:"wants,omitempty"`

	// Solo lets the owner be an author at low and medium risk; Notes say so.
	Solo bool `json:"solo,omitempty"`
	// AgentHand tells that an agent is among the authors.
	AgentHand bool `json:"agent_hand,omitempty"`

	// OverrideRoles may sign break-glass statements; none means nobody may.
	OverrideRoles []string `json:"override_roles,omitempty"`
	// OverridePeople is how many people must override the same requirement; 0
	// means one.
	OverridePeople int `json:"override_people,omitempty"`
	// OverrideDue is the time, from the log time of an override, until its
	// review is due.
	OverrideDue time.Duration `json:"override_due,omitempty"`
	// OverdueReviews names reviews that are overdue anywhere; while there is
	// one, no override counts.
	OverdueReviews []string `json:"overdue_reviews,omitempty"`
}

// Want is one role that one stage demands.
type Want struct {
	ID    string `json:"id"`    // "review/security_lead", unique
	Stage string `json:"stage"` // the stage a statement must name
	Role  string `json:"role"`
	// Eligible names who may wear the role: for owner, the owners of one group
	// of paths (empty: nobody); for other roles empty means everybody to whom
	// the registry gives the role.
	Eligible   []string     `json:"eligible,omitempty"`
	Paths      []string     `json:"paths,omitempty"`      // for the text only
	Presence   bool         `json:"presence,omitempty"`   // the signature must prove a person's touch
	Final      bool         `json:"final,omitempty"`      // the statement must carry Outcome
	Outcome    *gov.Outcome `json:"outcome,omitempty"`    // the latched outcome; nil at Final: still to come
	Assessment bool         `json:"assessment,omitempty"` // the statement must carry a risk assessment
}

// Answer is the whole output of Judge.
type Answer struct {
	Requirements []gov.Requirement `json:"requirements"` // one a Want, in order
	NotCounted   []gov.NotCounted  `json:"not_counted,omitempty"`
	Rejected     bool              `json:"rejected,omitempty"`
	RejectedBy   []string          `json:"rejected_by,omitempty"`
	Overrides    []Override        `json:"overrides,omitempty"` // in force
	Reviews      []Review          `json:"reviews,omitempty"`   // given, also for overrides no longer in force
	Counted      []Counted         `json:"counted,omitempty"`   // statements that fill a requirement
	Notes        []string          `json:"notes,omitempty"`
}

// Counted is one statement that fills a requirement.
type Counted struct {
	Statement gov.Digest `json:"statement"`
	Signer    string     `json:"signer"`
	Role      string     `json:"role"`
	Stage     string     `json:"stage"`
	Time      time.Time  `json:"time"`
}

// Override is a requirement, of any rule, that break-glass statements lift.
type Override struct {
	Requirement string       `json:"requirement"`
	Statements  []gov.Digest `json:"statements"`
	By          []string     `json:"by"`
	Due         time.Time    `json:"due"` // of the review, by the earliest statement
}

// Review is a statement that closes the review of Subject.
type Review struct {
	Subject   gov.Digest `json:"subject"`
	Statement gov.Digest `json:"statement"`
	By        string     `json:"by"`
}

// Codes of statements that do not count.
const (
	CodeOtherRevision  = "other_revision"   // signed for other content
	CodeOtherStage     = "other_stage"      // signed for a stage that asks for nobody
	CodeOtherOutcome   = "other_outcome"    // final, but not for the latched verdict
	CodeSignerUnknown  = "signer_unknown"   // no longer in the registry
	CodeNotHuman       = "not_human"        // agents and services never approve
	CodeKeyRemoved     = "key_removed"      // the key is no longer the signer's
	CodeKeyExpired     = "key_expired"      // the key was not valid when it signed
	CodeNoRole         = "no_role"          // the statement names no role
	CodeRoleNotWanted  = "role_not_wanted"  // the stage does not ask for that role
	CodeRoleNotHeld    = "role_not_held"    // the signer does not have the role he wore
	CodeIsAuthor       = "is_author"        // had a hand in the change, or is one with somebody who had
	CodeNoRationale    = "no_rationale"     // the rationale is blank
	CodeNoAssessment   = "no_assessment"    // a risk assessment is demanded
	CodeNoPresence     = "no_presence"      // a plain key where a touch is demanded
	CodeLowerRisk      = "lower_risk"       // signed when the risk was judged lower
	CodeExpired        = "expired"          // past its own expiry
	CodeRevoked        = "revoked"          // taken back by its signer
	CodeSamePerson     = "same_person"      // already stands for another role at this stage
	CodeNoExpiry       = "no_expiry"        // an override without expiry
	CodeReviewOverdue  = "review_overdue"   // an earlier break-glass still waits for its review
	CodeNothingNamed   = "nothing_named"    // an override that names no requirement
	CodeTooFew         = "too_few_people"   // an override that needs further people
	CodeNotSigner      = "not_signer"       // a revocation by somebody else
	CodeSubjectUnknown = "subject_unknown"  // the statement it is about is not there
	CodeOwnReview      = "reviews_own_work" // the reviewer is who overrode
)

// Replay runs Judge on recorded facts.
func Replay(facts json.RawMessage) (json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(facts))
	dec.DisallowUnknownFields()
	var f Facts
	if err := dec.Decode(&f); err != nil {
		return nil, &gov.Error{Kind: gov.KindIntegrity, Code: "facts_unreadable", Op: "replay approval", Message: "the recorded facts are not those of this rule", Err: err}
	}
	return json.Marshal(Judge(f))
}
