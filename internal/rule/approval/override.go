package approval

import (
	"slices"
	"strconv"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// judgeOverrides puts break-glass in force: statements that name requirements,
// carry a reason and an expiry, by enough people in a role that may, while no
// review is overdue. A requirement that asks for presence asks it here too.
func (j *judge) judgeOverrides() {
	signed := map[string][]gov.Recorded{}
	var ids []string
	var good []gov.Recorded
	for _, s := range j.f.Statements {
		if s.Decision != gov.DecideOverride || s.Change != j.f.Change {
			continue
		}
		if n := j.overriding(s); n != nil {
			j.reject(s, *n)
			continue
		}
		good = append(good, s)
		for _, id := range s.Requirements {
			ids = set(ids, id)
			signed[id] = append(signed[id], s)
		}
	}
	inForce := map[gov.Digest]bool{}
	for _, id := range ids {
		if o, ok := j.lift(id, signed[id]); ok {
			j.lifted[id] = o
			j.answer.Overrides = append(j.answer.Overrides, o)
			for _, d := range o.Statements {
				inForce[d] = true
			}
		}
	}
	for _, s := range good {
		if !inForce[s.Digest] {
			j.reject(s, no{CodeTooFew, "break-glass needs " + strconv.Itoa(j.f.OverridePeople) + " people for the same requirement"})
		}
	}
}

func (j *judge) overriding(s gov.Recorded) *no {
	if n := j.living(s); n != nil {
		return n
	}
	switch {
	case !j.mayOverride(s):
		return &no{CodeRoleNotHeld, s.Signer + " may not break the glass in the role of " + words(s.Role)}
	case j.barred(s.Signer, s.Role):
		return j.author(s.Signer)
	case s.Expires.IsZero():
		return &no{CodeNoExpiry, "break-glass without an expiry"}
	case len(s.Requirements) == 0:
		return &no{CodeNothingNamed, "break-glass that names no requirement"}
	case len(j.f.OverdueReviews) > 0:
		return &no{CodeReviewOverdue, "earlier break-glass still waits for its review: " + strings.Join(j.f.OverdueReviews, ", ")}
	case !s.Presence && slices.ContainsFunc(j.f.Wants, func(w Want) bool { return w.Presence }):
		return &no{CodeNoPresence, "a plain key proves no presence; use a security key"}
	}
	return nil
}

// mayOverride tells whether the role worn may break the glass and is the
// signer's. An owner is anybody who owns a group of touched paths.
func (j *judge) mayOverride(s gov.Recorded) bool {
	if s.Role == "" || !slices.Contains(j.f.OverrideRoles, s.Role) {
		return false
	}
	if s.Role != RoleOwner {
		return slices.Contains(j.people[s.Signer].Roles, s.Role)
	}
	return slices.ContainsFunc(j.f.Wants, func(w Want) bool { return w.Role == RoleOwner && j.holds(s.Signer, w) })
}

func (j *judge) lift(id string, by []gov.Recorded) (Override, bool) {
	o := Override{Requirement: id}
	var people []string
	for _, s := range by {
		people = set(people, j.ids.Of(s.Signer))
		o.By = set(o.By, s.Signer)
		o.Statements = append(o.Statements, s.Digest)
		if due := s.Time.Add(j.f.OverrideDue); o.Due.IsZero() || due.Before(o.Due) {
			o.Due = due
		}
	}
	return o, len(people) >= max(1, j.f.OverridePeople)
}

// judgeReviews finds the statements that close a review: of break-glass, of a
// revert or of a merge without permission, by somebody else than who did it,
// in a role that may override or that a stage wants. The content may have moved
// on since; so may the subject's own expiry.
func (j *judge) judgeReviews() {
	for _, s := range j.f.Statements {
		if s.Decision != gov.DecideReview || s.Change != j.f.Change {
			continue
		}
		if n := j.reviewing(s); n != nil {
			j.reject(s, *n)
			continue
		}
		j.answer.Reviews = append(j.answer.Reviews, Review{Subject: s.Subject, Statement: s.Digest, By: s.Signer})
	}
}

func (j *judge) reviewing(s gov.Recorded) *no {
	if j.revoked[s.Digest] {
		return &no{CodeRevoked, s.Signer + " took it back"}
	}
	if n := j.signer(s); n != nil {
		return n
	}
	i := slices.IndexFunc(j.f.Statements, func(o gov.Recorded) bool { return o.Digest == s.Subject })
	holder := j.mayOverride(s) || slices.ContainsFunc(j.f.Wants, func(w Want) bool { return w.Role == s.Role && j.holds(s.Signer, w) })
	switch {
	case s.Subject == "":
		return &no{CodeSubjectUnknown, "it does not say what was reviewed"}
	case i >= 0 && j.f.Statements[i].Decision != gov.DecideOverride && j.f.Statements[i].Decision != gov.DecideApprove:
		return &no{CodeSubjectUnknown, "what it names needs no review"}
	case !s.Explained:
		return &no{CodeNoRationale, "it gives no reason"}
	case !holder:
		return &no{CodeRoleNotHeld, s.Signer + " may not review in the role of " + words(s.Role)}
	case i >= 0 && j.ids.Of(j.f.Statements[i].Signer) == j.ids.Of(s.Signer) && !j.solo():
		return &no{CodeOwnReview, s.Signer + " cannot review what he did himself"}
	case j.barred(s.Signer, s.Role):
		return j.author(s.Signer)
	}
	return nil
}
