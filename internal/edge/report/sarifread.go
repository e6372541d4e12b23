package report

// The parts of a SARIF log that matter here. Keys stand in any order, so a run
// is judged only when it has been read to its end.

type sarifLog struct {
	*walker
	limit   int
	size    int // results, rules and artifacts, for the bound
	version string
	runs    []sarifRun
	inline  bool
}

type sarifRun struct {
	driver      component
	extensions  []component
	results     []sarifResult
	hasResults  bool
	invocations []invocation
	artifacts   []string // their URIs
	external    bool
	overrides   map[inRun]string // made when first asked
}

type component struct {
	name, version, semantic, guid string
	rules                         []sarifRule
	byID, byGUID                  map[string]int // of rules, made when first asked
}

type sarifRule struct{ id, guid, level string }

// ruleRef points to a rule; index and component are -1 when absent.
type ruleRef struct {
	id, guid           string
	index              int
	placed             bool // names a component
	component          int  // among the extensions
	compName, compGUID string
}

// maxExtensions of one tool: rules are looked for in each of them.
const maxExtensions = 256

var noRule = ruleRef{index: -1, component: -1}

type sarifResult struct {
	rule                  ruleRef
	level, kind, baseline string
	suppressions          int
	unsettled             bool // a suppression is under review or was rejected
	uri                   string
	artifact              int
	line, column          int
	invocation            int
}

type invocation struct {
	told, successful bool
	errors           int
	overrides        []override
}

type override struct {
	rule  ruleRef
	level string
}

// grow bounds what is kept in memory.
func (l *sarifLog) grow() error {
	if l.size++; l.size > 4*l.limit {
		return tooMany(l.limit)
	}
	return nil
}

func (l *sarifLog) key(key string) error {
	switch key {
	case "version":
		return l.text(&l.version)
	case "runs":
		_, err := l.array(func() error {
			if err := l.grow(); err != nil {
				return err
			}
			l.runs = append(l.runs, sarifRun{})
			return l.run(&l.runs[len(l.runs)-1])
		})
		return err
	case "inlineExternalProperties":
		_, err := l.array(func() error {
			l.inline = true
			return l.skip()
		})
		return err
	}
	return l.skip()
}

func (l *sarifLog) run(r *sarifRun) error {
	return l.object(func(key string) error {
		var err error
		switch key {
		case "tool":
			return l.tool(r)
		case "results":
			r.hasResults, err = l.array(func() error {
				if err := l.grow(); err != nil {
					return err
				}
				r.results = append(r.results, sarifResult{rule: noRule, kind: "fail", artifact: -1, invocation: -1})
				return l.result(&r.results[len(r.results)-1])
			})
			return err
		case "invocations":
			_, err = l.array(func() error {
				if err := l.grow(); err != nil {
					return err
				}
				r.invocations = append(r.invocations, invocation{})
				return l.invocation(&r.invocations[len(r.invocations)-1])
			})
			return err
		case "artifacts":
			_, err = l.array(func() error { return l.artifact(r) })
			return err
		case "externalPropertyFileReferences":
			return l.object(func(string) error {
				r.external = true
				return l.skip()
			})
		}
		return l.skip()
	})
}

func (l *sarifLog) tool(r *sarifRun) error {
	return l.object(func(key string) error {
		switch key {
		case "driver":
			return l.component(&r.driver)
		case "extensions":
			_, err := l.array(func() error {
				if len(r.extensions) >= maxExtensions {
					return tooMany(l.limit)
				}
				r.extensions = append(r.extensions, component{})
				return l.component(&r.extensions[len(r.extensions)-1])
			})
			return err
		}
		return l.skip()
	})
}

func (l *sarifLog) component(c *component) error {
	err := l.object(func(key string) error {
		switch key {
		case "name":
			return l.text(&c.name)
		case "version":
			return l.text(&c.version)
		case "semanticVersion":
			return l.text(&c.semantic)
		case "guid":
			return l.text(&c.guid)
		case "rules":
			_, err := l.array(func() error {
				if err := l.grow(); err != nil {
					return err
				}
				c.rules = append(c.rules, sarifRule{})
				return l.rule(&c.rules[len(c.rules)-1])
			})
			return err
		}
		return l.skip()
	})
	if c.semantic != "" {
		c.version = c.semantic
	}
	return err
}

func (l *sarifLog) rule(r *sarifRule) error {
	return l.object(func(key string) error {
		switch key {
		case "id":
			return l.text(&r.id)
		case "guid":
			return l.text(&r.guid)
		case "defaultConfiguration":
			return l.configuration(&r.level)
		}
		return l.skip()
	})
}

