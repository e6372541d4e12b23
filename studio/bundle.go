package studio

import (
	"archive/tar"
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/governhq/govern/audit"
)

//go:embed bundle
var embedded embed.FS

// Default is the bundle that studio brings along, as a file tree.
func Default() fs.FS {
	sub, err := fs.Sub(embedded, "bundle")
	if err != nil {
		panic("studio: " + err.Error())
	}
	return sub
}

// Bounds of a bundle.
const (
	maxBundle = 64 << 20
	maxFiles  = 1000
)

// Bundle is a loaded and checked bundle.
type Bundle struct {
	// Artifact is the digest of the bundle as one file, "sha256:<hex>".
	Artifact string
	Manifest Manifest

	files       map[string][]byte
	modules     []loaded
	sectionSpec *contract
	section     *contract
	feedback    *contract
}

// loaded is a module entry with all that its calls need.
type loaded struct {
	Entry
	module        Module
	config        json.RawMessage
	values        map[string]any // the configuration as contracts see it
	input, output *contract
}

// Pack makes a bundle directory one file (see the package comment) and gives
// its digest. It takes manifest.json, modules/ and contracts/ and nothing else;
// what is neither a regular file nor a directory there is refused. The content
// is not judged; Load does that.
func Pack(dir fs.FS) ([]byte, string, error) {
	files, err := readFiles(dir)
	if err != nil {
		return nil, "", err
	}
	packed, err := pack(files)
	if err != nil {
		return nil, "", bundleError("bundle_unwritable", err)
	}
	return packed, digestOf(packed), nil
}

func bundleError(code string, err error) *Error {
	return &Error{Status: 500, Code: code, Message: "bundle: " + err.Error(), Err: err}
}

func readFiles(dir fs.FS) (map[string][]byte, error) {
	files := map[string][]byte{}
	total := int64(0)
	for _, root := range []string{"manifest.json", "modules", "contracts"} {
		err := fs.WalkDir(dir, root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			if !entry.Type().IsRegular() {
				return fmt.Errorf("%s is not a regular file", name)
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if total += info.Size(); total > maxBundle || len(files) == maxFiles {
				return fmt.Errorf("more than %d bytes or %d files", maxBundle, maxFiles)
			}
			files[name], err = fs.ReadFile(dir, name)
			return err
		})
		if err != nil {
			return nil, bundleError("bundle_unreadable", err)
		}
	}
	return files, nil
}

