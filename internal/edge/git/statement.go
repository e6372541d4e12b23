package git

import (
	"context"
	"strings"

	"github.com/governhq/govern/internal/gov"
)

// statementsLimit bounds how many statements of one change are read.
const statementsLimit = 4096

// File is a statement file of a change. When Err is set, Data is nil and the
// file cannot count: statement_name_mismatch (its content does not hash to its
// name), statement_too_large (EnvelopeLimit), statement_shape (its content is no
// envelope of a statement about this change). The digests count such a file like
// any other.
type File struct {
	Path   string
	Digest gov.Digest // what its name says
	Data   []byte
	Err    *gov.Error
}

// Statements reads the regular files that have the name of a statement of a
// change at a commit, sorted by name, and tells which of them the digests leave
// out: those without Err. Whether they are genuine is proved elsewhere. Other files in the folder are no statements. Errors: commit_not_found,
// too_many_statements.
func (r *Repo) Statements(ctx context.Context, commit string, id gov.ChangeID) ([]File, error) {
	if _, err := gov.ParseChangeID(string(id)); err != nil {
		return nil, err
	}
	tree, err := r.TreeOf(ctx, commit)
	if err != nil {
		return nil, err
	}
	entries, err := r.list(ctx, tree, ChangesDir+"/"+string(id)+"/"+statementsDir)
	if err != nil {
		return nil, err
	}
	var files []File
	var ids []string
	for _, e := range entries {
		if of, digest, ok := statementID(e.path); ok && of == id && e.mode == regularMode {
			files = append(files, File{Path: e.path, Digest: digest})
			ids = append(ids, e.id)
		}
	}
	if len(files) > statementsLimit {
		return nil, gov.Errorf(gov.KindInvalid, "too_many_statements", "%s has %d statement files; %d are read at most", id, len(files), statementsLimit)
	}
	err = r.objects(ctx, ids, EnvelopeLimit, func(i int, _ string, data []byte, large bool) error {
		switch f := &files[i]; {
		case large:
			f.Err = gov.Errorf(gov.KindInvalid, "statement_too_large", "the statement %s is larger than 64 KiB", f.Path)
		case gov.DigestOf(data) != f.Digest:
			f.Err = gov.Errorf(gov.KindIntegrity, "statement_name_mismatch", "the content of %s does not hash to its name", f.Path)
		case envelopeOf(data) != id:
			f.Err = gov.Errorf(gov.KindInvalid, "statement_shape", "the content of %s is no statement about %s", f.Path, id)
		default:
			f.Data = data
		}
		return nil
	})
	return files, err
}

// StatementFiles names the statements for AddFiles.
func StatementFiles(id gov.ChangeID, envelopes ...[]byte) map[string][]byte {
	files := make(map[string][]byte, len(envelopes))
	for _, e := range envelopes {
		files[StatementPath(id, gov.DigestOf(e))] = e
	}
	return files
}

// checkAuthor refuses names that would break a commit object or a trailer.
func checkAuthor(a Author) error {
	if strings.TrimSpace(a.Name) == "" || strings.TrimSpace(a.Email) == "" ||
		!isClean(a.Name) || !isClean(a.Email) || strings.ContainsAny(a.Name+a.Email, "<>") {
		return gov.Errorf(gov.KindInvalid, "author_invalid", "a commit needs the name and e-mail address of its author, without < and >").
			WithHint("git config user.name NAME && git config user.email ADDRESS")
	}
	return nil
}
