package engine

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

// known tells whether this very content is what the log has of the change.
func (c *content) known(st change.State) bool {
	if st.Status == change.Absent {
		return false
	}
	return c.revision.Change == st.Revision.Change || st.Merged != nil && c.revision.Change == st.Merged.Revision.Change
}

// proposals are the signed proposals of exactly this content: those that the log
// has from when it was proposed before, then those that came with it.
func (c *content) proposals(st change.State, verified []statement) []gov.Recorded {
	var out []gov.Recorded
	add := func(r gov.Recorded) {
		if r.Decision == gov.DecidePropose && r.Change == c.id && r.Revision.Change == c.revision.Change && c.speaksForAuthor(r.Signer) {
			out = append(out, r)
		}
	}
	for _, r := range st.Statements {
		add(r)
	}
	for _, s := range verified {
		add(s.rec)
	}
	return out
}

// speaksForAuthor tells whether a signer may propose in the declared author's
// name: the author, an agent that the author sponsors, or the sponsor of an
// author who is an agent. Who sponsors whom is the registry's to say.
func (c *content) speaksForAuthor(signer string) bool {
	author := c.handle(c.metadata.Author)
	if signer == "" || author == "" {
		return false
	}
	if signer == author {
		return true
	}
	sponsors := func(agent, sponsor string) bool {
		p, ok := c.law.registry.Person(agent)
		return ok && p.Kind == gov.Agent && p.Sponsor != "" && p.Sponsor == sponsor
	}
	return sponsors(signer, author) || sponsors(author, signer)
}

// proposer is who proposed this content, "" when nobody did in its author's name.
//
// Two revisions of one change are told from two changes that took the same number
// by what their proposals say: a proposal of other content names, as its subject,
// the one that it replaces, directly or by way of others on its branch. The first
// proposal names none, so a second first one is another change.
func (c *content) proposer(st change.State, verified []statement) (string, error) {
	proposals := c.proposals(st, verified)
	if len(proposals) == 0 {
		return "", nil
	}
	before := map[gov.Digest]bool{}
	for _, s := range st.Statements {
		before[s.Digest] = s.Decision == gov.DecidePropose
	}
	replaces := map[gov.Digest]gov.Digest{}
	for _, s := range verified {
		if s.rec.Decision == gov.DecidePropose {
			replaces[s.rec.Digest] = s.rec.Subject
		}
	}
	if !slices.Contains(slices.Collect(maps.Values(before)), true) {
		return proposals[0].Signer, nil
	}
	for _, p := range proposals {
		// A name is the digest of what it names: there is no way round in a circle.
		for d := p.Digest; d != ""; d = replaces[d] {
			if before[d] {
				return p.Signer, nil
			}
		}
	}
	return "", gov.Errorf(gov.KindConflict, "change_exists", "%s is another change by %s already: this proposal does not say that it replaces it", c.id, st.Author).
		WithHint("govern submit --renumber -m WHY")
}

// proposes tells whether a statement file says that it is a proposal, unverified.
func proposes(b []byte) bool {
	var outer struct {
		Payload []byte `json:"payload"`
	}
	var inner struct {
		Predicate struct {
			Decision gov.Decision `json:"decision"`
		} `json:"predicate"`
	}
	return json.Unmarshal(b, &outer) == nil && json.Unmarshal(outer.Payload, &inner) == nil && inner.Predicate.Decision == gov.DecidePropose
}

// aboutOthers leaves out what was said about content that is not taken in: it
// counts from when somebody proposes that content.
func aboutOthers(verified []statement, d gov.Digest) []statement {
	return slices.DeleteFunc(slices.Clone(verified), func(s statement) bool {
		return s.rec.Revision.Change == d
	})
}
