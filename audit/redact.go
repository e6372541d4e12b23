package audit

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// pointer is a parsed RFC 6901 pointer, extended by "*": that token matches
// every member of an object and every element of an array (also a member that
// is really named "*").
type pointer []string

// parsePointer accepts pointers below /section_spec and /metadata; the other
// keys of a record have fixed types and hold nothing personal.
func parsePointer(s string) (pointer, error) {
	bad := func(why string) error {
		return gov.Errorf(gov.KindInvalid, "audit_pointer_invalid", "redact %q: %s", s, why).
			WithHint("write an RFC 6901 pointer such as /section_spec/listener or /metadata/users/*/email")
	}
	if !strings.HasPrefix(s, "/") {
		return nil, bad("a pointer begins with /")
	}
	tokens := strings.Split(s[1:], "/")
	for i, t := range tokens {
		for j := 0; j < len(t); j++ {
			if t[j] == '~' && (j+1 == len(t) || t[j+1] != '0' && t[j+1] != '1') {
				return nil, bad("~ must be written ~0, and / inside a key ~1")
			}
		}
		tokens[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
	}
	if tokens[0] != "section_spec" && tokens[0] != "metadata" {
		return nil, bad("only values in /section_spec and /metadata can be redacted")
	}
	return tokens, nil
}

// redactor replaces values by their digest and size.
type redactor struct {
	pointers []pointer // shortest first, so that a whole is digested before its parts
	key      []byte    // HMAC key, or empty
}

func newRedactor(pointers []string, key []byte) (*redactor, error) {
	r := &redactor{key: slices.Clone(key)}
	for _, s := range pointers {
		p, err := parsePointer(s)
		if err != nil {
			return nil, err
		}
		r.pointers = append(r.pointers, p)
	}
	slices.SortStableFunc(r.pointers, func(a, b pointer) int { return cmp.Compare(len(a), len(b)) })
	return r, nil
}

// apply returns the tree at record key root with every configured value
// replaced. The tree is changed in place.
func (r *redactor) apply(root string, n *node) *node {
	for _, p := range r.pointers {
		if p[0] == root {
			n = r.replace(n, p[1:])
		}
	}
	return n
}

func (r *redactor) replace(n *node, rest pointer) *node {
	if n.kind == scalar && len(rest) > 0 || n.stub {
		return n
	}
	if len(rest) == 0 {
		return r.digest(n)
	}
	for i := range n.items {
		if rest[0] == "*" || n.kind == object && n.keys[i] == rest[0] || n.kind == array && strconv.Itoa(i) == rest[0] {
			n.items[i] = r.replace(n.items[i], rest[1:])
		}
	}
	return n
}

// digest is the object that stands for a value: {"$digest":…,"$size":…}. The
// size is that of the value's JSON text without insignificant whitespace, and
// the digest is of the same bytes: "sha256:<hex>", or "hmac-sha256:<hex>" when
// a key is configured.
func (r *redactor) digest(n *node) *node {
	text := n.append(nil)
	name := string(gov.DigestOf(text))
	if len(r.key) > 0 {
		mac := hmac.New(sha256.New, r.key)
		mac.Write(text)
		name = "hmac-sha256:" + hex.EncodeToString(mac.Sum(nil))
	}
	return &node{
		kind: object, stub: true,
		keys:  []string{"$digest", "$size"},
		names: [][]byte{[]byte(`"$digest"`), []byte(`"$size"`)},
		items: []*node{{raw: []byte(`"` + name + `"`)}, {raw: strconv.AppendInt(nil, int64(len(text)), 10)}},
	}
}

// shrink replaces the largest of section_spec and the metadata values, one
// after the other, until over bytes have been saved; when all are replaced and
// it is still not enough, metadata as a whole. It reports whether it was
// enough. Which value goes is decided by size, then by order, so the same
// record always shrinks to the same line.
func (r *redactor) shrink(spec, metadata **node, over int) bool {
	const stubSize = 110 // no stub is longer; smaller values stay
	slots := []**node{spec}
	if (*metadata).kind == object && !(*metadata).stub {
		for i := range (*metadata).items {
			slots = append(slots, &(*metadata).items[i])
		}
	}
	sizes := make(map[**node]int, len(slots))
	for _, s := range slots {
		sizes[s] = len((*s).append(nil))
	}
	slices.SortStableFunc(slots, func(a, b **node) int { return cmp.Compare(sizes[b], sizes[a]) })
	saveBy := func(slot **node, size int) {
		stub := r.digest(*slot)
		over -= size - len(stub.append(nil))
		*slot = stub
	}
	for _, s := range slots {
		if over <= 0 || sizes[s] <= stubSize {
			break
		}
		if !(*s).stub {
			saveBy(s, sizes[s])
		}
	}
	if size := len((*metadata).append(nil)); over > 0 && size > stubSize && !(*metadata).stub {
		saveBy(metadata, size)
	}
	return over <= 0
}
