package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/evidence"
	"github.com/governhq/govern/internal/rule/policy"
)

// evidenceKinds are the kinds that a statement can carry.
var evidenceKinds = []string{
	evidence.KindTests, evidence.KindCoverage, evidence.KindContracts, evidence.KindSecurityScan,
	evidence.KindArchitectureReview, evidence.KindIntegration, evidence.KindBuild,
}

func (a *app) evidence() *cobra.Command {
	return group("evidence", "reports of tools, signed so that they count", groupChange, a.evidenceAdd(), a.evidenceShow())
}

// evidenceFlags are what `evidence add` may be told.
type evidenceFlags struct {
	kind, format, stage, treeOf, branch string
	result, tool, report                string
	unsigned                            bool
}

func (a *app) evidenceAdd() *cobra.Command {
	var f evidenceFlags
	c := &cobra.Command{
		Use: "add ID FILE…", Short: "sign reports as a service and put them on the change",
		Long: "Reads reports of tools (go test -json, JUnit XML, Go cover profiles, SARIF), binds\n" +
			"them to the tree that will stand on the target, signs them with the service's key\n" +
			"and puts them on the change's branch. Where there is no tool report, say what was\n" +
			"found: --kind contracts --result passed --tool NAME --report FILE.",
		Example: "  govern evidence add CHANGE-7 test.json cover.out\n  govern evidence add CHANGE-7 scan.sarif --kind security_scan",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.addEvidence(cmd.Context(), args[0], args[1:], f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.kind, "kind", "", "what the reports show: "+strings.Join(evidenceKinds, ", "))
	fl.StringVar(&f.format, "format", "", "format of the reports; found by content when left out")
	fl.StringVar(&f.stage, "stage", "", "stage of the statement (default by kind: validate or integration)")
	fl.StringVar(&f.treeOf, "tree-of", "", "commit or ref whose tree was examined (default the change's branch)")
	fl.StringVar(&f.branch, "branch", "", "branch that holds the change")
	fl.StringVar(&f.result, "result", "", "passed or failed, where there is no tool report")
	fl.StringVar(&f.tool, "tool", "", "who found the --result")
	fl.StringVar(&f.report, "report", "", "file that the --result rests on")
	fl.BoolVar(&f.unsigned, "unsigned", false, "only show what would be signed: a claim, which counts for nothing")
	return c
}

func (a *app) addEvidence(ctx context.Context, name string, files []string, f evidenceFlags) error {
	id, err := changeArg(name)
	if err != nil {
		return err
	}
	if err := f.check(files); err != nil {
		return err
	}
	h, err := a.here(ctx, "govern evidence add", true)
	if err != nil {
		return err
	}
	defer h.close()
	at, err := h.examined(ctx, id, f.branch, f.treeOf)
	if err != nil {
		return err
	}
	wanted, err := h.wanted(ctx, at)
	if err != nil {
		return err
	}
	evs, err := a.readAll(files, f)
	if err != nil {
		return err
	}
	for i := range evs {
		evs[i] = a.Reduce(evs[i], wanted)
	}
	if f.unsigned {
		a.talk("a claim: not signed, not recorded, counts for nothing")
		return a.give(claims(evs), func(w io.Writer) { reports(w, evs) })
	}
	return h.signEvidence(ctx, at, evs, f.stage)
}

func (f evidenceFlags) check(files []string) error {
	switch {
	case f.kind != "" && !slices.Contains(evidenceKinds, f.kind):
		return gov.Errorf(gov.KindInvalid, "evidence_kind_unknown", "there is no evidence of kind %q", f.kind).WithHint("use one of %s", strings.Join(evidenceKinds, ", "))
	case f.result == "" && len(files) == 0:
		return gov.Errorf(gov.KindInvalid, "usage", "there is no report to add").WithHint("govern evidence add ID FILE…")
	case f.result == "":
		return nil
	case f.result != "passed" && f.result != "failed":
		return gov.Errorf(gov.KindInvalid, "usage", "--result is passed or failed, not %q", f.result).WithHint("a skipped result satisfies nothing")
	case f.kind == "" || f.tool == "" || f.report == "" || len(files) > 0:
		return gov.Errorf(gov.KindInvalid, "usage", "--result takes --kind, --tool and --report, and no other file").
			WithHint("govern evidence add ID --kind contracts --result passed --tool NAME --report FILE")
	}
	return nil
}

func (a *app) readAll(files []string, f evidenceFlags) ([]gov.Evidence, error) {
	if f.result != "" {
		b, err := a.readFile(f.report)
		if err != nil {
			return nil, err
		}
		ev := gov.Evidence{Kind: f.kind, Tool: f.tool, Report: gov.DigestOf(b)}
		if f.result == "passed" {
			ev.Passed = 1
		} else {
			ev.Failed = 1
		}
		return []gov.Evidence{ev}, nil
	}
	var out []gov.Evidence
	for _, file := range files {
		b, err := a.readFile(file)
		if err != nil {
			return nil, err
		}
		ev, err := a.ReadReport(f.kind, f.format, filepath.Base(file), b)
		if err != nil {
			return nil, err
		}
		out = append(out, ev)
	}
	return out, nil
}

// readFile reads a file named on the command line, relative to where the
// command works; "-" is standard input.
func (a *app) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(a.Stdin)
	}
	b, err := os.ReadFile(a.path(name))
	return b, fileError(name, err)
}

