package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Token lets a program talk to a server over the network. The secret is shown
// once; only its SHA-256 is kept. A token says who calls; it is no authority
// over changes, which only signed statements have.
type Token struct {
	ID      string            `json:"id"`
	Handle  string            `json:"handle"`
	Kind    gov.PrincipalKind `json:"kind"`
	SHA256  string            `json:"sha256"`
	Created time.Time         `json:"created"`
	Expires time.Time         `json:"expires,omitzero"`
}

// Tokens are the tokens of a data directory.
type Tokens struct{ Dir string }

func (t Tokens) path() string { return filepath.Join(t.Dir, "tokens.json") }

// List reads all tokens.
func (t Tokens) List() ([]Token, error) {
	b, err := os.ReadFile(t.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Token
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, gov.Errorf(gov.KindIntegrity, "tokens_unreadable", "%s cannot be read: %w", t.path(), err).WithHint("govern token add HANDLE")
	}
	return out, nil
}

// Add makes a token and gives its secret.
func (t Tokens) Add(p gov.Principal, now, expires time.Time) (Token, string, error) {
	have, err := t.List()
	if err != nil {
		return Token{}, "", err
	}
	raw := make([]byte, 32)
	rand.Read(raw)
	secret := "gvn_" + base64.RawURLEncoding.EncodeToString(raw)
	sum := sha256.Sum256([]byte(secret))
	tok := Token{ID: hex.EncodeToString(sum[:4]), Handle: p.Handle, Kind: p.Kind, SHA256: hex.EncodeToString(sum[:]), Created: now, Expires: expires}
	return tok, secret, t.write(append(have, tok))
}

// Revoke takes a token away.
func (t Tokens) Revoke(id string) error {
	have, err := t.List()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(have, func(x Token) bool { return x.ID == id })
	if i < 0 {
		return gov.Errorf(gov.KindNotFound, "token_unknown", "there is no token %q", id).WithHint("govern token list")
	}
	return t.write(slices.Delete(have, i, i+1))
}

func (t Tokens) write(ts []Token) error {
	b, err := json.MarshalIndent(ts, "", "  ")
	if err != nil {
		return err
	}
	tmp := t.path() + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, t.path())
}

// Principal tells whose secret it is.
func (t Tokens) Principal(secret string, now time.Time) (gov.Principal, bool) {
	have, err := t.List()
	if err != nil {
		return gov.Principal{}, false
	}
	sum := sha256.Sum256([]byte(secret))
	got := hex.EncodeToString(sum[:])
	for _, x := range have {
		if subtle.ConstantTimeCompare([]byte(x.SHA256), []byte(got)) == 1 && (x.Expires.IsZero() || now.Before(x.Expires)) {
			return gov.Principal{Handle: x.Handle, Kind: x.Kind, Via: "token"}, true
		}
	}
	return gov.Principal{}, false
}
