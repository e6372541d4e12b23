package report

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// block is a place in a file; go test writes one line for each, and one more
// for each package that ran it (-coverpkg).
type block struct{ file, startLine, startCol, endLine, endCol uint32 }

type covered struct {
	statements uint32
	ran        bool
}

// maxStatements of one block keep every sum exact in a float64.
const maxStatements = 1 << 24

// readCover reads a cover profile, as package golang.org/x/tools/cover
// describes it:
//
//	mode: set
//	name.go:line.column,line.column statements count
//
// Coverage is the share of statements in blocks that ran. A block named several
// times ran if it ran once, and must have the same number of statements each
// time.
func readCover(src *source, c *collector) error {
	c.tool = "go cover"
	lines := &lineReader{src: src}
	mode, err := lines.next()
	if err != nil {
		return lines.explain(err)
	}
	switch m, ok := strings.CutPrefix(string(mode), "mode: "); {
	case !ok || m != "set" && m != "count" && m != "atomic":
		return syntax(1, "a cover profile starts with mode: set, count or atomic")
	}
	files := map[string]uint32{}
	blocks := map[block]covered{}
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return lines.explain(err)
		}
		name, b, cov, err := parseBlock(string(line))
		if err != nil {
			return syntax(lines.number, "%s", err)
		}
		id, known := files[name]
		if !known {
			id = uint32(len(files))
			files[strings.Clone(name)] = id
		}
		b.file = id
		if old, twice := blocks[b]; twice {
			if old.statements != cov.statements {
				return syntax(lines.number, "a block had %d statements before and now has %d", old.statements, cov.statements)
			}
			cov.ran = cov.ran || old.ran
		}
		blocks[b] = cov
	}
	if lines.cut {
		c.cannot("line %d has no end: is the report cut off?", lines.number)
	}
	share(blocks, c)
	return nil
}

func share(blocks map[block]covered, c *collector) {
	var all, ran int64
	for _, b := range blocks {
		all += int64(b.statements)
		if b.ran {
			ran += int64(b.statements)
		}
	}
	if all == 0 {
		c.cannot("the profile holds no statement")
		return
	}
	x := float64(ran) / float64(all)
	c.coverage = &x
	c.remark("%d of %s ran", ran, count(int(all), "statement"))
}

// parseBlock reads "name.go:3.4,5.6 7 8" from its end, since names are free.
func parseBlock(line string) (string, block, covered, error) {
	var b block
	var n [6]uint64 // count, statements, endCol, endLine, startCol, startLine
	rest := line
	for i, part := range []struct {
		sep  byte
		what string
	}{{' ', "count"}, {' ', "number of statements"}, {'.', "end column"}, {',', "end line"}, {'.', "start column"}, {':', "start line"}} {
		at := strings.LastIndexByte(rest, part.sep)
		if at < 0 {
			return "", b, covered{}, fmt.Errorf("there is no %s", part.what)
		}
		size := 32
		if i == 0 {
			size = 64
		}
		v, err := strconv.ParseUint(rest[at+1:], 10, size)
		if err != nil {
			return "", b, covered{}, fmt.Errorf("the %s is not a whole number from 0 on", part.what)
		}
		n[i], rest = v, rest[:at]
	}
	switch {
	case rest == "":
		return "", b, covered{}, errors.New("there is no file name")
	case n[1] > maxStatements:
		return "", b, covered{}, fmt.Errorf("a block of more than %d statements", maxStatements)
	}
	b = block{startLine: uint32(n[5]), startCol: uint32(n[4]), endLine: uint32(n[3]), endCol: uint32(n[2])}
	return rest, b, covered{statements: uint32(n[1]), ran: n[0] > 0}, nil
}

func syntax(line int, format string, args ...any) error {
	return gov.Errorf(gov.KindInvalid, "report_syntax", "line %d: %s", line, fmt.Sprintf(format, args...))
}
