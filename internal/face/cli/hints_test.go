package cli

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// hintFolders hold the sources whose words people paste into a shell.
var hintFolders = []string{"audit", "client", "cmd", "internal", "verify"}

// notCommands are sentences in which the program's name is followed by a word
// that is no command.
var notCommands = regexp.MustCompile(`^govern (` + strings.Join([]string{
	"this", "cannot", "refuses", "keeps", "knows", "decides", "itself", "is", "are", "was", "has", "log of", "does", "needs", "reads", "of", "wrote", "makes", "that", "at such", "says", "log in", "and", "to", "in",
}, "|") + `)\b`)

// commandText finds what looks like a command line in a message: the program
// and what follows, up to the end of the phrase.
var commandText = regexp.MustCompile(`\bgovern [a-z][^\n;()` + "`" + `]*`)

// TestPrintedCommandsExist: every command that a message prints is one of the
// command line, with flags that it has.
func TestPrintedCommandsExist(t *testing.T) {
	a := &app{Deps: Deps{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Env: func(string) string { return "" }}}
	root := a.root()
	root.SetContext(context.Background())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	looked := 0
	for place, text := range literals(t) {
		for _, line := range commandText.FindAllString(text, -1) {
			if notCommands.MatchString(line) {
				continue
			}
			looked++
			if why := wrongCommand(root, line); why != "" {
				t.Errorf("%s: %q: %s", place, line, why)
			}
		}
	}
	if looked < 300 {
		t.Fatalf("only %d commands were found: the walk is broken", looked)
	}
}

func TestWrongCommandsAreFound(t *testing.T) {
	root := (&app{}).root()
	for line, wrong := range map[string]bool{
		"govern status CHANGE-1":                        false,
		"govern rollout status":                         false,
		"govern approve CHANGE-1 --role owner, then go": false,
		"govern rollout unblock prod --target prod":     true,
		"govern people appoint HANDLE":                  true,
		"govern statuss":                                true,
		"govern change rollback CHANGE-1":               true,
		"govern log":                                    true,
		"govern people add HANDLE":                      true,
		"govern people add HANDLE --key-file FILE.pub":  false,
		"govern rollout resume":                         true,
		"govern rollout promote TARGET":                 true,
		"govern rollout promote TARGET -m REASON":       false,
	} {
		if why := wrongCommand(root, line); (why != "") != wrong {
			t.Errorf("%s: %q", line, why)
		}
	}
}

