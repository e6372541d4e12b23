package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
)

const (
	waitShort = 20 * time.Second
	waitLong  = 60 * time.Second
)

func digestFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	return string(gov.DigestOf(b)), err
}

// branch begins a change in ana's clone.
func (s *stage) branch(ctx context.Context, name string) error {
	for _, args := range [][]string{{"fetch", "-q", "origin"}, {"switch", "-q", "-C", name, "origin/main"}} {
		if _, err := s.git(ctx, "ana", args...); err != nil {
			return err
		}
	}
	return nil
}

// edit replaces text in a file of ana's clone and commits it.
func (s *stage) edit(ctx context.Context, file, old, new, message string) error {
	path := filepath.Join(s.people["ana"].clone, file)
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Contains(b, []byte(old)) {
		return fmt.Errorf("%s does not hold %q", file, old)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte(old), []byte(new), 1), 0o644); err != nil {
		return err
	}
	if strings.HasPrefix(file, "studio/") {
		if _, err := s.must(ctx, "ana", s.people["ana"].clone, s.exe, "studio", "seal", "studio"); err != nil {
			return err
		}
	}
	_, err = s.git(ctx, "ana", "commit", "-q", "-a", "-m", message)
	return err
}

// evidence lets ci run the real tests on the change's branch and attest them.
func (s *stage) evidence(ctx context.Context, id, branch string, high, critical bool) error {
	clone := s.people["ci"].clone
	for _, args := range [][]string{{"fetch", "-q", "origin"}, {"switch", "-q", "-C", branch, "origin/" + branch}} {
		if _, err := s.git(ctx, "ci", args...); err != nil {
			return err
		}
	}
	reports := s.path("reports", id)
	if err := os.MkdirAll(reports, 0o755); err != nil {
		return err
	}
	cover := filepath.Join(reports, "cover.out")
	tests, err := s.must(ctx, "ci", clone, "go", "test", "-count=1", "-json", "-coverprofile", cover, "./tempo")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(reports, "tests.json"), []byte(tests), 0o644); err != nil {
		return err
	}
	if _, err := s.govern(ctx, "ci", anyCode, "evidence", "add", id, filepath.Join(reports, "tests.json"), cover, "--branch", branch); err != nil {
		return err
	}
	if !high {
		return nil
	}
	if err := s.scans(ctx, id, branch, reports, critical); err != nil {
		return err
	}
	digest, err := s.bundle(ctx, "ci", filepath.Join(clone, "studio"))
	if err != nil {
		return err
	}
	file := s.path("artifacts", strings.TrimPrefix(digest, "sha256:")+".tar")
	_, err = s.govern(ctx, "ci", anyCode, "artifact", "add", id, "studio", file, "--branch", branch)
	return err
}

// scans runs go vet as the scanner and hands its findings in as SARIF.
func (s *stage) scans(ctx context.Context, id, branch, reports string, critical bool) error {
	code, _, talk, err := s.run(ctx, "ci", s.people["ci"].clone, "go", "vet", "./...")
	if err != nil {
		return err
	}
	results := "[]"
	if code != 0 {
		text, err := json.Marshal(talk)
		if err != nil {
			return err
		}
		results = fmt.Sprintf(`[{"ruleId":"vet","level":"error","message":{"text":%s}}]`, text)
	}
	sarif := filepath.Join(reports, "scan.sarif")
	doc := fmt.Sprintf(`{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"go vet","version":"1"}},"results":%s}]}`, results)
	if err := os.WriteFile(sarif, []byte(doc), 0o644); err != nil {
		return err
	}
	kinds := []string{"security_scan"}
	if critical {
		kinds = append(kinds, "architecture_review")
	}
	for _, kind := range kinds {
		if _, err := s.govern(ctx, "ci", anyCode, "evidence", "add", id, sarif, "--kind", kind, "--branch", branch); err != nil {
			return err
		}
	}
	return nil
}

