package demo

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/governhq/govern/studio"
)

// The compressed durations of the demo's policy.
const (
	monitorHigh     = "6s"
	monitorCritical = "10s"
	bake            = "3s"
)

const policyText = `# The policy of the demo: the default, with durations compressed.
version: 1
presence: []           # the demo has no security keys; say so in every verdict
owners:
  rules:
    - {path: "*", owners: [bo]}
workflows:
  high:
    - {stage: review, roles: [owner, security_lead]}
    - {stage: validate, checks: [tests, contracts, coverage, security_scan]}
    - {stage: canary, percent: 5}
    - {stage: monitor, for: %[1]s}
    - {stage: rollout, steps: [5, 100]}
    - {stage: final, roles: [owner, security_lead]}
    - {stage: merge}
  critical:
    - {stage: review, roles: [owner, security_lead, architecture_lead]}
    - {stage: validate, checks: [tests, contracts, coverage, security_scan, architecture_review]}
    - {stage: staging}
    - {stage: integration}
    - {stage: canary, percent: 1}
    - {stage: monitor, for: %[2]s}
    - {stage: rollout, steps: [1, 5, 25, 100], bake: %[3]s}
    - {stage: final, roles: [owner, security_lead, architecture_lead]}
    - {stage: merge}
canary:
  strategy:
    rollback_thresholds: {error_rate: 0.01, latency_p95_ms: 1000, throughput_degradation: 0.1}
    promotion_criteria: {error_rate: "<0.005", latency_p95_ms: "<500"}
targets:
  staging:
    environment: staging
    paths: ["studio/**"]
    artifact: studio
    deploy: [%[4]q, demo, up, %[5]q, "{digest}"]
    undeploy: [%[4]q, demo, down, %[5]q]
    health: "http://%[5]s/healthz"
    identify: "http://%[5]s/identify"
  prod:
    environment: production
    paths: ["studio/**"]
    artifact: studio
    traffic: {driver: proxy, listen: %[6]q, stable: "http://%[7]s", candidate: "http://%[8]s"}
    signals:
      error_rate: proxy
      latency_p95_ms: proxy
      throughput: proxy
      satisfaction_score: {source: none, because: the demo has no listeners}
      drift: {source: none, because: no model is touched}
      critical_alerts: {source: none, because: the demo has no alert manager}
    baseline: stable
    deploy: [%[4]q, demo, up, "{address}", "{digest}"]
    undeploy: [%[4]q, demo, down, "{address}"]
    health: /healthz
    identify: /identify
`

// The governed repository also holds a small Go package, so that tests, their
// coverage and the integration test are real runs of go test.
var goFiles = map[string]string{
	"go.mod": "module example.com/demo\n\ngo 1.24\n",
	"tempo/tempo.go": `// Package tempo reads tempo marks.
package tempo

// BPM gives the beats a minute of a tempo mark, 120 for marks it does not know.
func BPM(mark string) int {
	switch mark {
	case "largo":
		return 50
	case "presto":
		return 180
	}
	return 120
}
`,
	"tempo/tempo_test.go": `package tempo

import "testing"

func TestBPM(t *testing.T) {
	for mark, want := range map[string]int{"largo": 50, "presto": 180, "": 120} {
		if got := BPM(mark); got != want {
			t.Errorf("BPM(%q) = %d, want %d", mark, got, want)
		}
	}
}
`,
	"integration/studio_test.go": `//go:build integration

package integration

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

func TestSectionsOnStaging(t *testing.T) {
	for _, seed := range []string{"1", "2", "3"} {
		resp, err := http.Post(os.Getenv("STAGING")+"/v1/sections", "application/json", strings.NewReader(` + "`" + `{"name":"Check","bars":4,"seed":` + "`" + `+seed+"}"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("seed %s: %s", seed, resp.Status)
		}
	}
}
`,
	"NOTES.md": "# Notes\n\nSections are composd from modules.\n",
}

