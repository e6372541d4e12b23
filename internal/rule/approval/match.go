package approval

import (
	"slices"

	"github.com/governhq/govern/internal/gov"
)

// seat is one thing a stage demands of one person: a want, or, for owners, any
// of several wants, since one person may own several groups of paths.
type seat struct {
	want   int
	owner  bool
	people []string // identities that can fill it, in log order of their statements
}

// fill assigns people to the wants of a stage: one person stands for one role,
// an owner for all his groups. As many wants as possible are filled; among
// equally good assignments the one of earlier wants and statements is taken.
func (j *judge) fill(stage string) {
	seats := j.seats(stage)
	got := assign(seats)
	for i, s := range seats {
		if got[i] == "" {
			continue
		}
		list := j.fits[s.want]
		k := slices.IndexFunc(list, func(r gov.Recorded) bool { return j.ids.Of(r.Signer) == got[i] })
		j.filled[s.want] = list[k]
	}
}

// seats builds the seats of a stage from the statements that fit.
func (j *judge) seats(stage string) []seat {
	var out []seat
	for i, w := range j.f.Wants {
		if w.Stage != stage {
			continue
		}
		s := seat{want: i, owner: w.Role == RoleOwner}
		for _, r := range j.fits[i] {
			s.people = set(s.people, j.ids.Of(r.Signer))
		}
		out = append(out, s)
	}
	return out
}

// maxSteps bounds the search. Real stages have a handful of roles and
// statements and need a few dozen steps; past the bound the best assignment so
// far stands, which can only leave a requirement open.
const maxSteps = 200_000

// assign gives each seat an identity or "". Seats that are no owner's take
// distinct people by backtracking; an owner's seat then takes anybody who is
// left, shared among owner's seats.
func assign(seats []seat) []string {
	var others []int
	most := 0 // seats that anybody can fill
	for i, s := range seats {
		if !s.owner {
			others = append(others, i)
		}
		most += min(1, len(s.people))
	}
	best, bestN := make([]string, len(seats)), -1
	now := make([]string, len(seats))
	used := map[string]bool{}
	steps := 0
	var try func(k, n int)
	try = func(k, n int) {
		steps++
		if bestN == most || steps > maxSteps {
			return
		}
		if k == len(others) {
			for i, s := range seats {
				if s.owner {
					now[i] = first(s.people, used)
					if now[i] != "" {
						n++
					}
				}
			}
			if n > bestN {
				bestN = n
				copy(best, now)
			}
			return
		}
		i := others[k]
		for _, p := range seats[i].people {
			if used[p] {
				continue
			}
			used[p], now[i] = true, p
			try(k+1, n+1)
			delete(used, p)
		}
		now[i] = ""
		try(k+1, n)
	}
	try(0, 0)
	return best
}

// count tells how many seats an assignment fills.
func count(got []string) int {
	n := 0
	for _, p := range got {
		n += min(1, len(p))
	}
	return n
}

func first(people []string, used map[string]bool) string {
	for _, p := range people {
		if !used[p] {
			return p
		}
	}
	return ""
}

// set appends s when it is not there.
func set(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
