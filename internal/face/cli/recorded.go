package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/governhq/govern/internal/gov"
)

// recordedReport is a report that the log has taken in for a change.
type recordedReport struct {
	Statement gov.Digest `json:"statement"`
	Signer    string     `json:"signer"`
	Tree      gov.Digest `json:"tree"`
	Counts    bool       `json:"counts"`
	Why       string     `json:"why,omitempty"` // why it does not count
	Evidence  shown      `json:"evidence"`
}

// recordedEvidence lists the evidence of a change from the log: what it shows,
// who signed it, of which tree it is, and whether it counts.
func (a *app) recordedEvidence(ctx context.Context, id gov.ChangeID) error {
	_, s, err := a.session(ctx, "govern evidence show")
	if err != nil {
		return err
	}
	defer s.Close()
	c, err := s.Client().Change(ctx, id, "")
	if err != nil {
		return err
	}
	st, err := state(c)
	if err != nil {
		return err
	}
	why, counted := restsOn(c.Verdict)
	out := []recordedReport{}
	for _, x := range st.Statements {
		if x.Evidence == nil {
			continue
		}
		r := recordedReport{Statement: x.Digest, Signer: x.Signer, Tree: x.Revision.Tree, Evidence: showable(*x.Evidence), Why: why[x.Digest], Counts: counted[x.Digest]}
		switch {
		case r.Counts:
			r.Why = ""
		case r.Why == "" && x.Revision.Tree != st.Revision.Tree:
			r.Why = "it is of another tree"
		case r.Why == "":
			r.Why = "a newer report took its place, or none of its kind is asked for"
		}
		out = append(out, r)
	}
	return a.give(map[string]any{"change": id, "evidence": out}, func(w io.Writer) { printRecorded(w, id, out) })
}

// restsOn gives the statements that a verdict rests on, and why others do not
// count. A failed report counts too: it is what the verdict says no for.
func restsOn(v *gov.Verdict) (why map[gov.Digest]string, counted map[gov.Digest]bool) {
	why, counted = map[gov.Digest]string{}, map[gov.Digest]bool{}
	if v == nil {
		return why, counted
	}
	for r := range v.Leaves {
		for _, d := range r.Evidence {
			counted[d] = true
		}
	}
	for _, n := range v.NotCounted {
		why[n.Statement] = n.Why
	}
	return why, counted
}

func printRecorded(w io.Writer, id gov.ChangeID, list []recordedReport) {
	if len(list) == 0 {
		fmt.Fprintf(w, "the log has no evidence of %s\n  next: govern evidence add %s FILE\n", id, id)
		return
	}
	for _, r := range list {
		reports(w, []gov.Evidence{r.Evidence.Evidence})
		counts := "counts"
		if !r.Counts {
			counts = "does not count: " + r.Why
		}
		fmt.Fprintf(w, "  signed by %s, tree %s, %s\n", printable(r.Signer), r.Tree.Short(), printable(counts))
	}
}
