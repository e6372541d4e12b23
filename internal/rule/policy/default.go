package policy

import (
	"encoding/json"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Roles that the default policy names.
const (
	RoleOwner            = "owner" // an owner of the touched paths, not a role of the registry
	RoleSecurityLead     = "security_lead"
	RoleArchitectureLead = "architecture_lead"
	RoleCI               = "ci"
	RoleSecurityScanner  = "security_scanner"
)

// Kinds of evidence that the default policy names.
const (
	CheckTests        = "tests"
	CheckContracts    = "contracts"
	CheckCoverage     = "coverage"
	CheckSecurityScan = "security_scan"
	CheckArchitecture = "architecture_review"
	CheckIntegration  = "integration"
	CheckBuild        = "build"
)

// PredeployReason is why checklists are not applicable by default.
const PredeployReason = "checklists join with a later version"

// GovernanceReason is why a change to nothing but the policy, the registry and
// the owners has no canary by default.
const GovernanceReason = "nothing that is deployed changes: only policy, people or owners"

// governanceExemption is the row that every policy has, whatever else it says
// under not_applicable.
func governanceExemption() Exemption {
	return Exemption{
		What: []string{string(StageStaging), string(StageCanary), string(StageFinal)},
		When: "governance_only", Because: GovernanceReason,
	}
}

// defaultStrategy holds the specification's thresholds and criteria.
const defaultStrategy = `{"promotion_criteria":{"error_rate":"<0.005","latency_p95_ms":"<500","satisfaction_score":">0.95"},` +
	`"rollback_thresholds":{"error_rate":0.01,"latency_p95_ms":1000,"throughput_degradation":0.1}}`

// Default is what init writes and what keys left out take: the specification's
// workflows, thresholds and safeguards. A repository without governance.yaml
// does not have this policy; it has none.
func Default() Policy {
	h := func(n int) Duration { return Duration(time.Duration(n) * time.Hour) }
	m := func(n int) Duration { return Duration(time.Duration(n) * time.Minute) }
	// Functions, so that no two rows share a slice.
	high := func() []string { return []string{RoleOwner, RoleSecurityLead} }
	critical := func() []string { return append(high(), RoleArchitectureLead) }
	base := func() []string { return []string{CheckTests, CheckContracts, CheckCoverage} }
	standard := func() []Stage {
		return []Stage{
			{Stage: StageReview, Roles: []string{RoleOwner}},
			{Stage: StageValidate, Checks: base()},
			{Stage: StageMerge},
		}
	}
	p := Policy{
		Version: 1,
		Mode:    Enforce,
		People:  ".govern/allowed_signers",
		Owners:  Ownership{Codeowners: "CODEOWNERS"},
		Changes: Changes{Dir: "changes"},
		Workflows: Workflows{
			Low:    standard(),
			Medium: standard(),
			High: []Stage{
				{Stage: StageReview, Roles: high()},
				{Stage: StageValidate, Checks: append(base(), CheckSecurityScan)},
				{Stage: StageCanary, Percent: 5},
				{Stage: StageMonitor, For: m(60)},
				{Stage: StageRollout, Steps: []int{5, 100}},
				{Stage: StageFinal, Roles: high()},
				{Stage: StageMerge},
			},
			Critical: []Stage{
				{Stage: StageReview, Roles: critical()},
				{Stage: StageValidate, Checks: append(base(), CheckSecurityScan, CheckArchitecture)},
				{Stage: StageStaging},
				{Stage: StageIntegration},
				{Stage: StageCanary, Percent: 1},
				{Stage: StageMonitor, For: h(24)},
				{Stage: StageRollout, Steps: []int{1, 5, 25, 100}, Bake: m(60)},
				{Stage: StageFinal, Roles: critical()},
				{Stage: StageMerge},
			},
		},
		Coverage: Coverage{Minimum: 0.80},
		Presence: []string{string(gov.RiskHigh), string(gov.RiskCritical), presenceModels, presenceAgents},
		Evidence: map[string]EvidenceRow{
			CheckTests:        {By: []string{RoleCI}},
			CheckContracts:    {By: []string{RoleCI}},
			CheckCoverage:     {By: []string{RoleCI}},
			CheckIntegration:  {By: []string{RoleCI}},
			CheckBuild:        {By: []string{RoleCI}},
			CheckSecurityScan: {By: []string{RoleSecurityScanner, RoleCI}},
			CheckArchitecture: {By: []string{RoleCI}, Finding: []string{RoleArchitectureLead}},
		},
		Canary:   Canary{Strategy: json.RawMessage(defaultStrategy)},
		Reviews:  Reviews{OverrideDue: h(72), RevertDue: h(72)},
		Rollback: Rollback{FinalWithin: h(24), BaselineUnhealthy: m(15)},
		NotApplicable: []Exemption{
			{What: []string{string(StagePredeploy)}, Because: PredeployReason},
			governanceExemption(),
		},
		Agents: Agents{Risk: gov.RiskLow},
	}
	p.normalise()
	return p
}
