package report

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/governhq/govern/internal/gov"
)

// readSARIF reads the Static Analysis Results Interchange Format 2.1.0 (OASIS
// Standard; section numbers in this package are its).
//
// A result whose level is error failed. The level is the result's own, else that
// of an override, else the default of its rule, else warning (3.27.10). A result
// of the kind pass passed. Warnings, notes, results that do not apply, that were
// suppressed with acceptance (3.27.23) or that are gone from the code count as
// skipped: nothing was proved by them. A run whose invocation was not successful
// is a failed result of its own. What leaves the answer open is Unread: no run,
// a run without results (3.14.23: nothing was scanned), results in other files,
// results that wait for a person, errors the tool met while it ran.
//
// A result's id is "rule file:line:column", with the tool in front where
// several ran, and " #2" behind what occurs again.
func readSARIF(src *source, c *collector) error {
	w := newWalker(src, c.o.MaxDepth)
	log := sarifLog{walker: w, limit: c.o.MaxResults}
	if err := w.object(log.key); err != nil {
		return err
	}
	if err := w.end(); err != nil {
		return err
	}
	if log.version != "2.1.0" {
		return gov.Errorf(gov.KindInvalid, "report_version", "SARIF of version %q cannot be read; 2.1.0 can", shorten(log.version, 20)).
			WithHint("ask the tool for SARIF 2.1.0")
	}
	if len(log.runs) == 0 {
		c.cannot("there is no run: nothing shows that a tool ran")
	}
	if log.inline {
		c.cannot("results in inlineExternalProperties")
	}
	log.tools(c)
	s := scan{c: c, seen: map[string]int{}, many: strings.Contains(c.tool, ", ")}
	for i := range log.runs {
		if err := s.run(i, &log.runs[i]); err != nil {
			return err
		}
	}
	s.sayCounts()
	return nil
}

// tools names the tools of all runs, each once.
func (l *sarifLog) tools(c *collector) {
	var names, versions []string
	for i, r := range l.runs {
		if strings.TrimSpace(r.driver.name) == "" {
			c.cannot("run %d names no tool", i)
			continue
		}
		if !slices.Contains(names, r.driver.name) {
			names = append(names, r.driver.name)
			versions = append(versions, r.driver.version)
		}
	}
	c.tool = strings.Join(names, ", ")
	if len(versions) == 1 {
		c.version = versions[0]
	}
}

// scan turns runs into results.
type scan struct {
	c    *collector
	seen map[string]int // how often an id occurred
	many bool           // tools

	warnings, suppressed, open int
}

func (s *scan) sayCounts() {
	if s.warnings > 0 {
		s.c.remark("%s below the level error", count(s.warnings, "finding"))
	}
	if s.suppressed > 0 {
		s.c.remark("%s suppressed", count(s.suppressed, "finding"))
	}
	if s.open > 0 {
		s.c.cannot("%s for which the tool asks a person or could not decide", count(s.open, "result"))
	}
}

