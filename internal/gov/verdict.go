package gov

// Answer is the whole of a verdict in one word.
type Answer string

const (
	Allowed Answer = "allowed"
	Pending Answer = "pending" // only people or time are missing
	Refused Answer = "refused" // something must change first
)

// State of one requirement. Skipped never satisfies.
type State string

const (
	Satisfied     State = "satisfied"
	Missing       State = "missing" // somebody can still give it
	Waiting       State = "waiting" // time will give it
	Failed        State = "failed"  // it was given and says no
	Unknown       State = "unknown" // could not be found out; blocks like Failed
	NotApplicable State = "not_applicable"
	Overridden    State = "overridden" // break-glass, review due
)

// Done tells whether the state lets a change pass.
func (s State) Done() bool { return s == Satisfied || s == NotApplicable || s == Overridden }

// Requirement is a node of the verdict tree: a stage, a check, or one role.
//
// Text is one sentence ("security lead approves the revision"); By names who
// satisfied it; Who names who can still give it; Command is the exact next
// command for one of Who; Why says why the state is what it is.
type Requirement struct {
	ID       string        `json:"id"` // "review", "review/security_lead", "validate/tests"
	Kind     string        `json:"kind"`
	State    State         `json:"state"`
	Text     string        `json:"text"`
	By       []string      `json:"by,omitempty"`
	Who      []string      `json:"who,omitempty"`
	Command  string        `json:"command,omitempty"`
	Why      string        `json:"why,omitempty"`
	Evidence []Digest      `json:"evidence,omitempty"` // statements that satisfied it
	Children []Requirement `json:"children,omitempty"`
}

// NotCounted is a statement that was there and did not count, and why.
type NotCounted struct {
	Statement Digest   `json:"statement,omitempty"`
	Signer    string   `json:"signer"`
	Decision  Decision `json:"decision"`
	Code      string   `json:"code"` // is_author, other_revision, key_expired, no_presence, …
	Why       string   `json:"why"`
}

// Verdict answers "may this change go ahead, and if not, what is missing, who
// can give it, and with which command". Stage is the first stage that is not
// done, "" when all are.
type Verdict struct {
	Change     ChangeID      `json:"change"`
	Answer     Answer        `json:"answer"`
	Stage      string        `json:"stage"`
	Risk       Risk          `json:"risk"`
	RiskWhy    []string      `json:"risk_why,omitempty"` // what raised it
	Policy     Digest        `json:"policy"`
	Revision   Revision      `json:"revision"`
	Stages     []Requirement `json:"stages"`
	NotCounted []NotCounted  `json:"not_counted,omitempty"`
	Notes      []string      `json:"notes,omitempty"` // said in every rendering: solo mode, plain keys, observe mode
}

// Leaves walks the requirements without children in order.
func (v Verdict) Leaves(yield func(Requirement) bool) {
	var walk func([]Requirement) bool
	walk = func(rs []Requirement) bool {
		for _, r := range rs {
			if len(r.Children) > 0 {
				if !walk(r.Children) {
					return false
				}
				continue
			}
			if !yield(r) {
				return false
			}
		}
		return true
	}
	walk(v.Stages)
}