func pack(files map[string][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(files[name])), Mode: 0o644, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// unpack reads a packed bundle. Only the one form that Pack writes is accepted,
// so that equal content always has the same digest.
func unpack(packed []byte) (map[string][]byte, error) {
	if len(packed) > 2*maxBundle {
		return nil, fmt.Errorf("more than %d bytes", 2*maxBundle)
	}
	files := map[string][]byte{}
	r := tar.NewReader(bytes.NewReader(packed))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(files) == maxFiles || !fs.ValidPath(header.Name) {
			return nil, fmt.Errorf("entry %q is not acceptable", header.Name)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
	again, err := pack(files)
	if err != nil || !bytes.Equal(again, packed) {
		return nil, errors.New("not in the form that `studio bundle` writes")
	}
	return files, nil
}

// LoadDir packs a bundle directory and loads it. factories add modules to the
// built-in ones; nil adds none.
func LoadDir(dir fs.FS, factories map[string]Factory) (*Bundle, error) {
	packed, _, err := Pack(dir)
	if err != nil {
		return nil, err
	}
	return Load(packed, factories)
}

// Load reads and checks a packed bundle: the manifest, the digest of every
// configuration, that every module is known, that its contracts compile, and
// that its configuration satisfies its input contract.
func Load(packed []byte, factories map[string]Factory) (*Bundle, error) {
	files, err := unpack(packed)
	if err != nil {
		return nil, bundleError("bundle_unreadable", err)
	}
	b := &Bundle{Artifact: digestOf(packed), files: files}
	if b.Manifest, err = parseManifest(files["manifest.json"]); err != nil {
		return nil, bundleError("manifest_invalid", err)
	}
	contracts := map[string][]byte{}
	for name, text := range files {
		if strings.HasPrefix(name, "contracts/") {
			contracts[name] = text
		}
	}
	set, err := newContractSet(contracts)
	if err != nil {
		return nil, bundleError("contract_invalid", err)
	}
	for ref, slot := range map[string]**contract{"SectionSpec": &b.sectionSpec, "Section": &b.section, "Feedback": &b.feedback} {
		if *slot, err = set.compile("contracts/openapi.yaml#/components/schemas/" + ref); err != nil {
			return nil, bundleError("contract_invalid", err)
		}
	}
	for _, entry := range b.Manifest.Modules {
		m, err := loadModule(entry, files, set, factories)
		if err != nil {
			return nil, bundleError("module_invalid", fmt.Errorf("module %s: %w", entry.Name, err))
		}
		b.modules = append(b.modules, m)
	}
	return b, nil
}

func loadModule(entry Entry, files map[string][]byte, set *contractSet, factories map[string]Factory) (loaded, error) {
	m := loaded{Entry: entry}
	text, ok := files[entry.Config]
	if !ok {
		return m, fmt.Errorf("%s is missing", entry.Config)
	}
	if got := digestOf(text); got != entry.Digest {
		return m, fmt.Errorf("%s has %s, the manifest says %s; `studio seal DIR` writes the digests", entry.Config, got, entry.Digest)
	}
	object, err := audit.ObjectOrDigest(text)
	if err != nil {
		return m, fmt.Errorf("%s: %w", entry.Config, err)
	}
	m.config = object
	values, err := decodeAny(object)
	if err != nil {
		return m, fmt.Errorf("%s: %w", entry.Config, err)
	}
	m.values = values.(map[string]any)
	if m.input, err = set.compile(entry.InterfaceSchema); err != nil {
		return m, err
	}
	if m.input.output == "" {
		return m, fmt.Errorf("contract %s names no output contract (x-output)", entry.InterfaceSchema)
	}
	if m.output, err = set.compile(m.input.output); err != nil {
		return m, err
	}
	sample := Call{Bars: 1, Mode: "minor", Progression: []int{0}}
	for key := range sample.context() {
		if _, clash := m.values[key]; clash {
			return m, fmt.Errorf("%s: %q is given by the orchestrator, not by a configuration", entry.Config, key)
		}
	}
	if broken := m.input.check(m.instance(sample)); broken != "" {
		return m, fmt.Errorf("%s does not satisfy %s: %s", entry.Config, entry.InterfaceSchema, broken)
	}
	factory, ok := factories[entry.Name]
	if !ok {
		factory, ok = builtin[entry.Name]
		ok = ok && entry.Type == "deterministic"
	}
	if !ok {
		return m, fmt.Errorf("this studio has no %s module of that name", entry.Type)
	}
	m.module, err = factory(m.config)
	return m, err
}

// instance is a call as the module's input contract judges it: the
// configuration, and what of the call the contract has a property for.
func (m loaded) instance(c Call) map[string]any {
	instance := maps.Clone(m.values)
	for key, value := range c.context() {
		if m.input.properties[key] {
			instance[key] = value
		}
	}
	return instance
}

// Seal writes the digest of every configuration into manifest.json of a bundle
// directory, and a new manifest version unless it is "".
func Seal(dir, version string) error {
	name := filepath.Join(dir, "manifest.json")
	text, err := os.ReadFile(name)
	if err != nil {
		return bundleError("bundle_unreadable", err)
	}
	m, err := parseManifest(text)
	if err != nil {
		return bundleError("manifest_invalid", err)
	}
	if version != "" {
		m.Version = version
	}
	for i := range m.Modules {
		e := &m.Modules[i]
		config, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(e.Config)))
		if err != nil {
			return bundleError("bundle_unreadable", err)
		}
		e.Digest = digestOf(config)
	}
	if text, err = m.encode(); err != nil {
		return bundleError("bundle_unwritable", err)
	}
	if _, err := parseManifest(text); err != nil {
		return bundleError("manifest_invalid", err)
	}
	if err := os.WriteFile(name, text, 0o644); err != nil {
		return bundleError("bundle_unwritable", err)
	}
	return nil
}
