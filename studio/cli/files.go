package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/governhq/govern/audit"
	"github.com/governhq/govern/studio"
)

// loadBundle loads a bundle file or directory, or the default for "".
func loadBundle(name string) (*studio.Bundle, error) {
	if name == "" {
		return studio.LoadDir(studio.Default(), nil)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	if info.IsDir() {
		return studio.LoadDir(os.DirFS(name), nil)
	}
	packed, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return studio.Load(packed, nil)
}

// auditFlags say where the records go.
type auditFlags struct {
	dir, origin, second string
	none                bool
	redact              []string
}

func (a *auditFlags) register(f *flags) {
	f.StringVar(&a.dir, "audit", "", "directory of the audit log (default $XDG_STATE_HOME/studio/audit)")
	f.StringVar(&a.origin, "origin", "", "name of the audit log in its checkpoints (default studio.local/ and a hash of the directory)")
	f.StringVar(&a.second, "second-place", "", `directory of the second copy of the checkpoint, or "none" (default $XDG_STATE_HOME/govern/ORIGIN)`)
	f.BoolVar(&a.none, "no-audit", false, "compose without any record")
	f.Func("redact", "JSON pointer whose value is recorded as a digest, as /section_spec/name (may be repeated)", func(s string) error {
		a.redact = append(a.redact, s)
		return nil
	})
}

// open opens the log and says where it is; the log is nil with --no-audit.
func (a *auditFlags) open() (*audit.Log, string, error) {
	if a.none {
		if a.dir != "" {
			return nil, "", errUsage{"--audit and --no-audit exclude each other"}
		}
		return nil, "", nil
	}
	dir := a.dir
	if dir == "" {
		state := os.Getenv("XDG_STATE_HOME")
		if !filepath.IsAbs(state) {
			home, err := os.UserHomeDir()
			if err != nil {
				return nil, "", errUsage{"no home directory; name a directory with --audit"}
			}
			state = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(state, "studio", "audit")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, "", fmt.Errorf("audit directory: %w", err)
	}
	origin := a.origin
	if origin == "" {
		sum := sha256.Sum256([]byte(dir))
		origin = "studio.local/" + hex.EncodeToString(sum[:6])
	}
	log, err := audit.Open(audit.Config{Dir: dir, Origin: origin, SecondPlace: a.second, Redact: a.redact})
	return log, dir, err
}

// recorder is log, or the explicit nothing.
func recorder(log *audit.Log) studio.Recorder {
	if log == nil {
		return studio.Unrecorded{}
	}
	return log
}

// writeFile writes a file that appears whole or not at all; "-" is stdout.
func writeFile(e env, name string, content []byte) error {
	if name == "-" {
		_, err := e.stdout.Write(content)
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".studio-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

func initDir(_ context.Context, e env, args []string) error {
	f := newFlags(e, "init", "studio init DIR")
	dirs, err := f.parse(args, 1)
	if err != nil {
		return err
	}
	if err := os.CopyFS(dirs[0], studio.Default()); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s already has a bundle: %w", dirs[0], err)
		}
		return err
	}
	_, err = fmt.Fprintln(e.stdout, dirs[0])
	return err
}

func seal(_ context.Context, e env, args []string) error {
	f := newFlags(e, "seal", "studio seal DIR [--manifest-version V]")
	version := f.String("manifest-version", "", "new manifest_version (default: as it is)")
	dirs, err := f.parse(args, 1)
	if err != nil {
		return err
	}
	return studio.Seal(dirs[0], *version)
}

func bundle(_ context.Context, e env, args []string) error {
	f := newFlags(e, "bundle", "studio bundle DIR -O FILE")
	out := f.String("O", "", "file to write, - for stdout")
	dirs, err := f.parse(args, 1)
	if err != nil {
		return err
	}
	if *out == "" {
		return f.wrong("-O is missing")
	}
	packed, digest, err := studio.Pack(os.DirFS(dirs[0]))
	if err != nil {
		return err
	}
	if _, err := studio.Load(packed, nil); err != nil {
		return err
	}
	if err := writeFile(e, *out, packed); err != nil {
		return err
	}
	var say io.Writer = e.stdout
	if *out == "-" {
		say = e.stderr
	}
	_, err = fmt.Fprintln(say, digest)
	return err
}
