package studio

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestPackIsDeterministic(t *testing.T) {
	first, digest, err := Pack(Default())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "copy") // other times, modes and order of creation
	if err := os.CopyFS(dir, Default()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", ".hidden"} { // not part of a bundle
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "manifest.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, again, err := Pack(os.DirFS(dir))
	if err != nil || !bytes.Equal(first, second) || digest != again {
		t.Errorf("%s and %s, %v", digest, again, err)
	}
	b, err := Load(first, nil)
	if err != nil || b.Artifact != digest {
		t.Errorf("%v, %v", b, err)
	}
	r := tar.NewReader(bytes.NewReader(first)) // any tar reads it
	for last := ""; ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		if h.Name <= last || !h.ModTime.IsZero() && h.ModTime.Unix() != 0 {
			t.Errorf("entry %s behind %s, %v", h.Name, last, h.ModTime)
		}
		last = h.Name
	}
}

func TestSealedDefaultIsUpToDate(t *testing.T) {
	text, err := fs.ReadFile(Default(), "manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	dir := editedDir(t, "manifest.json", `"kick"`, `"kick"`)
	sealed, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil || !bytes.Equal(text, sealed) {
		t.Errorf("seal changes the default manifest: %v", err)
	}
}

// files is the default bundle as a map that a test may change.
func files(t *testing.T) fstest.MapFS {
	t.Helper()
	all, err := readFiles(Default())
	if err != nil {
		t.Fatal(err)
	}
	m := fstest.MapFS{}
	for name, text := range all {
		m[name] = &fstest.MapFile{Data: text}
	}
	return m
}

func TestLoadRefuses(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.json") // a good schema, in the wrong place
	if err := os.WriteFile(outside, []byte(`{"const": 9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	edit := func(file, old, new string) func(fstest.MapFS) {
		return func(m fstest.MapFS) {
			if !bytes.Contains(m[file].Data, []byte(old)) {
				t.Fatalf("%s lacks %q", file, old)
			}
			m[file] = &fstest.MapFile{Data: bytes.Replace(m[file].Data, []byte(old), []byte(new), 1)}
			if strings.HasPrefix(file, "modules/") {
				sealMap(t, m)
			}
		}
	}
	for name, tt := range map[string]struct {
		change func(fstest.MapFS)
		code   string
	}{
		"no manifest":             {func(m fstest.MapFS) { delete(m, "manifest.json") }, "bundle_unreadable"},
		"unknown key":             {edit("manifest.json", `"manifest_version"`, `"extra":1,"manifest_version"`), "manifest_invalid"},
		"duplicate key":           {edit("manifest.json", `"manifest_version"`, `"manifest_version":"9.9.9","manifest_version"`), "manifest_invalid"},
		"version":                 {edit("manifest.json", `"1.0.0"`, `"v1"`), "manifest_invalid"},
		"no owner":                {edit("manifest.json", `"rhythm"`, `""`), "manifest_invalid"},
		"type":                    {edit("manifest.json", `"deterministic"`, `"magic"`), "manifest_invalid"},
		"config outside":          {edit("manifest.json", `"modules/kick.json"`, `"../kick.json"`), "manifest_invalid"},
		"schema outside":          {edit("manifest.json", `"contracts/kick.json"`, `"kick.json"`), "manifest_invalid"},
		"twice":                   {edit("manifest.json", `"name": "snare"`, `"name": "kick"`), "manifest_invalid"},
		"no modules":              {func(m fstest.MapFS) { m["manifest.json"].Data = []byte(`{"manifest_version":"1.0.0","modules":[]}`) }, "manifest_invalid"},
		"config changed":          {func(m fstest.MapFS) { m["modules/kick.json"].Data = append(m["modules/kick.json"].Data, ' ') }, "module_invalid"},
		"config missing":          {func(m fstest.MapFS) { delete(m, "modules/kick.json") }, "module_invalid"},
		"contract missing":        {func(m fstest.MapFS) { delete(m, "contracts/kick.json") }, "module_invalid"},
		"component missing":       {edit("manifest.json", "schemas/BassSpec", "schemas/BaseSpec"), "module_invalid"},
		"no SectionSpec":          {edit("contracts/openapi.yaml", "    SectionSpec:", "    OtherSpec:"), "contract_invalid"},
		"contract no YAML":        {edit("contracts/openapi.yaml", "openapi:", "{openapi:"), "contract_invalid"},
		"contract no JSON":        {edit("contracts/kick.json", "{", "{{"), "contract_invalid"},
		"contract no schema":      {edit("contracts/kick.json", `"type": "object"`, `"type": "thing"`), "module_invalid"},
		"contract from the net":   {edit("contracts/kick.json", `"const": 9`, `"$ref": "https://example.org/x.json"`), "module_invalid"},
		"contract from a file":    {edit("contracts/kick.json", `"const": 9`, `"$ref": "file://`+outside+`"`), "module_invalid"},
		"no output contract":      {edit("contracts/kick.json", `"x-output"`, `"x-out"`), "module_invalid"},
		"config against contract": {edit("modules/bass.json", `"spread": 12`, `"spread": 49`), "module_invalid"},
		"unknown setting":         {edit("modules/bass.json", `"spread"`, `"extra": 1, "spread"`), "module_invalid"},
		"setting missing":         {edit("modules/bass.json", `"spread": 12,`, ``), "module_invalid"},
		"setting of the call":     {edit("modules/bass.json", `"spread"`, `"bars": 3, "spread"`), "module_invalid"},
		"unknown module":          {edit("manifest.json", `"name": "bass"`, `"name": "tuba"`), "module_invalid"},
		"adaptive, none built in": {edit("manifest.json", `"deterministic"`, `"adaptive"`), "module_invalid"},
	} {
		m := files(t)
		tt.change(m)
		b, err := LoadDir(m, nil)
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != tt.code {
			t.Errorf("%s: %v, %v", name, b != nil, err)
		}
	}
}

// sealMap is Seal for a map.
func sealMap(t *testing.T, m fstest.MapFS) {
	t.Helper()
	var manifest Manifest
	if err := json.Unmarshal(m["manifest.json"].Data, &manifest); err != nil {
		t.Fatal(err)
	}
	for i := range manifest.Modules {
		manifest.Modules[i].Digest = digestOf(m[manifest.Modules[i].Config].Data)
	}
	text, err := manifest.encode()
	if err != nil {
		t.Fatal(err)
	}
	m["manifest.json"].Data = text
}

func TestLoadRefusesOtherForms(t *testing.T) {
	packed, _, err := Pack(Default())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(packed); i += 397 { // every flipped byte is found
		bad := bytes.Clone(packed)
		bad[i] ^= 1
		if b, err := Load(bad, nil); err == nil {
			if b.Artifact == digestOf(packed) {
				t.Fatalf("byte %d: a changed bundle has the old digest", i)
			}
		}
	}
	for name, bad := range map[string][]byte{
		"empty": {}, "text": []byte("hello"), "cut": packed[:len(packed)/2], "more behind": append(bytes.Clone(packed), 0),
	} {
		if _, err := Load(bad, nil); err == nil {
			t.Errorf("%s was loaded", name)
		}
	}
	dir := filepath.Join(t.TempDir(), "b")
	if err := os.CopyFS(dir, Default()); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "modules", "link.json")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Pack(os.DirFS(dir)); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a symbolic link was packed: %v", err)
	}
}

// drone is a module of another hand.
type drone struct{}

func (drone) Compose(_ context.Context, c Call) (Part, error) {
	p := newPatternBook("bass", 1, 33)
	for range c.Bars {
		p.play("", func() []Note { return []Note{{0, 16, 28 + c.Tonic, 90}} })
	}
	return p.part, nil
}

// The seat of adaptive modules: the manifest says adaptive, a factory makes it,
// and the contracts hold for it as for all.
func TestAdaptiveSeat(t *testing.T) {
	m := files(t)
	var manifest Manifest
	if err := json.Unmarshal(m["manifest.json"].Data, &manifest); err != nil {
		t.Fatal(err)
	}
	manifest.Modules[3].Type = "adaptive"
	m["manifest.json"].Data, _ = manifest.encode()
	b, err := LoadDir(m, map[string]Factory{"bass": func(json.RawMessage) (Module, error) { return drone{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.compose(t.Context(), SectionSpec{Name: "x", Bars: 2, Seed: 1}.withDefaults())
	if err != nil || s.Summary[3].Notes != 2 {
		t.Errorf("%+v, %v", s.Summary, err)
	}
}