// standard: a typo fix. Its author tries to push past the gate, and is refused.
func (s *stage) standard(ctx context.Context) error {
	if err := s.branch(ctx, "fix-typo"); err != nil {
		return err
	}
	if err := s.edit(ctx, "NOTES.md", "composd", "composed", "notes: a typo"); err != nil {
		return err
	}
	if _, err := s.govern(ctx, "ana", 9, "submit", "-m", "a typo in the notes", "--test", "example.com/demo/tempo/TestBPM"); err != nil {
		return err
	}
	s.out.step("ana: git commit, govern submit → CHANGE-1, signed and pushed")
	code, _, talk, err := s.run(ctx, "ana", s.people["ana"].clone, "git", "push", "origin", "HEAD:main")
	if err != nil {
		return err
	}
	if code == 0 {
		return errors.New("a push without approval was not refused")
	}
	s.out.step("ana pushes to main without an approval and is refused by the hook:")
	s.out.quote(remoteLines(talk))
	if err := s.evidence(ctx, "CHANGE-1", "fix-typo", false, false); err != nil {
		return err
	}
	if _, err := s.govern(ctx, "bo", anyCode, "approve", "CHANGE-1", "-m", "yes, a typo"); err != nil {
		return err
	}
	s.out.step("ci attests go test, bo approves with one command")
	if err := s.merge(ctx, "fix-typo"); err != nil {
		return err
	}
	s.out.step("the same push now passes: CHANGE-1 is merged")
	return nil
}

// merge brings a branch's statements home and pushes it to main.
func (s *stage) merge(ctx context.Context, branch string) error {
	for _, args := range [][]string{{"fetch", "-q", "origin"}, {"switch", "-q", "-C", branch, "origin/" + branch}, {"push", "-q", "origin", "HEAD:main"}} {
		if _, err := s.git(ctx, "ana", args...); err != nil {
			return err
		}
	}
	return nil
}

// remoteLines are the lines a hook said, without git's frame.
func remoteLines(talk string) string {
	var b strings.Builder
	for line := range strings.Lines(talk) {
		if rest, ok := strings.CutPrefix(line, "remote:"); ok {
			b.WriteString(strings.TrimPrefix(strings.TrimRight(rest, " \n"), " ") + "\n")
		}
	}
	return strings.TrimSpace(b.String())
}

// bad: a defect that tests do not see and real traffic does.
func (s *stage) bad(ctx context.Context) error {
	s.load = startLoad(ctx, "http://"+s.ports["proxy"])
	if err := s.branch(ctx, "wide-bass"); err != nil {
		return err
	}
	if err := s.edit(ctx, "studio/modules/bass.json", `"spread": 12`, `"spread": 40`, "bass: wider leaps"); err != nil {
		return err
	}
	if err := s.submitted(ctx, "CHANGE-2", "wide-bass", "high", "wider leaps sound better"); err != nil {
		return err
	}
	if err := s.approvals(ctx, "CHANGE-2", "", "bo", "cy"); err != nil {
		return err
	}
	s.out.step("bo and cy approve CHANGE-2; tests, coverage and scan pass: nobody has seen the defect")
	began := time.Now()
	rolledBack := func(t targetState) bool {
		return t.Run == nil && slices.ContainsFunc(t.Ended, func(e struct {
			Change string `json:"change"`
			How    string `json:"how"`
			Cause  string `json:"cause"`
		},
		) bool {
			return e.Change == "CHANGE-2" && e.How == "rolled_back" && e.Cause == "verdict"
		})
	}
	if err := s.watch(ctx, "CHANGE-2", rolledBack); err != nil {
		return err
	}
	t, err := s.target(ctx)
	if err != nil {
		return err
	}
	if len(t.Blocked) != 1 {
		return fmt.Errorf("%d digests are blocked, want the candidate's", len(t.Blocked))
	}
	for d, b := range t.Blocked {
		s.out.step("rolled back by itself after %s; %s is blocked", time.Since(began).Round(100*time.Millisecond), d[7:19])
		s.out.quote(b.Reason)
	}
	code, _, _, err := s.run(ctx, "ana", s.people["ana"].clone, "git", "push", "origin", "HEAD:main")
	if err != nil || code == 0 {
		return fmt.Errorf("a push of the rolled-back change passed: %v", err)
	}
	s.out.step("pushing it to main anyway is refused")
	return nil
}

