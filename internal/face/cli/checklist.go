package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/evidence"
)

// attestable are the items that a person can attest so far: a check's kind, and
// the role that is worn where the policy names none.
var attestable = map[string]string{evidence.KindArchitectureReview: "architecture_lead"}

func (a *app) checklist() *cobra.Command {
	var finding, branch string
	attest := &cobra.Command{
		Use: "attest ID ITEM", Short: "sign what you found for an item",
		Example: "  govern checklist attest CHANGE-7 architecture_review -m \"fits the module boundaries\"",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.attest(cmd.Context(), args[0], args[1], finding, branch)
		},
	}
	reason(attest, &finding)
	attest.Flags().StringVar(&branch, "branch", "", "branch that holds the change")
	return group("checklist", "findings of people", groupChange, attest)
}

func (a *app) attest(ctx context.Context, name, item, finding, branch string) error {
	id, err := changeArg(name)
	if err != nil {
		return err
	}
	role, ok := attestable[item]
	if !ok {
		return gov.Errorf(gov.KindInvalid, "checklist_item_unknown", "%q cannot be attested; checklists join with a later version", item).
			WithHint("govern checklist attest %s %s -m FINDING", id, evidence.KindArchitectureReview)
	}
	if err := why(finding); err != nil {
		return err
	}
	h, err := a.here(ctx, "govern checklist attest", true)
	if err != nil {
		return err
	}
	defer h.close()
	at, err := h.examined(ctx, id, branch, "")
	if err != nil {
		return err
	}
	key, who, err := h.signing(ctx)
	if err != nil {
		return err
	}
	if who.Kind != gov.Human {
		return gov.Errorf(gov.KindDenied, "not_human", "%s is %s; a finding needs a person", who.Handle, who.Kind).WithHint("sign with your own key: --key FILE")
	}
	if row := h.law.Policy.Evidence[item].Finding; len(row) > 0 {
		role = worn(who, row)
	}
	env, err := key.Seal(ctx, gov.Statement{
		Decision: gov.DecideAttest, Stage: item, Change: id, Role: role, Revision: at.revision,
		Policy: h.law.Digest, Rationale: finding, Issued: now(), Checkpoint: h.checkpoint(ctx),
	})
	if err != nil {
		return err
	}
	c, err := a.deliver(ctx, h.w, h.s, id, at.branch, env)
	if err != nil {
		return err
	}
	return h.show(c)
}

// worn is the first of the wanted roles that a person has, else the first.
func worn(p gov.Person, wanted []string) string {
	for _, w := range wanted {
		for _, have := range p.Roles {
			if w == have {
				return w
			}
		}
	}
	return wanted[0]
}
