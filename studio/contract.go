package studio

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// contractBase is where contracts live for the schema compiler; nothing is ever
// fetched from there, or from anywhere.
const contractBase = "https://studio.invalid/"

// contract is a compiled schema.
type contract struct {
	name       string // last part of its reference: "BassSpec", "kick.json"
	schema     *jsonschema.Schema
	properties map[string]bool // property names of the schema itself
	output     string          // reference in x-output, or ""
}

// contractSet holds the documents under contracts/ of a bundle.
type contractSet struct {
	docs     map[string]any // by path in the bundle
	compiler *jsonschema.Compiler
}

// noLoader refuses every document that is not in the bundle.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is not in the bundle", strings.TrimPrefix(url, contractBase))
}

func newContractSet(files map[string][]byte) (*contractSet, error) {
	set := &contractSet{docs: map[string]any{}, compiler: jsonschema.NewCompiler()}
	set.compiler.UseLoader(noLoader{})
	set.compiler.DefaultDraft(jsonschema.Draft2020)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		var err error
		switch path.Ext(name) {
		case ".json":
		case ".yaml":
			if text, err = yaml.YAMLToJSON(text); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		default:
			return nil, fmt.Errorf("%s is neither .json nor .yaml", name)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := set.compiler.AddResource(contractBase+name, doc); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		set.docs[name] = doc
	}
	return set, nil
}

// compile gives the contract that ref names: a path in the bundle, perhaps with
// a JSON pointer behind "#".
func (s *contractSet) compile(ref string) (*contract, error) {
	file, pointer, _ := strings.Cut(ref, "#")
	node, ok := s.docs[file]
	if !ok {
		return nil, fmt.Errorf("contract %s is not in the bundle", ref)
	}
	c := &contract{name: path.Base(ref), properties: map[string]bool{}}
	for _, token := range strings.Split(pointer, "/")[1:] {
		object, _ := node.(map[string]any)
		if node, ok = object[token]; !ok {
			return nil, fmt.Errorf("contract %s: there is no %q", ref, token)
		}
	}
	object, ok := node.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("contract %s is not an object", ref)
	}
	if properties, ok := object["properties"].(map[string]any); ok {
		for name := range properties {
			c.properties[name] = true
		}
	}
	if out, ok := object["x-output"].(string); ok {
		if !strings.HasPrefix(out, "#/") {
			return nil, fmt.Errorf("contract %s: x-output must point into the same document", ref)
		}
		c.output = file + out
	}
	var err error
	if c.schema, err = s.compiler.Compile(contractBase + ref); err != nil {
		return nil, fmt.Errorf("contract %s: %w", ref, err)
	}
	return c, nil
}

// check tells what is wrong with an instance, "" when nothing is. It names
// places and limits, never the values found there: its words go into logs.
func (c *contract) check(instance any) string {
	err := c.schema.Validate(instance)
	if err == nil {
		return ""
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return "it cannot be judged"
	}
	var found []string
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			found = append(found, place(e.InstanceLocation)+" "+brokenRule(e.ErrorKind))
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
	}
	walk(invalid)
	slices.Sort(found)
	found = slices.Compact(found)
	const shown = 3
	if more := len(found) - shown; more > 0 {
		found = append(found[:shown], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(found, "; ")
}

func place(location []string) string {
	if len(location) == 0 {
		return "the object"
	}
	at := ""
	for _, token := range location {
		at += "/" + clip(token)
	}
	return at
}

// brokenRule says in words what a value should have been.
func brokenRule(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Minimum:
		return "is below " + k.Want.RatString()
	case *kind.Maximum:
		return "is above " + k.Want.RatString()
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or ")
	case *kind.Required:
		return "lacks " + strings.Join(k.Missing, ", ")
	case *kind.Enum:
		return fmt.Sprintf("is none of %v", k.Want)
	case *kind.Const:
		return fmt.Sprintf("is not %v", k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("is shorter than %d", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("is longer than %d", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("has fewer than %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("has more than %d items", k.Want)
	case *kind.Pattern:
		return "does not match " + k.Want
	case *kind.AdditionalProperties:
		slices.Sort(k.Properties)
		return "has the unknown key " + strconv.Quote(clip(k.Properties[0]))
	}
	return "violates " + strings.Join(k.KeywordPath(), "/")
}

// clip bounds a name that came from outside.
func clip(s string) string {
	const longest = 40
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}