// submitted submits a change and has it attested.
func (s *stage) submitted(ctx context.Context, id, branch, risk, why string) error {
	if _, err := s.govern(ctx, "ana", 9, "submit", "-m", why, "--risk", risk, "--test", "example.com/demo/tempo/TestBPM"); err != nil {
		return err
	}
	return s.evidence(ctx, id, branch, true, risk == "critical")
}

const anyCode = -1

// approvals: each approver signs with one command.
func (s *stage) approvals(ctx context.Context, id, stage string, who ...string) error {
	for _, w := range who {
		args := []string{"approve", id, "-m", "looked at it as " + w}
		if stage != "" {
			args = append(args, "--stage", stage)
		}
		if _, err := s.govern(ctx, w, anyCode, args...); err != nil {
			return err
		}
	}
	return nil
}

// watch follows a rollout until it is as wanted, and tells every step of it.
func (s *stage) watch(ctx context.Context, id string, done func(targetState) bool) error {
	s.load.rate(busy)
	defer s.load.rate(calm)
	last := ""
	err := s.until(ctx, waitLong, id+" to roll out as told", func() (bool, error) {
		t, err := s.target(ctx)
		if err != nil {
			return false, err
		}
		if t.Run != nil && t.Run.Change == id && t.Run.Step < len(t.Run.Plan.Steps) {
			now := fmt.Sprintf("%s, %d %% of the traffic", t.Run.Plan.Steps[t.Run.Step].Name, t.Run.Live)
			if now != last && (t.Run.Phase == "watching" || t.Run.Phase == "waiting" || t.Run.Phase == "final") {
				last = now
				s.out.step("%s: %s", id, now)
			}
			s.out.progress("%s (%d requests sent, %d failed)", t.Summary, s.load.sent.Load(), s.load.failed.Load())
		}
		return done(t), nil
	})
	if err != nil {
		_, out, _, _ := s.run(ctx, "root", s.path("central.git"), s.exe, "status", id)
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// critical: a change that goes all the way.
func (s *stage) critical(ctx context.Context) error {
	if err := s.branch(ctx, "soft-bass"); err != nil {
		return err
	}
	if err := s.edit(ctx, "studio/modules/bass.json", `"velocity_low": 85`, `"velocity_low": 80`, "bass: softer"); err != nil {
		return err
	}
	if err := s.submitted(ctx, "CHANGE-3", "soft-bass", "critical", "softer attacks"); err != nil {
		return err
	}
	if _, err := s.govern(ctx, "di", anyCode, "checklist", "attest", "CHANGE-3", "architecture_review", "-m", "no new dependency between modules"); err != nil {
		return err
	}
	if err := s.approvals(ctx, "CHANGE-3", "", "bo", "cy", "di"); err != nil {
		return err
	}
	s.out.step("bo, cy and di approve CHANGE-3; di signs the architecture finding apart from it")
	waiting := func(t targetState) bool {
		return t.Run != nil && t.Run.Change == "CHANGE-3" && t.Run.Phase == "waiting"
	}
	if err := s.watch(ctx, "CHANGE-3", waiting); err != nil {
		return err
	}
	if err := s.integration(ctx); err != nil {
		return err
	}
	s.out.step("the integration tests pass against the candidate on staging")
	full := func(t targetState) bool { return t.Run != nil && t.Run.Change == "CHANGE-3" && t.Run.Phase == "final" }
	if err := s.watch(ctx, "CHANGE-3", full); err != nil {
		return err
	}
	if err := s.approvals(ctx, "CHANGE-3", "final", "bo", "cy", "di"); err != nil {
		return err
	}
	s.out.step("bo, cy and di approve the outcome: this attempt and its latched verdict")
	if err := s.merge(ctx, "soft-bass"); err != nil {
		return err
	}
	settled := func(t targetState) bool { return t.Run == nil && t.Stable != nil && t.Stable.Change == "CHANGE-3" }
	if err := s.watch(ctx, "CHANGE-3", settled); err != nil {
		return err
	}
	s.load.stop()
	s.out.step("merged; the new version is stable, the old one is gone (%d requests, %d failed, all of the bad canary)", s.load.sent.Load(), s.load.failed.Load())
	return nil
}

// integration runs the integration test against staging, as ci.
func (s *stage) integration(ctx context.Context) error {
	clone := s.people["ci"].clone
	cmd := []string{"env", "STAGING=http://" + s.ports["staging"], "go", "test", "-count=1", "-json", "-tags=integration", "./integration"}
	out, err := s.must(ctx, "ci", clone, cmd...)
	if err != nil {
		return err
	}
	file := s.path("reports", "CHANGE-3", "integration.json")
	if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
		return err
	}
	_, err = s.govern(ctx, "ci", anyCode, "evidence", "add", "CHANGE-3", file, "--kind", "integration", "--branch", "soft-bass")
	return err
}

// proof: anybody can check all of it, and a flipped byte is found.
func (s *stage) proof(ctx context.Context) error {
	central := s.path("central.git")
	for _, what := range []string{"log", "decisions"} {
		out, err := s.must(ctx, "root", central, s.exe, "verify", what, "-o", "json")
		if err != nil {
			return err
		}
		var c struct {
			OK      bool           `json:"ok"`
			Checked map[string]any `json:"checked"`
		}
		if err := json.Unmarshal([]byte(out), &c); err != nil || !c.OK {
			return fmt.Errorf("verify %s: %v\n%s", what, err, out)
		}
		if what == "log" {
			s.out.step("govern verify log: %v records, every hash, signature and stream checked", c.Checked["records"])
		} else {
			s.out.step("govern verify decisions: %v decisions run again, each came out as recorded", c.Checked["decisions"])
		}
	}
	doc, err := s.must(ctx, "root", central, s.exe, "change", "doc", "CHANGE-3")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("CHANGE-3.md"), []byte(doc), 0o644); err != nil {
		return err
	}
	if !strings.Contains(doc, "# Governance Document - CHANGE-3") || !strings.Contains(doc, "git revert") {
		return fmt.Errorf("the governance document is not what it should be:\n%s", doc)
	}
	s.out.step("govern change doc CHANGE-3: the governance document, %d lines", strings.Count(doc, "\n"))
	return s.tamper(ctx)
}

// tamper flips one byte in a copy of the log and sees it found.
func (s *stage) tamper(ctx context.Context) error {
	copied := s.path("tampered")
	if err := os.CopyFS(copied, os.DirFS(s.path("central.git", "govern"))); err != nil {
		return err
	}
	file := filepath.Join(copied, "governance.log")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	at := bytes.Index(b, []byte(`"risk":"high"`))
	if at < 0 {
		return errors.New("the log holds no high-risk record")
	}
	b[at+8] ^= 1 // h becomes i
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return err
	}
	code, out, talk, err := s.run(ctx, "root", s.dir, s.exe, "verify", copied)
	if err != nil || code != 3 {
		return fmt.Errorf("one flipped byte was not found: exit code %d, %v\n%s%s", code, err, out, talk)
	}
	s.out.step("one byte flipped in a copy: govern verify finds it, exit code 3")
	s.out.quote(found(out + talk))
	return nil
}

// found are the lines that name what is wrong.
func found(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "FAILED") {
			b.WriteString(line)
		}
	}
	return b.String()
}
