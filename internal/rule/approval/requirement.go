package approval

import (
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// requirement renders want i with all that a person needs to go on.
func (j *judge) requirement(i int) gov.Requirement {
	w := j.f.Wants[i]
	r := gov.Requirement{ID: w.ID, Kind: "approval", Text: text(w)}
	s, filled := j.filled[i]
	lifted, isLifted := j.lifted[w.ID]
	switch {
	case len(j.rejected[i]) > 0:
		r.State = gov.Failed
		r.Why = strings.Join(j.rejected[i], ", ") + " rejected this revision; it stays blocked until they take that back or the content changes"
		r.Who = j.rejected[i]
		r.Command = "govern revoke " + string(j.f.Change)
	case filled:
		r.State, r.By, r.Evidence = gov.Satisfied, []string{s.Signer}, []gov.Digest{s.Digest}
		r.Why = "signed " + stamp(s.Time)
		j.answer.Counted = append(j.answer.Counted, Counted{Statement: s.Digest, Signer: s.Signer, Role: w.Role, Stage: w.Stage, Time: s.Time})
	case isLifted:
		r.State, r.By, r.Evidence = gov.Overridden, lifted.By, lifted.Statements
		r.Why = "break-glass; review due " + stamp(lifted.Due)
	case w.Final && w.Outcome == nil:
		r.State, r.Why = gov.Waiting, "there is no outcome to approve yet"
	default:
		j.open(i, &r)
	}
	return r
}

// open says who can still fill a want. When nobody can, it has failed: no
// waiting will help.
func (j *judge) open(i int, r *gov.Requirement) {
	w := j.f.Wants[i]
	var busy bool
	if r.Who, busy = j.who(i); len(r.Who) > 0 {
		r.State = gov.Missing
		r.Command = "govern approve " + string(j.f.Change) + " --role " + w.Role
		if w.Stage != "review" {
			r.Command += " --stage " + w.Stage
		}
		switch {
		case busy:
			r.Why = "they stand for another role at this stage, which somebody else must take over"
		case w.Presence:
			r.Why = "needs a security key or a passkey"
		}
		return
	}
	r.State = gov.Failed
	r.Command = "govern people list --role " + w.Role
	if w.Role == RoleOwner && len(w.Eligible) == 0 {
		r.Why = "nobody owns " + paths(w.Paths)
		return
	}
	r.Why = "nobody in the registry can give it: no " + words(w.Role) + " with a valid key who had no hand in the change and is free for this role"
	if w.Presence {
		r.Why += " and can prove presence"
	}
}

// who lists the people whose approval alone would fill one more want of the
// stage. Where there are none, it lists those who could fill want i once others
// have taken over the roles they stand for now (busy).
func (j *judge) who(i int) (out []string, busy bool) {
	now := j.seats(j.f.Wants[i].Stage)
	at := slices.IndexFunc(now, func(s seat) bool { return s.want == i })
	// later holds the wants that are filled now, by whoever could fill them.
	var later []seat
	for _, s := range now {
		if _, done := j.filled[s.want]; done {
			s.people = slices.Clone(s.people)
			for _, h := range j.able(s.want) {
				s.people = set(s.people, j.ids.Of(h))
			}
			later = append(later, s)
		}
	}
	before, signed := len(later), now[at].people
	var after []string
	for _, h := range j.able(i) {
		p := j.ids.Of(h)
		if now[at].people = append(slices.Clone(signed), p); count(assign(now)) > before {
			out = append(out, h)
			continue
		}
		mine := seat{want: i, owner: now[at].owner, people: []string{p}}
		if count(assign(append(slices.Clone(later), mine))) > before {
			after = append(after, h)
		}
	}
	if len(out) == 0 {
		return after, true
	}
	return out, false
}

// able lists the people who could sign an approval for want i at all, sorted.
func (j *judge) able(i int) []string {
	w := j.f.Wants[i]
	var out []string
	for _, p := range j.f.People {
		if p.Kind != gov.Human || !j.holds(p.Handle, w) || j.barred(p.Handle, w.Role) {
			continue
		}
		if slices.ContainsFunc(p.Keys, func(k gov.Key) bool { return k.ValidAt(j.f.Now) && (k.Presence || !w.Presence) }) {
			out = set(out, p.Handle)
		}
	}
	slices.Sort(out)
	return out
}

func (j *judge) notes() {
	note := func(s string) { j.answer.Notes = set(j.answer.Notes, s) }
	for i := range j.f.Wants {
		s, ok := j.filled[i]
		if !ok {
			continue
		}
		if j.authors[j.ids.Of(s.Signer)] {
			note("solo: " + s.Signer + " approved as owner a change that is partly his own")
		}
		if !s.Presence {
			said := s.Signer + " signed with a plain key, which proves no person's presence"
			if j.f.AgentHand {
				said += " (an agent had a hand in it)"
			}
			note(said)
		}
	}
	if j.solo() {
		note("solo mode: at low and medium risk the owner may be the author")
	}
}

func text(w Want) string {
	object := "the revision"
	switch {
	case w.Final:
		object = "the outcome"
	case w.Stage == StageRevert:
		object = "taking it back"
	}
	who := words(w.Role)
	if len(w.Paths) > 0 {
		who += " of " + paths(w.Paths)
	}
	t := who + " approves " + object
	if w.Assessment {
		t += ", with a risk assessment"
	}
	return t
}

func paths(ps []string) string {
	switch len(ps) {
	case 0:
		return "the touched paths"
	case 1, 2:
		return strings.Join(ps, " and ")
	default:
		return ps[0] + " and other paths"
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func quoted(stage string) string {
	if stage == "" {
		return "no stage"
	}
	return "stage " + stage
}

func name(d gov.Digest) string {
	if d == "" {
		return "unknown content"
	}
	return d.Short()
}
