package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/governhq/govern/internal/gov"
)

const treeRoot = "../../.."

// rooms are the parts of the tree whose errors are *gov.Error. The reference
// system in studio has codes of its own, in its own contract.
var rooms = []string{"audit", "client", "cmd", "internal", "verify"}

// joinedCodes are codes that the sources put together: the file, an expression that
// must stand in it, and what comes out.
var joinedCodes = []struct {
	file, expression string
	codes            []string
}{
	{"internal/edge/git/repo.go", `kind+"_not_found"`, []string{"commit_not_found", "tree_not_found"}},
	{
		"internal/edge/deploy/deploy.go", `what + "_failed"`,
		[]string{"deploy_failed", "undeploy_failed", "health_failed", "identify_failed"},
	},
	{
		"internal/edge/deploy/deploy.go", `"target_"+what+"_missing"`,
		[]string{"target_deploy_missing", "target_undeploy_missing", "target_health_missing", "target_identify_missing"},
	},
}

// A code that is put together hides from the harvest; only the places in joinedCodes
// may do it.
var putTogether = regexp.MustCompile(`(?:\w ?\+ ?"_[a-z_]+"|"[a-z_]+_" ?\+ ?\w)`)

var codeForm = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// harvest finds the codes in Go sources by these shapes: a literal (or constant)
// handed to a parameter named code; a field Code or code of a literal; a
// variable named code that is set; the result named code of a function; and a
// constant named Code….
type harvest struct {
	fset  *token.FileSet
	found map[string][]string        // code → places
	kinds map[string]map[string]bool // code → names of gov.Kind constants beside it
}

type pkg struct {
	name   string
	files  []*ast.File
	params map[string][]int  // function → indexes of parameters named code
	consts map[string]string // constant → value
}

// add takes e as a code; kind is what stands beside it, or nil.
func (h *harvest) add(p map[string]*pkg, in *pkg, e, kind ast.Expr) {
	value, ok := h.value(p, in, e)
	if !ok || !codeForm.MatchString(value) {
		return
	}
	h.found[value] = append(h.found[value], h.fset.Position(e.Pos()).String())
	name := ""
	switch k := kind.(type) {
	case *ast.Ident:
		name = k.Name
	case *ast.SelectorExpr:
		name = k.Sel.Name
	}
	if strings.HasPrefix(name, "Kind") {
		if h.kinds[value] == nil {
			h.kinds[value] = map[string]bool{}
		}
		h.kinds[value][name] = true
	}
}

func (h *harvest) value(all map[string]*pkg, in *pkg, e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return s, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		s, ok := in.consts[e.Name]
		return s, ok
	case *ast.SelectorExpr:
		x, ok := e.X.(*ast.Ident)
		if !ok {
			return "", false
		}
		for _, p := range all {
			if p.name == x.Name {
				if s, ok := p.consts[e.Sel.Name]; ok {
					return s, true
				}
			}
		}
	}
	return "", false
}

// sources parses every package of the rooms, tests left out.
func sources(t *testing.T, fset *token.FileSet) map[string]*pkg {
	t.Helper()
	all := map[string]*pkg{}
	for _, room := range rooms {
		err := filepath.WalkDir(filepath.Join(treeRoot, room), func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && d.Name() == "testdata" {
				return fs.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return nil
			}
			f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			dir := filepath.Dir(name)
			if all[dir] == nil {
				all[dir] = &pkg{name: f.Name.Name, params: map[string][]int{}, consts: map[string]string{}}
			}
			all[dir].files = append(all[dir].files, f)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range all {
		p.declare()
	}
	return all
}

// declare notes constants and functions that take a code.
func (p *pkg) declare() {
	for _, f := range p.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GenDecl:
				for _, s := range n.Specs {
					if vs, ok := s.(*ast.ValueSpec); ok && n.Tok == token.CONST {
						for i, name := range vs.Names {
							if i < len(vs.Values) {
								if lit, ok := vs.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
									p.consts[name.Name], _ = strconv.Unquote(lit.Value)
								}
							}
						}
					}
				}
			case *ast.FuncDecl:
				p.takes(n.Name.Name, n.Type)
			case *ast.Field:
				if ft, ok := n.Type.(*ast.FuncType); ok && len(n.Names) == 1 {
					p.takes(n.Names[0].Name, ft)
				}
			case *ast.AssignStmt:
				if len(n.Lhs) == 1 && len(n.Rhs) == 1 {
					name, ok := n.Lhs[0].(*ast.Ident)
					if lit, isFunc := n.Rhs[0].(*ast.FuncLit); ok && isFunc {
						p.takes(name.Name, lit.Type)
					}
				}
			}
			return true
		})
	}
}

