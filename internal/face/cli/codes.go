// codes.go: written by helper C

package cli

import "maps"

// causes explains every stable code of the tree; a test compares it with the
// sources. A code belongs into the table of the part that gives it most.
var causes = join(codesHouse, codesEngine, codesProof, codesEdge, codesRule)

func join(tables ...map[string]cause) map[string]cause {
	all := map[string]cause{}
	for _, t := range tables {
		for code := range t {
			if _, twice := all[code]; twice {
				panic("cli: the code " + code + " is explained twice") // a bug of ours, seen at the first start
			}
		}
		maps.Copy(all, t)
	}
	return all
}