// path is a file named on the command line, relative to -C.
func (a *app) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(a.Dir, name)
}

func fileError(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return gov.Errorf(gov.KindNotFound, "file_not_found", "there is no file %s", name)
	}
	return gov.Errorf(gov.KindUnavailable, "file_unreadable", "%s cannot be read: %w", name, err)
}

// examined is what evidence is about: a change at a commit of its branch.
type examined struct {
	id       gov.ChangeID
	branch   string
	commit   string
	revision gov.Revision
}

// examined finds the change's branch and the tree that will stand on the target.
func (h *here) examined(ctx context.Context, id gov.ChangeID, branch, treeOf string) (examined, error) {
	out := examined{id: id}
	if h.w == nil {
		return out, gov.Errorf(gov.KindInvalid, "repository_missing", "evidence is about a tree, and there is no repository here").WithHint("run the command inside the repository")
	}
	b, err := h.find(ctx, id, branch)
	if err != nil {
		return out, err
	}
	out.branch, out.commit = b.Name, b.Commit
	if treeOf != "" {
		if out.commit, err = h.w.Resolve(ctx, treeOf); err != nil {
			return out, err
		}
	} else if clean, err := h.w.Clean(ctx); h.w.WorkTreeDir() != "" && err == nil && !clean {
		h.a.talk("note: the work tree has changes that are not committed; the report must be of %.10s", out.commit)
	}
	out.revision, _, err = h.w.Revision(ctx, h.target(), out.commit, id)
	return out, err
}

// wanted lists what a shortened report must keep: the tests that the change
// names, and those that failed before on this tree, so that they can be healed.
func (h *here) wanted(ctx context.Context, at examined) ([]string, error) {
	b, err := h.w.ReadFile(ctx, at.commit, path.Join(h.folder(at.id), change.MetadataFile))
	if gov.KindOf(err) == gov.KindNotFound {
		return nil, gov.Errorf(gov.KindNotFound, "metadata_missing", "%.10s holds no metadata of %s", at.commit, at.id).WithHint("govern submit -m WHY")
	}
	if err != nil {
		return nil, err
	}
	m, err := change.ParseMetadata(b)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(m.TestsRun)
	c, err := h.s.Client().Change(ctx, at.id, "")
	if err != nil {
		return out, nil // not taken in yet: nothing failed before
	}
	st, err := state(c)
	if err != nil {
		return nil, err
	}
	for _, s := range st.Statements {
		if s.Evidence == nil || s.Revision.Tree != at.revision.Tree {
			continue
		}
		for _, r := range s.Evidence.Results {
			if r.Status == "failed" {
				out = append(out, r.ID)
			}
		}
	}
	return out, nil
}

// stageOf is the stage that a kind of evidence belongs to.
func stageOf(kind string) string {
	if kind == evidence.KindIntegration {
		return string(policy.StageIntegration)
	}
	return string(policy.StageValidate)
}