// literals gives every string of the sources under its place. Strings that are
// put together with + are one, with X in the place of what is not constant.
func literals(t *testing.T) map[string]string {
	out := map[string]string{}
	fset := token.NewFileSet()
	for _, dir := range hintFolders {
		err := filepath.WalkDir(filepath.Join(treeRoot, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				return err
			}
			purposes := map[ast.Expr]bool{}
			ast.Inspect(f, func(n ast.Node) bool {
				if _, imports := n.(*ast.ImportSpec); imports {
					return false
				}
				if kv, ok := n.(*ast.KeyValueExpr); ok {
					if k, ok := kv.Key.(*ast.Ident); ok && (k.Name == "Tool" || k.Name == "Purpose") {
						purposes[kv.Value] = true // a name, for records and the lock file
					}
				}
				if call, ok := n.(*ast.CallExpr); ok {
					maps.Copy(purposes, purposesOf(call))
				}
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				s, whole := sentence(e)
				if whole && !purposes[e] {
					out[fset.Position(e.Pos()).String()] = s
				}
				return !whole
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// purposesOf gives the arguments by which a call says for the lock file what
// the log is opened for; nobody pastes these.
func purposesOf(call *ast.CallExpr) map[ast.Expr]bool {
	name := ""
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		name = f.Sel.Name
	case *ast.Ident:
		name = f.Name
	}
	out := map[ast.Expr]bool{}
	if opens[name] {
		for _, arg := range call.Args {
			out[arg] = true
		}
	}
	return out
}

var opens = map[string]bool{"here": true, "session": true, "open": true, "OpenSession": true, "targetSession": true}

// sentence joins a string expression.
func sentence(e ast.Expr) (string, bool) {
	switch x := e.(type) {
	case *ast.BasicLit:
		if x.Kind == token.STRING {
			s, err := strconv.Unquote(x.Value)
			return s, err == nil
		}
	case *ast.BinaryExpr:
		if x.Op != token.ADD {
			return "", false
		}
		l, lok := sentence(x.X)
		r, rok := sentence(x.Y)
		if !lok && !rok {
			return "", false
		}
		if !lok {
			l = "X"
		}
		if !rok {
			r = "X"
		}
		return l + r, true
	}
	return "", false
}

var (
	longFlag  = regexp.MustCompile(`^--([a-z][a-z-]*)`)
	shortFlag = regexp.MustCompile(`^-([a-zA-Z])$`)
	bareWord  = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// wrongCommand says what is wrong with a command in a message, or "".
func wrongCommand(root *cobra.Command, line string) string {
	cmd, set := root, map[string]bool{}
	args, walking := 0, true
	for _, raw := range strings.Fields(line)[1:] {
		end := strings.ContainsAny(raw[len(raw)-1:], ",:.!?|…") && !strings.HasSuffix(raw, "…")
		word := strings.Trim(raw, ",:.!?'\"[]")
		switch {
		case walking && cmd.HasSubCommands() && !strings.HasPrefix(word, "-"):
			next := sub(cmd, word)
			if next == nil {
				if cmd == root || bareWord.MatchString(word) && !prose[word] {
					return "there is no command " + word + " of " + cmd.CommandPath()
				}
				walking = false
				break
			}
			cmd = next
		case longFlag.MatchString(word):
			walking = false
			name := longFlag.FindStringSubmatch(word)[1]
			if !cmd.DisableFlagParsing && cmd.Flag(name) == nil && cmd.InheritedFlags().Lookup(name) == nil && name != "help" {
				return cmd.CommandPath() + " has no flag --" + name
			}
			set[name] = true
		case shortFlag.MatchString(word):
			walking = false
			f := cmd.Flags().ShorthandLookup(word[1:])
			if f == nil {
				f = cmd.InheritedFlags().ShorthandLookup(word[1:])
			}
			if f == nil {
				return cmd.CommandPath() + " has no flag " + word
			}
			set[f.Name] = true
		case prose[word]:
			end = true
		default:
			walking = false
			args++
		}
		if end {
			break
		}
	}
	return lacking(cmd, args, set)
}

// prose ends a command inside a sentence.
var prose = map[string]bool{
	"": true, "and": true, "or": true, "then": true, "shows": true, "here": true, "in": true, "for": true, "of": true, "on": true,
	"to": true, "with": true, "when": true, "says": true, "again": true, "now": true, "takes": true, "is": true, "tells": true,
}

func sub(c *cobra.Command, name string) *cobra.Command {
	for _, s := range c.Commands() {
		if s.Name() == name || s.HasAlias(name) {
			return s
		}
	}
	return nil
}

// lacking tells which arguments or flags a command cannot do without.
func lacking(cmd *cobra.Command, args int, set map[string]bool) string {
	if set["help"] {
		return ""
	}
	if cmd.HasSubCommands() {
		if cmd.Runnable() && args == 0 && cmd.Args == nil {
			return ""
		}
		return cmd.CommandPath() + " is a group, no command"
	}
	if cmd.Args != nil && args == 0 && cmd.Args(cmd, nil) != nil {
		return cmd.CommandPath() + " needs arguments: " + cmd.UseLine()
	}
	for _, f := range cannotDoWithout[cmd.CommandPath()] {
		if !set[f] {
			return cmd.CommandPath() + " needs --" + f
		}
	}
	return ""
}

// cannotDoWithout lists the flags without which a command refuses.
var cannotDoWithout = map[string][]string{
	"govern people add":      {"key-file"},
	"govern people rotate":   {"key-file"},
	"govern rollout promote": {"message"},
	"govern rollout unblock": {"message"},
	"govern rollout abort":   {"message"},
	"govern rollout adopt":   {"artifact"},
}
