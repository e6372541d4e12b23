package gov

import "time"

// PrincipalKind belongs to the key, never to a file that names somebody.
type PrincipalKind string

const (
	Human   PrincipalKind = "human"
	Agent   PrincipalKind = "agent"
	Service PrincipalKind = "service"
)

// Principal is who issues a command: authenticated by the local user account,
// the socket, a token or a signature. It is no authority over changes; only
// signed statements are.
type Principal struct {
	Handle string        `json:"handle"`
	Kind   PrincipalKind `json:"kind"`
	Via    string        `json:"via,omitempty"` // local, socket, token, hook, clock
}

// Person is one entry of the registry: a human, an agent or a service with the
// keys it signs with. Two keys of one person count once.
type Person struct {
	Handle     string        `json:"handle"`
	Kind       PrincipalKind `json:"kind"`
	Roles      []string      `json:"roles,omitempty"`
	Emails     []string      `json:"emails,omitempty"`      // committer addresses that are this person
	Sponsor    string        `json:"sponsor,omitempty"`     // agents: the human who answers for it
	DelegateOf string        `json:"delegate_of,omitempty"` // counts as one with this handle
	Keys       []Key         `json:"keys"`
}

// Key is one SSH public key of a person.
type Key struct {
	Fingerprint string    `json:"fingerprint"` // "SHA256:…" as ssh-keygen -l prints it
	Type        string    `json:"type"`        // ssh-ed25519, sk-ssh-ed25519@openssh.com, …
	Presence    bool      `json:"presence"`    // the key type proves user presence (sk, passkey)
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
}

// ValidAt tells whether the key may sign at t: NotBefore <= t < NotAfter, an
// absent bound is open.
func (k Key) ValidAt(t time.Time) bool {
	if !k.NotBefore.IsZero() && t.Before(k.NotBefore) {
		return false
	}
	return k.NotAfter.IsZero() || t.Before(k.NotAfter)
}

// Registry is the people file of one commit of the protected branch.
type Registry struct {
	Digest Digest   `json:"digest"`
	People []Person `json:"people"`
}

// Person finds a handle.
func (r Registry) Person(handle string) (Person, bool) {
	for _, p := range r.People {
		if p.Handle == handle {
			return p, true
		}
	}
	return Person{}, false
}

// ByEmail finds the person with a committer address.
func (r Registry) ByEmail(email string) (Person, bool) {
	for _, p := range r.People {
		for _, e := range p.Emails {
			if e == email {
				return p, true
			}
		}
	}
	return Person{}, false
}
