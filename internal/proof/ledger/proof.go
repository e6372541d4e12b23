package ledger

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// proofHeader is the first line of a proof (c2sp.org/tlog-proof).
const proofHeader = "c2sp.org/tlog-proof@v1"

// maxPath bounds the hashes of a proof: no tree is higher.
const maxPath = 63

// Proof says that record Index is in the tree of Checkpoint, a signed note.
// Extra is not authenticated. The text form should have the extension
// ".tlog-proof".
type Proof struct {
	Index      uint64
	Extra      []byte
	Path       []Hash // from the leaf's sibling up
	Checkpoint []byte
}

// Marshal is the text form.
func (p Proof) Marshal() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, proofHeader)
	if len(p.Extra) > 0 {
		fmt.Fprintln(&b, "extra", base64.StdEncoding.EncodeToString(p.Extra))
	}
	fmt.Fprintln(&b, "index", p.Index)
	for _, h := range p.Path {
		fmt.Fprintln(&b, h)
	}
	fmt.Fprintln(&b)
	b.Write(p.Checkpoint)
	return b.Bytes()
}

// ParseProof reads the text form; nothing is verified. Error: proof_malformed.
func ParseProof(text []byte) (Proof, error) {
	var p Proof
	head, msg, ok := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || lines[0] != proofHeader {
		return p, errProof("it does not begin with " + proofHeader)
	}
	lines = lines[1:]
	if len(lines) > 0 {
		if s, ok := strings.CutPrefix(lines[0], "extra "); ok {
			extra, err := base64.StdEncoding.Strict().DecodeString(s)
			if err != nil || len(extra) == 0 {
				return p, errProof("the extra data is malformed")
			}
			p.Extra, lines = extra, lines[1:]
		}
	}
	if len(lines) == 0 || len(lines) > 1+maxPath {
		return p, errProof("it has no index, or too many hashes")
	}
	s, ok1 := strings.CutPrefix(lines[0], "index ")
	index, ok2 := parseDecimal(s)
	if !ok1 || !ok2 {
		return p, errProof("the index is malformed")
	}
	p.Index = index
	for _, l := range lines[1:] {
		h, err := parseHash(l)
		if err != nil {
			return p, errProof("a hash is malformed")
		}
		p.Path = append(p.Path, h)
	}
	if _, err := ParseCheckpoint(msg); err != nil {
		return p, err
	}
	p.Checkpoint = bytes.Clone(msg)
	return p, nil
}

func errProof(why string) *gov.Error {
	return gov.Errorf(gov.KindInvalid, "proof_malformed", "this is not a proof: %s", why)
}
