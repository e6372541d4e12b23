package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/governhq/govern"

// seat is one row of the import table: the packages at Path (a trailing /...
// means the tree) and the rooms of this module they may import directly.
type seat struct {
	path  string
	may   []string
	pure  bool     // no world: os, net, time.Now, rand, goroutines' helpers
	third []string // third-party prefixes a pure room may import
	world []string // forbidden packages a pure room may import all the same, each with its reason
}

var seats = []seat{
	{path: "internal/gov/...", may: []string{"internal/gov/..."}, pure: true},
	{path: "internal/gov/strict", may: []string{"internal/gov/..."}, pure: true, world: []string{"sync"}}, // a cache of field names by type
	{path: "internal/rule/policy", may: gov, pure: true, third: []string{"github.com/goccy/go-yaml", "cel.dev/cel-go", "google.golang.org/genproto/googleapis/api/expr", "cel.dev/expr"}},
	{path: "internal/rule/contract", may: gov, pure: true, third: []string{"github.com/santhosh-tekuri/jsonschema/v6", "github.com/bufbuild/protocompile", "github.com/hamba/avro/v2", "github.com/Masterminds/semver/v3", "github.com/goccy/go-yaml"}},
	{path: "internal/rule/approval", may: gov, pure: true},
	{path: "internal/rule/evidence", may: gov, pure: true},
	{path: "internal/rule/change", may: gov, pure: true},
	{path: "internal/rule/canary", may: gov, pure: true},
	{path: "internal/rule/document", may: gov, pure: true},
	{path: "internal/proof/...", may: []string{"internal/gov/...", "internal/proof/..."}},
	{path: "internal/view", may: []string{"internal/gov/...", "internal/rule/..."}},
	{path: "internal/engine", may: []string{"internal/gov/...", "internal/rule/...", "internal/proof/...", "internal/view"}},
	{path: "internal/edge/git", may: rules},
	{path: "internal/edge/traffic", may: rules},
	{path: "internal/edge/traffic/traffictest", may: []string{"internal/gov/...", "internal/edge/traffic"}},
	{path: "internal/edge/deploy", may: rules},
	{path: "internal/edge/report", may: rules},
	{path: "client", may: gov},
	{path: "internal/face/api", may: faces},
	{path: "internal/face/cli", may: faces},
	{path: "internal/demo", may: []string{"..."}},
	{path: "internal/wire", may: []string{"..."}},
	{path: "internal/archtest"},
	{path: "cmd/...", may: []string{"..."}},
	{path: "audit", may: []string{"internal/gov/...", "internal/proof/...", "internal/rule/..."}},
	{path: "verify", may: []string{"internal/gov/...", "internal/proof/...", "internal/rule/..."}},
	{path: "studio/...", may: []string{"audit", "studio/..."}},
}

var (
	gov   = []string{"internal/gov/..."}
	rules = []string{"internal/gov/...", "internal/rule/..."}
	faces = []string{"internal/gov/...", "internal/rule/...", "client", "internal/engine", "internal/view"}
)

// forbidden are the standard packages through which a pure room would reach
// the world; time is allowed but time.Now and timers are not.
var forbidden = []string{
	"os", "net", "net/http", "database/sql", "log", "log/slog", "sync", "sync/atomic",
	"math/rand", "math/rand/v2", "crypto/rand", "io/ioutil", "os/exec", "syscall", "context",
}

var forbiddenTime = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

func match(pattern, path string) bool {
	if pattern == "..." {
		return true
	}
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return pattern == path
}

func seatOf(path string) (seat, bool) {
	var best seat
	found := false
	for _, s := range seats {
		if match(s.path, path) && (!found || len(s.path) > len(best.path)) {
			best, found = s, true
		}
	}
	return best, found
}

type source struct {
	dir  string // relative to the module
	file string
	ast  *ast.File
}

// sources parses every Go file of the module, tests apart.
func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var out []source
	fset := token.NewFileSet()
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || isModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		out = append(out, source{dir: filepath.ToSlash(rel), file: filepath.Base(path), ast: f})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("only %d files found below %s: the test looks in the wrong place", len(out), root)
	}
	return out
}

func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// violations is the whole rule book as a function, so that the test can test it.
func violations(dir string, f *ast.File) []string {
	s, ok := seatOf(dir)
	if !ok {
		return []string{"package " + dir + " has no seat: a new room is a decision (ARCHITECTURE.md, docs/decisions, this table)"}
	}
	var out []string
	timeName := ""
	for _, imp := range f.Imports {
		path, _ := strconv.Unquote(imp.Path.Value)
		if path == "time" {
			timeName = "time"
			if imp.Name != nil {
				timeName = imp.Name.Name
			}
		}
		if why := refuse(s, dir, path); why != "" {
			out = append(out, dir+" imports "+path+": "+why)
		}
	}
	if s.pure && timeName != "" {
		ast.Inspect(f, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if id, ok := sel.X.(*ast.Ident); ok && id.Name == timeName && slices.Contains(forbiddenTime, sel.Sel.Name) {
					out = append(out, dir+" uses time."+sel.Sel.Name+": pure rooms get the time as an argument")
				}
			}
			return true
		})
	}
	if s.pure {
		ast.Inspect(f, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				out = append(out, dir+" starts a goroutine: pure rooms do not")
			}
			return true
		})
	}
	return out
}