func (s *stage) setUp(ctx context.Context) error {
	for _, p := range [][3]string{
		{"ana", "human", ""},
		{"bo", "human", ""},
		{"cy", "human", "security_lead"},
		{"di", "human", "architecture_lead"},
		{"ci", "service", "ci,security_scanner"},
		{"root", "service", ""},
	} {
		if err := s.newPerson(p[0], p[1], p[2]); err != nil {
			return err
		}
	}
	var err error
	if s.ports, err = freePorts("staging", "proxy", "a", "b"); err != nil {
		return err
	}
	if err := s.seed(ctx); err != nil {
		return err
	}
	central := s.path("central.git")
	if _, err := s.must(ctx, "bo", central, s.exe, "init"); err != nil {
		return err
	}
	if _, err := s.must(ctx, "bo", central, s.exe, "hook", "install"); err != nil {
		return err
	}
	s.out.step("ana writes, bo owns, cy leads security, di architecture, ci is a service; each with a key")
	s.out.step("a bare repository with a log (its genesis signed by bo) and a pre-receive hook")
	digest, err := s.bundle(ctx, "bo", filepath.Join(s.people["bo"].clone, "studio"))
	if err != nil {
		return err
	}
	if _, err := s.must(ctx, "root", s.dir, s.exe, "demo", "up", s.ports["a"], digest); err != nil {
		return err
	}
	if err := s.startServer(ctx); err != nil {
		return err
	}
	if err := s.until(ctx, waitShort, "the stable version to be known", func() (bool, error) {
		t, err := s.target(ctx)
		return t.Stable != nil && t.Stable.Artifact.Digest == digest, err
	}); err != nil {
		return err
	}
	s.out.step("govern serve: studio %s is stable behind the proxy on %s", digest[7:19], s.ports["proxy"])
	return nil
}

// seed makes the baseline and everybody's clone.
func (s *stage) seed(ctx context.Context) error {
	if _, err := s.must(ctx, "bo", s.dir, "git", "init", "-q", "--bare", "-b", "main", "central.git"); err != nil {
		return err
	}
	seed := s.people["bo"].clone
	if _, err := s.must(ctx, "bo", s.dir, "git", "clone", "-q", s.path("central.git"), seed); err != nil {
		return err
	}
	files := map[string]string{".govern/allowed_signers": s.registry(), ".gitattributes": "* -text\n"}
	for name, text := range goFiles {
		files[name] = text
	}
	files["governance.yaml"] = fmt.Sprintf(policyText, monitorHigh, monitorCritical, bake, s.exe, s.ports["staging"], s.ports["proxy"], s.ports["a"], s.ports["b"])
	err := fs.WalkDir(studio.Default(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(studio.Default(), path)
		files["studio/"+path] = string(b)
		return err
	})
	if err != nil {
		return err
	}
	if err := write(seed, files); err != nil {
		return err
	}
	for _, args := range [][]string{{"switch", "-q", "-C", "main"}, {"add", "-A"}, {"commit", "-q", "-m", "baseline"}, {"push", "-q", "origin", "main"}} {
		if _, err := s.git(ctx, "bo", args...); err != nil {
			return err
		}
	}
	for _, who := range []string{"ana", "cy", "di", "ci"} {
		if _, err := s.must(ctx, who, s.dir, "git", "clone", "-q", s.path("central.git"), s.people[who].clone); err != nil {
			return err
		}
	}
	return nil
}

func write(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) registry() string {
	var b strings.Builder
	for _, h := range []string{"ana", "bo", "cy", "di", "ci"} {
		p := s.people[h]
		fmt.Fprintf(&b, "%s,%s@example.com namespaces=\"govern-statement\" %s handle=%s kind=%s", h, h, p.public, h, p.kind)
		if p.roles != "" {
			fmt.Fprintf(&b, " roles=%s", p.roles)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// bundle builds the deployable from a folder and keeps it by digest.
func (s *stage) bundle(ctx context.Context, who, folder string) (string, error) {
	out := s.path("artifacts", "new.tar")
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", err
	}
	if _, err := s.must(ctx, who, s.dir, s.exe, "studio", "bundle", folder, "-O", out); err != nil {
		return "", err
	}
	digest, err := digestFile(out)
	if err != nil {
		return "", err
	}
	return digest, os.Rename(out, s.path("artifacts", strings.TrimPrefix(digest, "sha256:")+".tar"))
}