func (p *pkg) takes(name string, ft *ast.FuncType) {
	i := 0
	for _, field := range ft.Params.List {
		for _, param := range field.Names {
			if param.Name == "code" && !slices.Contains(p.params[name], i) {
				p.params[name] = append(p.params[name], i)
			}
			i++
		}
	}
}

func named(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "code" || e.Name == "Code"
	case *ast.SelectorExpr:
		return e.Sel.Name == "code" || e.Sel.Name == "Code"
	}
	return false
}

func (h *harvest) walk(all map[string]*pkg, p *pkg) {
	for _, f := range p.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				h.call(all, p, n)
			case *ast.CompositeLit:
				h.literal(all, p, n)
			case *ast.AssignStmt:
				for i, l := range n.Lhs {
					if named(l) && i < len(n.Rhs) {
						h.add(all, p, n.Rhs[i], nil)
					}
				}
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if (strings.HasPrefix(name.Name, "Code") || strings.HasPrefix(name.Name, "code")) && i < len(n.Values) {
						h.add(all, p, n.Values[i], nil)
					}
				}
			case *ast.FuncDecl:
				h.results(all, p, n)
			}
			return true
		})
	}
}

// literal reads the field named code, with its key or, in a table of an unnamed
// struct, by its place.
func (h *harvest) literal(all map[string]*pkg, p *pkg, c *ast.CompositeLit) {
	var code, kind ast.Expr
	for _, e := range c.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		if named(kv.Key) {
			code = kv.Value
		}
		if id, ok := kv.Key.(*ast.Ident); ok && id.Name == "Kind" {
			kind = kv.Value
		}
	}
	if code != nil {
		h.add(all, p, code, kind)
	}
	array, ok := c.Type.(*ast.ArrayType)
	if !ok {
		return
	}
	st, ok := array.Elt.(*ast.StructType)
	if !ok {
		return
	}
	i := 0
	for _, field := range st.Fields.List {
		for _, name := range field.Names {
			for _, row := range c.Elts {
				if lit, ok := row.(*ast.CompositeLit); ok && named(name) && i < len(lit.Elts) {
					h.add(all, p, lit.Elts[i], nil)
				}
			}
			i++
		}
	}
}

func (h *harvest) call(all map[string]*pkg, p *pkg, c *ast.CallExpr) {
	var name string
	from := p
	switch fun := c.Fun.(type) {
	case *ast.Ident:
		name = fun.Name
	case *ast.SelectorExpr:
		name = fun.Sel.Name
		if x, ok := fun.X.(*ast.Ident); ok {
			for _, other := range all {
				if other.name == x.Name && len(other.params[name]) > 0 {
					from = other
				}
			}
		}
	}
	for _, i := range from.params[name] {
		if i < len(c.Args) {
			h.add(all, p, c.Args[i], c.Args[max(0, i-1)])
		}
	}
}

// results reads what a function returns for its result named code.
func (h *harvest) results(all map[string]*pkg, p *pkg, f *ast.FuncDecl) {
	if f.Type.Results == nil || f.Body == nil {
		return
	}
	at, i := -1, 0
	for _, field := range f.Type.Results.List {
		for _, r := range field.Names {
			if r.Name == "code" {
				at = i
			}
			i++
		}
	}
	if at < 0 {
		return
	}
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if _, inner := n.(*ast.FuncLit); inner {
			return false
		}
		if r, ok := n.(*ast.ReturnStmt); ok && at < len(r.Results) {
			h.add(all, p, r.Results[at], nil)
		}
		return true
	})
}