func refuse(s seat, dir, path string) string {
	if room, ok := strings.CutPrefix(path, module+"/"); ok {
		if slices.ContainsFunc(s.may, func(p string) bool { return match(p, room) }) {
			return ""
		}
		return "not allowed by the import table"
	}
	if !s.pure {
		return ""
	}
	if slices.Contains(forbidden, path) && !slices.Contains(s.world, path) {
		return "pure rooms do not touch the world"
	}
	if strings.Contains(strings.Split(path, "/")[0], ".") &&
		!slices.ContainsFunc(s.third, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") }) {
		return "third-party package not in the table"
	}
	return ""
}

func TestImportsPointDown(t *testing.T) {
	for _, src := range sources(t) {
		for _, v := range violations(src.dir, src.ast) {
			t.Errorf("%s (%s)", v, src.file)
		}
	}
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	docs := map[string]string{}
	for _, src := range sources(t) {
		if src.ast.Doc != nil {
			docs[src.dir] += src.ast.Doc.Text()
		} else if _, ok := docs[src.dir]; !ok {
			docs[src.dir] = ""
		}
	}
	for dir, doc := range docs {
		if strings.HasPrefix(dir, "cmd/") {
			if doc == "" {
				t.Errorf("%s has no package comment", dir)
			}
			continue
		}
		if !strings.Contains(doc, "promise") || !strings.Contains(doc, "never") {
			t.Errorf("the package comment of %s must say what it promises and what it never does", dir)
		}
	}
}

// TestPlantedViolations plants each kind of breach and sees it caught.
func TestPlantedViolations(t *testing.T) {
	for name, tc := range map[string]struct{ dir, src, want string }{
		"rule imports sibling":     {"internal/rule/change", `import _ "` + module + `/internal/rule/policy"`, "import table"},
		"rule reads the clock":     {"internal/rule/change", `import "time"; var x = time.Now()`, "time.Now"},
		"renamed clock":            {"internal/rule/change", `import tt "time"; var x = tt.Now()`, "time.Now"},
		"rule opens files":         {"internal/rule/canary", `import _ "os"`, "world"},
		"rule starts a goroutine":  {"internal/rule/canary", `func f() { go f() }`, "goroutine"},
		"gov imports third party":  {"internal/gov", `import _ "github.com/google/uuid"`, "third-party"},
		"edge imports engine":      {"internal/edge/git", `import _ "` + module + `/internal/engine"`, "import table"},
		"edge imports edge":        {"internal/edge/git", `import _ "` + module + `/internal/edge/traffic"`, "import table"},
		"face imports sibling":     {"internal/face/cli", `import _ "` + module + `/internal/face/api"`, "import table"},
		"studio imports internals": {"studio", `import _ "` + module + `/internal/gov"`, "import table"},
		"view imports proof":       {"internal/view", `import _ "` + module + `/internal/proof/ledger"`, "import table"},
		"package without a seat":   {"internal/util", ``, "no seat"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+tc.src, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(violations(tc.dir, f), "\n")
			if !strings.Contains(got, tc.want) {
				t.Errorf("violations = %q, want one about %q", got, tc.want)
			}
		})
	}
}

// TestPublicSignatures: no exported signature of a public package names an
// internal type.
func TestPublicSignatures(t *testing.T) {
	for _, src := range sources(t) {
		if src.dir != "audit" && src.dir != "verify" && !strings.HasPrefix(src.dir, "studio") {
			continue
		}
		for _, v := range internalInExported(src.ast) {
			t.Errorf("%s/%s: %s", src.dir, src.file, v)
		}
	}
}

func internalInExported(f *ast.File) []string {
	internal := map[string]bool{}
	for _, imp := range f.Imports {
		path, _ := strconv.Unquote(imp.Path.Value)
		if strings.HasPrefix(path, module+"/internal/") {
			name := path[strings.LastIndex(path, "/")+1:]
			if imp.Name != nil {
				name = imp.Name.Name
			}
			internal[name] = true
		}
	}
	var out []string
	names := func(where string, n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			if fd, ok := n.(*ast.Field); ok && len(fd.Names) > 0 && !fd.Names[0].IsExported() && strings.HasPrefix(where, "type ") {
				return false
			}
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if id, ok := sel.X.(*ast.Ident); ok && internal[id.Name] {
					out = append(out, where+" names "+id.Name+"."+sel.Sel.Name)
				}
			}
			return true
		})
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) {
				names("func "+d.Name.Name, d.Type)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						names("type "+s.Name.Name, s.Type)
					}
				case *ast.ValueSpec:
					if s.Names[0].IsExported() && s.Type != nil {
						names("var "+s.Names[0].Name, s.Type)
					}
				}
			}
		}
	}
	return out
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}
