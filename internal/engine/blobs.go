package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/governhq/govern/internal/gov"
)

// blobs is a directory of files named by the SHA-256 of their content:
// statements/ holds signed envelopes, which carry names and free text and may
// be erased; blobs/ holds what is too large for a line of the log.
type blobs struct{ dir string }

// put stores content durably and returns its digest.
func (b blobs) put(content []byte) (gov.Digest, error) {
	d := gov.DigestOf(content)
	path := b.path(d)
	if have, err := os.ReadFile(path); err == nil && gov.DigestOf(have) == d {
		return d, nil
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return "", storeError(err)
	}
	if err := writeFile(path, content, 0o600, true); err != nil {
		return "", storeError(err)
	}
	return d, nil
}

// get reads a blob and checks its digest. A missing one is not_found with code
// blob_erased: the proof stands, the text is gone.
func (b blobs) get(d gov.Digest) ([]byte, error) {
	if _, err := gov.ParseDigest(string(d)); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(b.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, gov.Errorf(gov.KindNotFound, "blob_erased", "the content of %s is not here: it was erased or never copied", d.Short())
	}
	if err != nil {
		return nil, storeError(err)
	}
	if gov.DigestOf(content) != d {
		return nil, gov.Errorf(gov.KindIntegrity, "blob_altered", "the content of %s is not what was recorded", d.Short()).WithHint("govern verify log")
	}
	return content, nil
}

func (b blobs) path(d gov.Digest) string { return filepath.Join(b.dir, d.Hex()+".json") }

func storeError(err error) error {
	return (&gov.Error{
		Kind: gov.KindUnavailable, Code: "store_failed", Op: "keep a file in the data directory", Err: err,
		Message: "the data directory cannot be written: " + err.Error(),
		Hint:    "govern doctor",
	})
}
