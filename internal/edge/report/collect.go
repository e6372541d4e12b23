package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

const (
	passed  = "passed"
	failed  = "failed"
	skipped = "skipped"

	maxID     = 4 << 10 // bytes of a result's id or file
	maxUnread = 20      // lines that say what could not be read
	noteSize  = 200
)

// collector gathers what a reader finds.
type collector struct {
	o       Options
	tool    string
	version string
	results []gov.Result
	at      map[resultKey]int
	twice   int

	coverage *float64
	findings int
	unread   []string
	more     int // unread lines beyond maxUnread
	notes    []string
}

type resultKey struct{ file, id string }

func newCollector(o Options) *collector {
	return &collector{o: o, at: map[resultKey]int{}}
}

// add takes one result. Of two results of the same test the worse stands.
func (c *collector) add(id, file, status string) error {
	switch {
	case strings.TrimSpace(id) == "":
		c.cannot("a result without a name")
		return nil
	case len(id) > maxID || len(file) > maxID:
		c.cannot("a result with a name of %d bytes: %s", max(len(id), len(file)), shorten(id, 60))
		return nil
	case strings.ContainsRune(id, 0) || strings.ContainsRune(file, 0):
		c.cannot("a result with U+0000 in its name: %s", shorten(id, 60))
		return nil
	}
	key := resultKey{file, id}
	if i, ok := c.at[key]; ok {
		c.twice++
		c.results[i].Status = worse(c.results[i].Status, status)
		return nil
	}
	if len(c.results) >= c.o.MaxResults {
		return tooMany(c.o.MaxResults)
	}
	c.at[key] = len(c.results)
	c.results = append(c.results, gov.Result{ID: id, File: file, Status: status})
	return nil
}

func tooMany(limit int) error {
	return gov.Errorf(gov.KindInvalid, "report_too_large", "the report has more than %d results", limit).WithHint("split it, or raise the limit")
}

func worse(a, b string) string {
	for _, s := range []string{failed, skipped} {
		if a == s || b == s {
			return s
		}
	}
	return passed
}

// cannot says what could not be read; the report then passes nowhere.
func (c *collector) cannot(format string, args ...any) {
	if len(c.unread) >= maxUnread {
		c.more++
		return
	}
	c.unread = append(c.unread, shorten(fmt.Sprintf(format, args...), noteSize))
}

func (c *collector) remark(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// evidence is everything but kind and digest.
func (c *collector) evidence() gov.Evidence {
	slices.SortFunc(c.results, func(a, b gov.Result) int {
		if n := strings.Compare(a.ID, b.ID); n != 0 {
			return n
		}
		return strings.Compare(a.File, b.File)
	})
	ev := gov.Evidence{
		Tool: clip(c.tool), Version: clip(c.version),
		Coverage: c.coverage, Findings: c.findings, Results: c.results, Unread: c.unread,
	}
	for _, r := range c.results {
		switch r.Status {
		case passed:
			ev.Passed++
		case skipped:
			ev.Skipped++
		default:
			ev.Failed++
		}
	}
	if c.more > 0 {
		ev.Unread = append(ev.Unread, strconv.Itoa(c.more)+" further parts")
	}
	return ev
}

func (c *collector) remarks() []string {
	if c.twice > 0 {
		c.remark("%s named again; the worst result of each stands", count(c.twice, "result"))
	}
	return c.notes
}

// clip bounds the name or version of a tool and leaves ordinary ones alone.
func clip(s string) string {
	if len(s) <= noteSize && !strings.ContainsRune(s, 0) {
		return s
	}
	return shorten(s, noteSize)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