func (s *scan) run(n int, r *sarifRun) error {
	if !r.hasResults {
		s.c.cannot("run %d has no list of results: nothing shows that it scanned", n)
	}
	if r.external {
		s.c.cannot("run %d keeps parts in other files", n)
	}
	for i, inv := range r.invocations {
		if !inv.told {
			s.c.cannot("invocation %d of run %d does not say whether it was successful", i, n)
		} else if !inv.successful {
			if err := s.add(r, "invocation "+strconv.Itoa(i)+" was not successful", "", failed); err != nil {
				return err
			}
		}
		if inv.errors > 0 {
			s.c.cannot("run %d met %s while it ran", n, count(inv.errors, "error"))
		}
	}
	for i := range r.results {
		res := &r.results[i]
		status := s.judge(n, r, res)
		if status == failed {
			s.c.findings++
		}
		id, file := r.place(res)
		if err := s.add(r, id, file, status); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) add(r *sarifRun, id, file, status string) error {
	if s.many {
		id = r.driver.name + ": " + id
	}
	s.seen[id]++
	if n := s.seen[id]; n > 1 {
		id += " #" + strconv.Itoa(n)
	}
	return s.c.add(id, file, status)
}

// judge gives the status of one result.
func (s *scan) judge(n int, r *sarifRun, res *sarifResult) string {
	level := res.level
	if level == "" && res.kind == "fail" {
		level = r.levelOf(res, func(why string) { s.c.cannot("run %d: %s", n, why) })
	}
	switch level {
	case "", "none", "note", "warning", "error":
	default:
		s.c.cannot("run %d: level %s", n, shorten(level, 40))
		return failed
	}
	switch {
	case res.suppressions > 0 && !res.unsettled:
		s.suppressed++
		return skipped
	case res.baseline == "absent":
		return skipped
	case level == "error":
		return failed
	}
	switch res.kind {
	case "pass":
		return passed
	case "fail":
		s.warnings++
	case "open", "review":
		s.open++
	case "informational", "notApplicable":
	default:
		s.c.cannot("run %d: kind %s", n, shorten(res.kind, 40))
		return failed
	}
	return skipped
}

// place gives a result its id and its file.
func (r *sarifRun) place(res *sarifResult) (id, file string) {
	id = res.rule.id
	if rule, _ := r.rule(res.rule); id == "" && rule != nil {
		id = rule.id
	}
	if id == "" {
		id = "(no rule)"
	}
	file = res.uri
	if file == "" && res.artifact >= 0 && res.artifact < len(r.artifacts) {
		file = r.artifacts[res.artifact]
	}
	if u, err := url.PathUnescape(file); err == nil && utf8.ValidString(u) && !strings.Contains(file, "://") {
		file = u
	}
	if file == "" {
		return id, ""
	}
	id += " " + file
	if res.line > 0 {
		id += ":" + strconv.Itoa(res.line)
		if res.column > 0 {
			id += ":" + strconv.Itoa(res.column)
		}
	}
	return id, file
}

// levelOf is the level of a result that has none of its own (3.27.10).
func (r *sarifRun) levelOf(res *sarifResult, cannot func(string)) string {
	rule, ok := r.rule(res.rule)
	if !ok {
		cannot("a result points to a rule that is not there, so its level is unknown")
		return "error"
	}
	level := "warning"
	if rule != nil && rule.level != "" {
		level = rule.level
	}
	if rule == nil {
		return level
	}
	// Without the number of its invocation a result may have run under any of
	// them: then an override counts only towards the worse.
	if o, ok := r.overriding()[inRun{max(-1, res.invocation), rule}]; ok {
		level = o
	}
	return level
}

// inRun is a rule under one invocation; -1 means under any.
type inRun struct {
	invocation int
	rule       *sarifRule
}

// overriding holds the levels that invocations set for rules; under -1 stand
// those that an invocation raises to error.
func (r *sarifRun) overriding() map[inRun]string {
	if r.overrides != nil {
		return r.overrides
	}
	r.overrides = map[inRun]string{}
	for i, inv := range r.invocations {
		for _, o := range inv.overrides {
			rule, ok := r.rule(o.rule)
			if !ok || rule == nil || o.level == "" {
				continue
			}
			r.overrides[inRun{i, rule}] = o.level
			if o.level == "error" {
				r.overrides[inRun{-1, rule}] = o.level
			}
		}
	}
	return r.overrides
}

// rule looks a rule up (3.52): nil when the report does not describe it, false
// when the reference contradicts the report.
func (r *sarifRun) rule(ref ruleRef) (*sarifRule, bool) {
	comp, ok := r.component(ref)
	if !ok {
		return nil, false
	}
	if ref.index >= 0 {
		if ref.index >= len(comp.rules) {
			return nil, false
		}
		rule := &comp.rules[ref.index]
		below := strings.HasPrefix(ref.id, rule.id+"/")
		return rule, ref.id == "" || rule.id == ref.id || below
	}
	if rule := comp.find(ref); rule != nil {
		return rule, true
	}
	for i := range r.extensions { // tools leave out in which component the rule stands
		if rule := r.extensions[i].find(ref); rule != nil && !ref.placed {
			return rule, true
		}
	}
	return nil, true
}

// component finds the tool component that a reference means (3.54).
func (r *sarifRun) component(ref ruleRef) (*component, bool) {
	if !ref.placed {
		return &r.driver, true
	}
	if ref.component >= 0 {
		if ref.component >= len(r.extensions) {
			return nil, false
		}
		return &r.extensions[ref.component], true
	}
	all := []*component{&r.driver}
	for i := range r.extensions {
		all = append(all, &r.extensions[i])
	}
	for _, c := range all {
		if ref.compGUID != "" && strings.EqualFold(c.guid, ref.compGUID) || ref.compGUID == "" && c.name == ref.compName {
			return c, true
		}
	}
	return nil, false
}

// find looks up a rule by id, also a hierarchical one (3.5.4), or by guid.
func (c *component) find(ref ruleRef) *sarifRule {
	if c.byID == nil {
		c.byID, c.byGUID = make(map[string]int, len(c.rules)), map[string]int{}
		for i := len(c.rules) - 1; i >= 0; i-- { // the first of each stands
			c.byID[c.rules[i].id] = i
			if g := c.rules[i].guid; g != "" {
				c.byGUID[strings.ToLower(g)] = i
			}
		}
	}
	if len(ref.id) > maxID {
		return nil
	}
	for id := ref.id; id != ""; {
		if i, ok := c.byID[id]; ok {
			return &c.rules[i]
		}
		id = id[:max(0, strings.LastIndexByte(id, '/'))]
	}
	if ref.id == "" && ref.guid != "" {
		if i, ok := c.byGUID[strings.ToLower(ref.guid)]; ok {
			return &c.rules[i]
		}
	}
	return nil
}