// signEvidence signs a statement for each report and delivers them together.
func (h *here) signEvidence(ctx context.Context, at examined, evs []gov.Evidence, stage string) error {
	key, who, err := h.signing(ctx)
	if err != nil {
		return err
	}
	if who.Kind == gov.Agent {
		return gov.Errorf(gov.KindDenied, "evidence_by_agent", "%s is an agent, and agents give no evidence", who.Handle).WithHint("sign with a service's key: --key FILE or GOVERN_KEY")
	}
	if who.Kind == gov.Human {
		h.a.talk("note: %s is a person; the default policy takes evidence from services", who.Handle)
	}
	seen := h.checkpoint(ctx)
	var envelopes [][]byte
	for _, ev := range evs {
		st := gov.Statement{
			Decision: gov.DecideEvidence, Stage: stage, Change: at.id, Revision: at.revision, Evidence: &ev,
			Policy: h.law.Digest, Rationale: evidenceLine(ev), Issued: now(), Checkpoint: seen,
		}
		if st.Stage == "" {
			st.Stage = stageOf(ev.Kind)
		}
		if ev.Artifact != nil {
			st.Artifacts = []gov.Artifact{*ev.Artifact}
		}
		env, err := key.Seal(ctx, st)
		if err != nil {
			return err
		}
		envelopes = append(envelopes, env)
	}
	c, err := h.a.deliver(ctx, h.w, h.s, at.id, at.branch, envelopes...)
	if err != nil {
		return err
	}
	if h.a.output == "text" {
		reports(h.a.Stdout, evs)
	}
	return h.show(c)
}

// evidenceLine says what a report shows.
func evidenceLine(ev gov.Evidence) string {
	s := fmt.Sprintf("%s by %s: %d passed, %d failed, %d skipped", ev.Kind, ev.Tool, ev.Passed, ev.Failed, ev.Skipped)
	switch {
	case ev.Artifact != nil:
		return fmt.Sprintf("built %s as %s", ev.Artifact.Name, ev.Artifact.Digest.Short())
	case ev.Coverage != nil:
		return fmt.Sprintf("%s by %s: %.1f %% covered", ev.Kind, ev.Tool, *ev.Coverage*100)
	case ev.Findings > 0:
		s += fmt.Sprintf(", %d findings of level error", ev.Findings)
	}
	return s
}

func reports(w io.Writer, evs []gov.Evidence) {
	for _, ev := range evs {
		fmt.Fprintln(w, printable(evidenceLine(ev)))
		for _, r := range ev.Results {
			if r.Status == "failed" {
				fmt.Fprintf(w, "  failed   %s\n", printable(r.ID))
			}
		}
		for _, u := range ev.Unread {
			fmt.Fprintf(w, "  unread   %s\n", printable(u))
		}
	}
}

// shown is evidence as people script against it: results are always a list.
type shown struct {
	gov.Evidence
	Results []gov.Result `json:"results"`
}

func showable(ev gov.Evidence) shown {
	s := shown{Evidence: ev, Results: ev.Results}
	if s.Results == nil {
		s.Results = []gov.Result{}
	}
	return s
}

func claims(evs []gov.Evidence) any {
	out := make([]shown, len(evs))
	for i, ev := range evs {
		out[i] = showable(ev)
	}
	return map[string]any{"signed": false, "claims": out}
}

func (a *app) evidenceShow() *cobra.Command {
	var kind, format string
	c := &cobra.Command{
		Use: "show FILE|ID", Short: "a report in normal form, or the evidence of a change and what counts", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if id, err := gov.ParseChangeID(strings.ToUpper(args[0])); err == nil {
				return a.recordedEvidence(cmd.Context(), id)
			}
			b, err := a.readFile(args[0])
			if err != nil {
				return err
			}
			ev, err := a.ReadReport(kind, format, filepath.Base(args[0]), b)
			if err != nil {
				return err
			}
			return a.give(showable(ev), func(w io.Writer) {
				reports(w, []gov.Evidence{ev})
				fmt.Fprintf(w, "report %s\n", ev.Report)
			})
		},
	}
	c.Flags().StringVar(&kind, "kind", "", "what it shows: "+strings.Join(evidenceKinds, ", "))
	c.Flags().StringVar(&format, "format", "", "its format; found by content when left out")
	return c
}
