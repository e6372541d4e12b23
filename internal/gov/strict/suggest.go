package strict

import "strings"

// Suggest gives the candidate that was most likely meant by word, or "" when
// none is near: equal but for case, "-" and "_", or at most a third of its
// letters away, counting insertions, deletions, replacements and swaps of
// neighbours (optimal string alignment). Of equally near ones the first wins.
func Suggest(word string, candidates []string) string {
	const limit = 64 // longer words are not typing mistakes
	if len(word) == 0 || len(word) > limit {
		return ""
	}
	w := fold(word)
	best, bestDistance := "", limit
	for _, c := range candidates {
		if len(c) > limit {
			continue
		}
		f := fold(c)
		d := distance(w, f)
		if d < bestDistance && d <= max(1, max(len(w), len(f))/3) && d < len(f) {
			best, bestDistance = c, d
		}
	}
	return best
}

func fold(s string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
}

// distance is the optimal string alignment distance in bytes.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
