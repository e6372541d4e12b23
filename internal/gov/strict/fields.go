package strict

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// field is one key a struct takes.
type field struct {
	typ    reflect.Type
	quoted bool // `json:",string"`: left to encoding/json
	depth  int  // of embedding
	tagged bool
}

type fields struct {
	byName map[string]field
	names  []string // in the order of the struct
}

// cache holds fields by reflect.Type; types are few and never change.
var cache sync.Map

// fieldsOf lists the keys of struct type t by the rules of encoding/json:
// embedded structs lend their fields, a shallower field hides a deeper one,
// two at the same depth hide each other unless exactly one has a tag.
func fieldsOf(t reflect.Type) *fields {
	if f, ok := cache.Load(t); ok {
		return f.(*fields)
	}
	fs := &fields{byName: map[string]field{}}
	clash := map[string]bool{}
	collect(t, 0, map[reflect.Type]bool{t: true}, func(name string, f field) {
		old, ok := fs.byName[name]
		switch {
		case !ok:
			fs.byName[name] = f
			fs.names = append(fs.names, name)
		case f.depth < old.depth || f.depth == old.depth && f.tagged && !old.tagged:
			fs.byName[name] = f
			clash[name] = false
		case f.depth == old.depth && f.tagged == old.tagged:
			clash[name] = true
		}
	})
	for name, dead := range clash {
		if dead {
			delete(fs.byName, name)
			fs.names = slices.DeleteFunc(fs.names, func(n string) bool { return n == name })
		}
	}
	f, _ := cache.LoadOrStore(t, fs)
	return f.(*fields)
}

func collect(t reflect.Type, depth int, open map[reflect.Type]bool, add func(string, field)) {
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, rest, _ := strings.Cut(tag, ",")
		if sf.Anonymous && name == "" {
			et := sf.Type
			if et.Kind() == reflect.Pointer {
				et = et.Elem()
			}
			if et.Kind() == reflect.Struct {
				if !open[et] && (sf.IsExported() || sf.Type.Kind() == reflect.Struct) {
					open[et] = true
					collect(et, depth+1, open, add)
					delete(open, et)
				}
				continue
			}
		}
		if !sf.IsExported() {
			continue
		}
		f := field{typ: sf.Type, depth: depth, tagged: name != "", quoted: slices.Contains(strings.Split(rest, ","), "string")}
		if name == "" {
			name = sf.Name
		}
		add(name, f)
	}
}