func codesInUse(t *testing.T) *harvest {
	t.Helper()
	h := &harvest{fset: token.NewFileSet(), found: map[string][]string{}, kinds: map[string]map[string]bool{}}
	all := sources(t, h.fset)
	for _, dir := range slices.Sorted(maps.Keys(all)) {
		if filepath.ToSlash(dir) == treeRoot+"/internal/face/cli" {
			// The table itself must not count as a use.
			all[dir].files = slices.DeleteFunc(all[dir].files, func(f *ast.File) bool {
				return strings.HasPrefix(filepath.Base(h.fset.Position(f.Pos()).Filename), "codes")
			})
		}
		h.walk(all, all[dir])
	}
	for _, b := range joinedCodes {
		text, err := os.ReadFile(filepath.Join(treeRoot, b.file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), b.expression) {
			t.Errorf("%s no longer has %s; correct the list of joined codes", b.file, b.expression)
			continue
		}
		for _, c := range b.codes {
			h.found[c] = append(h.found[c], b.file)
		}
	}
	return h
}

func TestEveryCodeIsExplained(t *testing.T) {
	used := codesInUse(t).found
	if len(used) < 400 {
		t.Fatalf("only %d codes found: the harvest is broken", len(used))
	}
	for _, c := range slices.Sorted(maps.Keys(used)) {
		if _, ok := causes[c]; !ok {
			t.Errorf("%s is used and not explained: %s", c, used[c][0])
		}
	}
	for _, c := range sortedKeys(causes) {
		if used[c] == nil {
			t.Errorf("%s is explained and used nowhere", c)
		}
	}
}

// The kind in the table is one that the sources give the code; a code that is
// an error somewhere has one.
func TestKindsAreThoseOfTheSources(t *testing.T) {
	h := codesInUse(t)
	names := map[gov.Kind]string{
		gov.KindInvalid: "KindInvalid", gov.KindRefused: "KindRefused", gov.KindPending: "KindPending", gov.KindDenied: "KindDenied",
		gov.KindNotFound: "KindNotFound", gov.KindConflict: "KindConflict", gov.KindIntegrity: "KindIntegrity",
		gov.KindTimeout: "KindTimeout", gov.KindUnavailable: "KindUnavailable", gov.KindInternal: "KindInternal",
	}
	for _, c := range sortedKeys(causes) {
		if said := h.kinds[c]; len(said) > 0 && !said[names[causes[c].Kind]] {
			t.Errorf("%s is %q in the table and %v in the sources", c, causes[c].Kind, slices.Sorted(maps.Keys(said)))
		}
	}
}

func TestNoOtherCodeIsPutTogether(t *testing.T) {
	for _, room := range rooms {
		err := filepath.WalkDir(filepath.Join(treeRoot, room), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			for i, line := range strings.Split(string(text), "\n") {
				known := slices.ContainsFunc(joinedCodes, func(b struct {
					file, expression string
					codes            []string
				},
				) bool {
					return strings.HasSuffix(filepath.ToSlash(name), b.file) && strings.Contains(line, b.expression)
				})
				if (strings.Contains(line, "Errorf(") || strings.Contains(line, "Code:")) && putTogether.MatchString(line) && !known {
					t.Errorf("%s:%d puts a code together that no table can hold: %s", name, i+1, strings.TrimSpace(line))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestCausesAreWhole(t *testing.T) {
	for code, c := range causes {
		if !codeForm.MatchString(code) || c.Cause == "" || c.Next == "" {
			t.Errorf("%s: %+v", code, c)
		}
		if _, ok := exitOf[c.Kind]; !ok && c.Kind != "" {
			t.Errorf("%s has the unknown kind %q", code, c.Kind)
		}
		if strings.ContainsAny(c.Cause+c.Next, "\n\t") || !strings.HasSuffix(c.Cause, ".") {
			t.Errorf("%s: the cause is no plain sentence: %q", code, c.Cause)
		}
	}
}