// configuration reads the level of a reportingConfiguration (3.50).
func (l *sarifLog) configuration(level *string) error {
	return l.object(func(key string) error {
		if key == "level" {
			return l.text(level)
		}
		return l.skip()
	})
}

// ref reads a reportingDescriptorReference (3.52).
func (l *sarifLog) ref(r *ruleRef) error {
	return l.object(func(key string) error {
		switch key {
		case "id":
			return l.text(&r.id)
		case "guid":
			return l.text(&r.guid)
		case "index":
			return l.integer(&r.index)
		case "toolComponent":
			return l.object(func(key string) error {
				switch key {
				case "index":
					r.placed = true
					return l.integer(&r.component)
				case "name":
					r.placed = true
					return l.text(&r.compName)
				case "guid":
					r.placed = true
					return l.text(&r.compGUID)
				}
				return l.skip()
			})
		}
		return l.skip()
	})
}

func (l *sarifLog) result(r *sarifResult) error {
	var id string
	index := -1
	err := l.object(func(key string) error {
		var err error
		switch key {
		case "ruleId":
			return l.text(&id)
		case "ruleIndex":
			return l.integer(&index)
		case "rule":
			return l.ref(&r.rule)
		case "level":
			return l.text(&r.level)
		case "kind":
			return l.text(&r.kind)
		case "baselineState":
			return l.text(&r.baseline)
		case "suppressions":
			_, err = l.array(func() error { return l.suppression(r) })
			return err
		case "locations":
			first := true
			_, err = l.array(func() error {
				if !first {
					return l.skip()
				}
				first = false
				return l.location(r)
			})
			return err
		case "provenance":
			return l.object(func(key string) error {
				if key == "invocationIndex" {
					return l.integer(&r.invocation)
				}
				return l.skip()
			})
		}
		return l.skip()
	})
	if r.kind == "" {
		r.kind = "fail"
	}
	if id != "" {
		r.rule.id = id
	}
	if index >= 0 {
		r.rule.index = index
	}
	return err
}

func (l *sarifLog) suppression(r *sarifResult) error {
	r.suppressions++
	status := ""
	err := l.object(func(key string) error {
		if key == "status" {
			return l.text(&status)
		}
		return l.skip()
	})
	r.unsettled = r.unsettled || status != "" && status != "accepted"
	return err
}

func (l *sarifLog) location(r *sarifResult) error {
	return l.object(func(key string) error {
		if key != "physicalLocation" {
			return l.skip()
		}
		return l.object(func(key string) error {
			switch key {
			case "artifactLocation":
				return l.where(&r.uri, &r.artifact)
			case "region":
				return l.object(func(key string) error {
					switch key {
					case "startLine":
						return l.integer(&r.line)
					case "startColumn":
						return l.integer(&r.column)
					}
					return l.skip()
				})
			}
			return l.skip()
		})
	})
}

// where reads an artifactLocation (3.4).
func (l *sarifLog) where(uri *string, index *int) error {
	return l.object(func(key string) error {
		switch key {
		case "uri":
			return l.text(uri)
		case "index":
			return l.integer(index)
		}
		return l.skip()
	})
}

func (l *sarifLog) artifact(r *sarifRun) error {
	if err := l.grow(); err != nil {
		return err
	}
	uri, unused := "", -1
	err := l.object(func(key string) error {
		if key == "location" {
			return l.where(&uri, &unused)
		}
		return l.skip()
	})
	r.artifacts = append(r.artifacts, uri)
	return err
}

func (l *sarifLog) invocation(v *invocation) error {
	return l.object(func(key string) error {
		var err error
		switch key {
		case "executionSuccessful":
			v.told = true
			return l.boolean(&v.successful)
		case "toolExecutionNotifications", "toolConfigurationNotifications":
			_, err = l.array(func() error {
				level := ""
				err := l.configuration(&level)
				if level == "error" {
					v.errors++
				}
				return err
			})
			return err
		case "ruleConfigurationOverrides":
			_, err = l.array(func() error {
				if err := l.grow(); err != nil {
					return err
				}
				v.overrides = append(v.overrides, override{rule: noRule})
				return l.override(&v.overrides[len(v.overrides)-1])
			})
			return err
		}
		return l.skip()
	})
}

func (l *sarifLog) override(o *override) error {
	return l.object(func(key string) error {
		switch key {
		case "descriptor":
			return l.ref(&o.rule)
		case "configuration":
			return l.configuration(&o.level)
		}
		return l.skip()
	})
}
