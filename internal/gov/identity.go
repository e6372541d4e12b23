package gov

// Identities tells which handles of a registry are one person: a delegate and
// its delegator, and two entries that share a key, are one (transitively). A
// handle that the registry does not know is a person of its own.
type Identities struct {
	parent  map[string]string
	sponsor map[string]string
}

// IdentitiesOf reads the links of a registry.
func IdentitiesOf(people []Person) Identities {
	ids := Identities{parent: map[string]string{}, sponsor: map[string]string{}}
	owner := map[string]string{}
	for _, p := range people {
		if p.DelegateOf != "" {
			ids.join(p.Handle, p.DelegateOf)
		}
		if p.Sponsor != "" {
			ids.sponsor[p.Handle] = p.Sponsor
		}
		for _, k := range p.Keys {
			if first, seen := owner[k.Fingerprint]; seen {
				ids.join(first, p.Handle)
			} else {
				owner[k.Fingerprint] = p.Handle
			}
		}
	}
	return ids
}

// Of names the person behind a handle: equal names mean one person. The name
// is one of the person's handles.
func (i Identities) Of(handle string) string {
	for {
		up, ok := i.parent[handle]
		if !ok {
			return handle
		}
		handle = up
	}
}

// Behind gives the people (as Of names them) who stand behind handles: they
// themselves and, for agents, those who sponsor them.
func (i Identities) Behind(handles []string) map[string]bool {
	out := map[string]bool{}
	for _, h := range handles {
		out[i.Of(h)] = true
	}
	for grown := true; grown; {
		grown = false
		for agent, sponsor := range i.sponsor {
			if out[i.Of(agent)] && !out[i.Of(sponsor)] {
				out[i.Of(sponsor)], grown = true, true
			}
		}
	}
	return out
}

// join keeps the smaller handle as the name, so that Of does not depend on the
// order of the registry.
func (i Identities) join(a, b string) {
	a, b = i.Of(a), i.Of(b)
	switch {
	case a < b:
		i.parent[b] = a
	case b < a:
		i.parent[a] = b
	}
}
