package policy

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Bounds of an expression. The cost is CEL's own measure, about one unit for
// a step; the limit is reached within about a second and leaves room for a look
// at each of 100,000 paths. What goes beyond it counts as not evaluated.
const (
	maxExpression = 4096
	maxCost       = 2_000_000
	maxRules      = 256
)

// Variables lists what an expression can see, with its CEL type. All are of the
// change as its author and git present it; the risk is the declared one, so that
// rules do not depend on each other's order. The method path.glob(pattern)
// matches a path as CODEOWNERS would.
var Variables = []struct{ Name, Type, Doc string }{
	{"change.id", "string", "CHANGE-n, or empty"},
	{"change.risk", "string", "the declared risk_level"},
	{"change.type", "string", "feature, bugfix, refactor, security, or empty"},
	{"change.author", "string", "the handle that declares itself author"},
	{"change.owner", "string", "the declared owner"},
	{"branch", "string", "where the change wants to go"},
	{"paths", "list", "touched paths"},
	{"targets", "list", "names of the targets this change is deployed to"},
	{"governance_only", "bool", "nothing but policy, registry, owners and the change's own metadata is touched"},
	{"touches.contract", "bool", "a declared contract"},
	{"touches.contract_breaking", "bool", "a contract, in a way that breaks or may break"},
	{"touches.model", "bool", "a model"},
	{"touches.policy", "bool", "the policy or the owners"},
	{"touches.registry", "bool", "the registry of people"},
	{"agent.involved", "bool", "an agent had a hand in it"},
	{"agent.name", "string", "the agent, or empty"},
	{"agent.sponsor", "string", "who answers for the agent, or empty"},
}

var variableTypes = map[string]*cel.Type{
	"string": cel.StringType, "bool": cel.BoolType, "list": cel.ListType(cel.StringType),
}

// newEnv declares the variables; whatever else an expression names is an error
// when the policy is read. The environment has no clock and no I/O.
func newEnv() (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(64),
		cel.Function("glob", cel.MemberOverload("string_glob_string",
			[]*cel.Type{cel.StringType, cel.StringType}, cel.BoolType, cel.BinaryBinding(globs{}.match))),
	}
	for _, v := range Variables {
		opts = append(opts, cel.Variable(v.Name, variableTypes[v.Type]))
	}
	return cel.NewEnv(opts...)
}

// globs keeps the patterns that one environment has compiled. An environment
// belongs to one call of Plan or Validate, and so to one goroutine.
type globs map[string]Pattern

func (g globs) match(path, pattern ref.Val) ref.Val {
	s, ok1 := path.Value().(string)
	text, ok2 := pattern.Value().(string)
	if !ok1 || !ok2 {
		return types.NewErr("glob takes a path and a pattern")
	}
	p, ok := g[text]
	if !ok {
		var err error
		if p, err = CompilePattern(text); err != nil {
			return types.NewErr("glob: %s", err.Error())
		}
		if len(g) < maxRules {
			g[text] = p
		}
	}
	return types.Bool(p.Match(s))
}

// condition is a compiled expression; the zero value always holds.
type condition struct{ prog cel.Program }

// compile refuses what is not statically a bool.
func compile(env *cel.Env, expr string) (condition, string) {
	if len(expr) > maxExpression {
		return condition{}, fmt.Sprintf("the expression has %d bytes; at most %d are read", len(expr), maxExpression)
	}
	ast, iss := env.Compile(expr)
	if iss.Err() != nil {
		e := iss.Errors()[0]
		return condition{}, fmt.Sprintf("%s (line %d, character %d of the expression)", reason(e.Message), e.Location.Line(), e.Location.Column()+1)
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return condition{}, fmt.Sprintf("the expression gives %s; it must give a bool", ast.OutputType())
	}
	prog, err := env.Program(ast, cel.CostLimit(maxCost))
	if err != nil {
		return condition{}, reason(err.Error())
	}
	return condition{prog}, ""
}

// holds evaluates the condition; failed is why it could not be, or empty.
func (c condition) holds(vars map[string]any) (yes bool, failed string) {
	if c.prog == nil {
		return true, ""
	}
	out, _, err := c.prog.Eval(vars)
	if err != nil {
		return false, reason(err.Error())
	}
	b, ok := out.Value().(bool)
	if !ok {
		return false, "it gave no bool"
	}
	return b, ""
}

// conditions holds every compiled expression of a policy, by index.
type conditions struct {
	raise, require, exempt []condition
}

// conditions compiles all expressions, or gives the first that does not.
func (p Policy) conditions() (conditions, *fault) {
	var c conditions
	if n := len(p.Raise) + len(p.Require) + len(p.NotApplicable); n > maxRules {
		return c, faultf("raise", "policy_value", "there are %d rules under raise, require and not_applicable; at most %d are read", n, maxRules)
	}
	env, err := newEnv()
	if err != nil {
		return c, faultf("", "policy_expression", "the expression language cannot be set up: %s", reason(err.Error()))
	}
	add := func(list *[]condition, path, expr string) *fault {
		cond, why := compile(env, expr)
		if why != "" {
			return faultf(path, "policy_expression", "%s: %s", path, why)
		}
		*list = append(*list, cond)
		return nil
	}
	for i, r := range p.Raise {
		if f := add(&c.raise, fmt.Sprintf("raise[%d].when", i), r.When); f != nil {
			return c, f
		}
	}
	for i, r := range p.Require {
		if f := add(&c.require, fmt.Sprintf("require[%d].when", i), r.When); f != nil {
			return c, f
		}
	}
	for i, x := range p.NotApplicable {
		if x.When == "" {
			c.exempt = append(c.exempt, condition{})
			continue
		}
		if f := add(&c.exempt, fmt.Sprintf("not_applicable[%d].when", i), x.When); f != nil {
			return c, f
		}
	}
	return c, nil
}
