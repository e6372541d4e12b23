package report

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// Reduce keeps of ev's results what a signed statement needs, so that the JSON
// of the answer is at most max bytes long (a signed statement must stay below
// 60 KiB). Kept are, as far as there is room and in this order: failed results;
// skipped results that wanted could mean; passed ones that it could mean, one
// from each place first; then the rest, skipped before passed.
//
// wanted holds tests_run ids, files, folders or packages; callers add the ids
// that failed in earlier reports of the same tree, so that a second run can heal
// them. The counts stay those of the whole report, so what was left out is
// Passed+Failed+Skipped minus len(Results) (see LeftOut). When a failed result,
// or a skipped one that wanted could mean, finds no room, Unread says so, and
// the evidence passes nowhere. When not even the rest of ev fits, Unread is cut
// to its first line, and the answer may be longer than max.
func Reduce(ev gov.Evidence, wanted []string, max int) gov.Evidence {
	if size(ev) <= max {
		return ev
	}
	all := ev.Results
	ev.Results = nil
	left := max - room(&ev, max)
	order := rank(all, wanted)
	taken := make([]bool, len(all))
	var lostFailed, lostSkipped int
	for _, p := range order {
		r := all[p.at]
		need := size(r) + 1 // and a comma
		if need > left {
			switch {
			case p.rank == rankFailed:
				lostFailed++
			case p.rank == rankWantedSkipped:
				lostSkipped++
			}
			continue
		}
		left -= need
		taken[p.at] = true
	}
	for i, r := range all {
		if taken[i] {
			ev.Results = append(ev.Results, r)
		}
	}
	ev.Unread = slices.Clone(ev.Unread)
	if lostFailed > 0 {
		ev.Unread = append(ev.Unread, count(lostFailed, "failed result")+" not named for lack of room")
	}
	if lostSkipped > 0 {
		ev.Unread = append(ev.Unread, count(lostSkipped, "skipped result")+" among those wanted not named for lack of room")
	}
	return ev
}

// notices is the room kept for the lines that Reduce itself may add and for the
// key of the results.
const notices = 256

// room makes ev without results fit, and tells how many bytes that takes.
func room(ev *gov.Evidence, max int) int {
	if used := size(ev) + notices; used <= max || len(ev.Unread) < 2 {
		return used
	}
	ev.Unread = []string{shorten(ev.Unread[0], noteSize), "and more"}
	return size(ev) + notices
}

// LeftOut tells how many results ev counts without naming them.
func LeftOut(ev gov.Evidence) int {
	return max(0, ev.Passed+ev.Failed+ev.Skipped-len(ev.Results))
}

// size is the length of v's JSON.
func size(v any) int {
	b, err := json.Marshal(v)
	if err != nil { // gov.Evidence holds nothing but strings and numbers; NaN does not fit
		return 1 << 30
	}
	return len(b)
}

// Ranks, best first.
const (
	rankFailed = iota
	rankWantedSkipped
	rankWantedPlace // the first passed one of a place
	rankWanted
	rankSkipped
	rankPassed
)

type ranked struct{ at, rank int }

// rank orders results by how much a decision may need them.
func rank(all []gov.Result, wanted []string) []ranked {
	ws := make([]want, 0, len(wanted))
	for _, w := range wanted {
		ws = append(ws, newWant(w))
	}
	places := map[string]bool{}
	out := make([]ranked, 0, len(all))
	for i, r := range all {
		p := ranked{i, rankPassed}
		switch ps := matches(ws, r); {
		case r.Status != passed && r.Status != skipped:
			p.rank = rankFailed
		case r.Status == skipped && len(ps) > 0:
			p.rank = rankWantedSkipped
		case r.Status == skipped:
			p.rank = rankSkipped
		case len(ps) > 0:
			p.rank = rankWanted
			for _, place := range ps {
				if !places[place] {
					places[place], p.rank = true, rankWantedPlace
				}
			}
		}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b ranked) int { return a.rank - b.rank })
	return out
}

// want is one wanted name, split into its words.
type want struct {
	raw, file string
	words     []string
}

func newWant(w string) want {
	return want{raw: w, file: clean(w), words: words(w)}
}

// words splits a name at everything that separates folders, files, classes and
// tests in any tool's way of writing it, and leaves out parameters and ".py".
// It splits finer than rule/evidence does, so that whatever the rule takes for a
// match is one here.
func words(s string) []string {
	s = strings.TrimSpace(s)
	if i := strings.IndexByte(s, '['); i > 0 && strings.HasSuffix(s, "]") {
		s = s[:i]
	}
	var out []string
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == '/' || r == '\\' || r == '.' || r == ':' }) {
		if w != "py" {
			out = append(out, w)
		}
	}
	return out
}

func clean(f string) string {
	if f == "" {
		return ""
	}
	return path.Clean(strings.ReplaceAll(f, `\`, "/"))
}

// matches lists for each wanted name that could mean r the place that r then
// has: the name with what stands before it.
func matches(ws []want, r gov.Result) []string {
	if len(ws) == 0 {
		return nil
	}
	var out []string
	id, file := words(r.ID), words(clean(r.File))
	for i, w := range ws {
		if place, ok := w.match(r, id, file); ok {
			out = append(out, strconv.Itoa(i)+"\x00"+place)
		}
	}
	return out
}

func (w want) match(r gov.Result, id, file []string) (string, bool) {
	f := clean(r.File)
	switch {
	case r.ID == w.raw, strings.HasPrefix(r.ID, w.raw+"/"), strings.HasPrefix(r.ID, w.raw+"::"):
		return f, true
	case len(w.words) == 0: // "." and "./..." mean everything
		return "", true
	case f != "" && (f == w.file || strings.HasPrefix(f, w.file+"/")):
		return f, true
	}
	if place, ok := contains(id, w.words); ok {
		return f + "\x00" + place, true
	}
	for k := 0; k <= min(len(file), len(id)); k++ {
		if slices.Equal(file[len(file)-k:], id[:k]) {
			if place, ok := contains(slices.Concat(file, id[k:]), w.words); ok {
				return place, true
			}
		}
	}
	return "", false
}

// contains finds words in name and gives what stands before them.
func contains(name, ws []string) (string, bool) {
	for i := 0; i+len(ws) <= len(name); i++ {
		if slices.Equal(name[i:i+len(ws)], ws) {
			return strings.Join(name[:i], "/"), true
		}
	}
	return "", false
}
