package gov

import "slices"

// Risk is the specification's risk_level.
type Risk string

const (
	RiskLow      Risk = "low"
	RiskMedium   Risk = "medium"
	RiskHigh     Risk = "high"
	RiskCritical Risk = "critical"
)

// Risks lists the four levels, lowest first.
var Risks = []Risk{RiskLow, RiskMedium, RiskHigh, RiskCritical}

// ParseRisk accepts exactly the four words.
func ParseRisk(s string) (Risk, error) {
	if slices.Contains(Risks, Risk(s)) {
		return Risk(s), nil
	}
	return "", Errorf(KindInvalid, "risk_invalid", "%q is not a risk level; use low, medium, high or critical", s)
}

// Rank orders risks: low 0 … critical 3; an unknown risk ranks 4, above all.
func (r Risk) Rank() int {
	if i := slices.Index(Risks, r); i >= 0 {
		return i
	}
	return len(Risks)
}

// Max is the higher of two risks.
func (r Risk) Max(other Risk) Risk {
	if other.Rank() > r.Rank() {
		return other
	}
	return r
}
