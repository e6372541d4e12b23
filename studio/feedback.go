package studio

import (
	"context"

	"github.com/governhq/govern/audit"
)

// Feedback is how a listener liked a section. It names the output, never the
// listener.
type Feedback struct {
	OutputDigest string  `json:"output_digest"`
	Rating       float64 `json:"rating"` // 0 not at all, 1 very much
}

// RecordFeedback judges feedback in JSON form by the contract Feedback and
// leaves one audit record, operation "record_feedback". The error is an *Error.
func (o *Orchestrator) RecordFeedback(ctx context.Context, body []byte) (Feedback, error) {
	var f Feedback
	input, bad := specInput(body)
	err := o.record(ctx, "record_feedback", input, func(_ context.Context, _ *audit.Op) error {
		if bad != nil {
			return bad
		}
		if refused := o.bundle.judge(o.bundle.feedback, input, &f); refused != nil {
			return refused
		}
		return nil
	})
	return f, err
}
