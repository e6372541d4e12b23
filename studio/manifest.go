package studio

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/governhq/govern/audit"
)

// Manifest is manifest.json of a bundle.
type Manifest struct {
	Version string  `json:"manifest_version"` // semantic version
	Modules []Entry `json:"modules"`          // in load order
}

// Entry is one module of a manifest.
type Entry struct {
	Name            string `json:"name"`
	Version         string `json:"version"`          // semantic version
	InterfaceSchema string `json:"interface_schema"` // contract of its input; x-output there names the one of its output
	Owner           string `json:"owner"`
	Type            string `json:"type"`   // deterministic or adaptive
	Digest          string `json:"digest"` // sha256:<hex> of the configuration file
	Config          string `json:"config"` // path of the configuration in the bundle
}

var (
	semver     = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
	moduleName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
)

// maxModules bounds a manifest; a Standard MIDI File has room for more, an
// audit record has not.
const maxModules = 64

func parseManifest(text []byte) (Manifest, error) {
	object, err := audit.ObjectOrDigest(text)
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest.json: %w", err)
	}
	var m Manifest
	if err := decode(object, &m); err != nil {
		return Manifest{}, fmt.Errorf("manifest.json: %w", err)
	}
	if !semver.MatchString(m.Version) {
		return Manifest{}, fmt.Errorf("manifest.json: manifest_version %q is not a semantic version", m.Version)
	}
	if len(m.Modules) == 0 || len(m.Modules) > maxModules {
		return Manifest{}, fmt.Errorf("manifest.json: a manifest names 1 to %d modules", maxModules)
	}
	seen := map[string]bool{}
	for _, e := range m.Modules {
		if err := e.check(); err != nil {
			return Manifest{}, fmt.Errorf("manifest.json: module %q: %w", e.Name, err)
		}
		if seen[e.Name] {
			return Manifest{}, fmt.Errorf("manifest.json: module %q is there twice", e.Name)
		}
		seen[e.Name] = true
	}
	return m, nil
}

func (e Entry) check() error {
	file, _, _ := strings.Cut(e.InterfaceSchema, "#")
	switch {
	case !moduleName.MatchString(e.Name):
		return fmt.Errorf("a name has lower-case letters, digits, _ and -")
	case !semver.MatchString(e.Version):
		return fmt.Errorf("version %q is not a semantic version", e.Version)
	case e.Owner == "":
		return fmt.Errorf("it has no owner")
	case e.Type != "deterministic" && e.Type != "adaptive":
		return fmt.Errorf("type %q is neither deterministic nor adaptive", e.Type)
	case !fs.ValidPath(e.Config) || !strings.HasPrefix(e.Config, "modules/"):
		return fmt.Errorf("config %q is not a path below modules/", e.Config)
	case !fs.ValidPath(file) || !strings.HasPrefix(file, "contracts/"):
		return fmt.Errorf("interface_schema %q is not below contracts/", e.InterfaceSchema)
	}
	return nil
}

// encode is the manifest as Seal writes it.
func (m Manifest) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}
