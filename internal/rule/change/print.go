package change

import (
	"bytes"
	"encoding/json"
	"time"
)

// Print gives change_metadata.json: two spaces of indentation, the keys in the
// specification's order, optional keys only when they are set, a newline at the
// end. ParseMetadata reads it back to an equal value.
func (m Metadata) Print() ([]byte, error) {
	f := file{
		ChangeID: new(string(m.ChangeID)), Author: &m.Author, Owner: &m.Owner, Timestamp: stamp(m.Timestamp),
		Rationale: &m.Rationale, Impact: &m.Impact, TestsRun: some(m.TestsRun), Artifacts: some(m.Artifacts),
		Approvals: []fileApproval{}, RollbackPlan: &m.RollbackPlan, RiskLevel: new(string(m.RiskLevel)),
		Targets: m.Targets, Strategy: m.CanaryStrategy, Contracts: m.Contracts,
	}
	for _, a := range m.Approvals {
		f.Approvals = append(f.Approvals, fileApproval{Approver: &a.Approver, Timestamp: stamp(a.Timestamp), Rationale: &a.Rationale})
	}
	if m.Type != "" {
		f.Type = &m.Type
	}
	if m.Model != "" {
		f.Model = &m.Model
	}
	if a := m.Agent; a != nil {
		f.Agent = &fileAgent{Name: &a.Name, Session: &a.Session, Sponsor: &a.Sponsor}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(f); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func stamp(t time.Time) *string { return new(t.Format(time.RFC3339Nano)) }

func some(xs []string) []string {
	if xs == nil {
		return []string{}
	}
	return xs
}
