package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/policy"
)

func (a *app) policy() *cobra.Command {
	return group("policy", "the rules that changes are judged by", groupHouse,
		a.policyShow(), a.policyCheck(), a.policyTest(), a.policySimulate())
}

func (a *app) policyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "the policy in force, with every key", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := a.repo(cmd.Context())
			if err != nil {
				return err
			}
			law, err := engine.ReadLaw(cmd.Context(), w)
			if err != nil {
				return uninitialised(err)
			}
			if a.output == "yaml" {
				_, err := a.Stdout.Write(policy.Print(law.Policy))
				return err
			}
			return a.give(struct {
				Digest gov.Digest    `json:"digest"`
				Branch string        `json:"branch"`
				Commit string        `json:"commit"`
				Policy policy.Policy `json:"policy"`
			}{law.Digest, law.Branch, law.Commit, law.Policy}, func(w io.Writer) {
				fmt.Fprintf(w, "# %s, of %s at %.10s\n%s", law.Digest, law.Branch, law.Commit, policy.Print(law.Policy))
			})
		},
	}
}

// draft is the law as the work tree has it: what would be in force once these
// files are merged. Files that the work tree does not have are those in force.
func (a *app) draft(ctx context.Context, file string) (engine.Law, error) {
	w, err := a.repo(ctx)
	if err != nil {
		return engine.Law{}, err
	}
	law, lawErr := engine.ReadLaw(ctx, w)
	read := func(name string) ([]byte, error) {
		if dir := w.WorkTreeDir(); dir != "" {
			b, err := a.readFile(filepath.Join(dir, filepath.FromSlash(name)))
			if err == nil || gov.KindOf(err) != gov.KindNotFound {
				return b, err
			}
		}
		if law.Commit == "" {
			return nil, lawErr
		}
		return w.ReadFile(ctx, law.Commit, name)
	}
	var text []byte
	if file != "" {
		text, err = a.readFile(file)
	} else {
		text, err = read(policy.Path)
	}
	if err != nil {
		return law, err
	}
	if law.Policy, err = policy.Parse(text); err != nil {
		return law, err
	}
	law.Digest = law.Policy.Digest()
	people, err := read(law.Policy.People)
	if err != nil {
		return law, err
	}
	if law.Registry, err = a.Registry(people); err != nil {
		return law, err
	}
	law.Owners = nil
	if name := law.Policy.Owners.Codeowners; name != "" {
		b, err := read(name)
		if err == nil {
			law.Owners, err = policy.ParseOwners(b)
		}
		if err != nil && gov.KindOf(err) != gov.KindNotFound {
			return law, err
		}
	}
	return law, nil
}

// ruling are the owner rules that count under a law.
func ruling(l engine.Law) []policy.OwnerRule {
	if len(l.Policy.Owners.Rules) > 0 {
		return l.Policy.Owners.Rules
	}
	return l.Owners
}

func (a *app) policyCheck() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "read a policy and prove that people can meet it", Args: cobra.MaximumNArgs(1),
		Long: "Reads FILE (default the work tree's governance.yaml) strictly and proves with the\n" +
			"registry that for each risk and each owner rule enough different people exist. Exit\n" +
			"code 1 when a role is short for everybody; short for one author only is a note.",
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			law, err := a.draft(cmd.Context(), file)
			if err != nil {
				return err
			}
			return a.giveLiveness(law, policy.Liveness(law.Policy, ruling(law), law.Registry, time.Now()))
		},
	}
}

func (a *app) giveLiveness(law engine.Law, short []policy.Short) error {
	if short == nil {
		short = []policy.Short{}
	}
	blocking := slices.ContainsFunc(short, func(s policy.Short) bool { return s.Everybody })
	if err := a.give(struct {
		OK     bool           `json:"ok"`
		Digest gov.Digest     `json:"digest"`
		Mode   policy.Mode    `json:"mode"`
		Short  []policy.Short `json:"short"`
	}{!blocking, law.Digest, law.Policy.Mode, short}, func(w io.Writer) {
		fmt.Fprintf(w, "policy   %s, mode %s\n", law.Digest.Short(), law.Policy.Mode)
		for _, s := range short {
			word, where := "note", ""
			if s.Everybody {
				word = "SHORT"
			}
			if s.Path != "" {
				where = " of " + s.Path
			}
			if s.Author != "" {
				where += ", when " + s.Author + " is the author"
			}
			fmt.Fprintf(w, "%-8s %s: %s%s: %s\n", word, s.Risk, s.Role, printable(where), printable(s.Why))
			fmt.Fprintf(w, "         fix: %s\n", printable(s.Fix))
		}
		if !blocking {
			fmt.Fprintln(w, "ok: for every risk there are people who can allow a change")
		}
	}); err != nil {
		return err
	}
	if blocking {
		return Exit(ExitRefused)
	}
	return nil
}

// casesFile is where `policy test` looks when no file is named.
const casesFile = "governance_test.yaml"

func (a *app) policyTest() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "test [FILE]", Short: "run the cases of a policy test file", Args: cobra.MaximumNArgs(1),
		Long: "Judges each case of FILE (default " + casesFile + ") as a real change is judged, with\n" +
			"made-up signatures, and says what differs from what the case wants. Exit code 1 when\n" +
			"a case fails.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			name := casesFile
			if len(args) > 0 {
				name = args[0]
			}
			b, err := a.readFile(name)
			if err != nil {
				return err
			}
			cases, err := policy.ParseCases(filepath.Base(name), b)
			if err != nil {
				return err
			}
			law, err := a.draft(ctx, file)
			if err != nil {
				return err
			}
			return a.giveCases(law, cases)
		},
	}
	c.Flags().StringVar(&file, "policy", "", "policy to test (default the work tree's governance.yaml)")
	return c
}

// caseResult is one case of the answer.
type caseResult struct {
	Name       string            `json:"name"`
	OK         bool              `json:"ok"`
	Answer     gov.Answer        `json:"answer"`
	Risk       gov.Risk          `json:"risk"`
	Mismatches []policy.Mismatch `json:"mismatches"`
}

func (a *app) giveCases(law engine.Law, cases []policy.Case) error {
	var results []caseResult
	failed := 0
	for _, c := range cases {
		v, bad := engine.JudgeCase(law, c)
		if bad == nil {
			bad = []policy.Mismatch{}
		}
		if len(bad) > 0 {
			failed++
		}
		results = append(results, caseResult{c.Name, len(bad) == 0, v.Answer, v.Risk, bad})
	}
	if err := a.give(struct {
		OK     bool         `json:"ok"`
		Passed int          `json:"passed"`
		Failed int          `json:"failed"`
		Cases  []caseResult `json:"cases"`
	}{failed == 0, len(cases) - failed, failed, results}, func(w io.Writer) {
		for _, r := range results {
			word := "ok  "
			if !r.OK {
				word = "FAIL"
			}
			fmt.Fprintf(w, "%s  %s\n", word, printable(r.Name))
			for _, m := range r.Mismatches {
				fmt.Fprintf(w, "      %s: want %s, got %s\n", m.What, printable(m.Want), printable(m.Got))
			}
		}
		fmt.Fprintf(w, "%d passed, %d failed\n", len(cases)-failed, failed)
	}); err != nil {
		return err
	}
	if failed > 0 {
		return Exit(ExitRefused)
	}
	return nil
}

func (a *app) policySimulate() *cobra.Command {
	var req engine.SimulateRequest
	c := &cobra.Command{
		Use: "simulate [FILE]", Short: "which past merges another policy would have judged differently", Args: cobra.MaximumNArgs(1),
		Long: "Takes FILE (default the work tree's governance.yaml) and the policy in force, and\n" +
			"compares what each would have demanded of past merges of the default branch. A merge\n" +
			"without change metadata counts as declared low.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			file := ""
			if len(args) > 0 {
				file = args[0]
			}
			if req.Last < 1 {
				return gov.Errorf(gov.KindInvalid, "usage", "--last is at least 1")
			}
			w, err := a.repo(ctx)
			if err != nil {
				return err
			}
			law, err := a.draft(ctx, file)
			if err != nil {
				return err
			}
			req.Policy = law.Policy
			all, err := engine.Simulate(ctx, w, req)
			if err != nil {
				return err
			}
			return a.giveSimulated(all)
		},
	}
	c.Flags().StringVar(&req.Since, "since", "", "only what came after this commit or ref")
	c.Flags().IntVar(&req.Last, "last", 50, "at most so many merges, the newest")
	return c
}

func (a *app) giveSimulated(all []engine.Simulated) error {
	different := []engine.Simulated{}
	for _, s := range all {
		if s.Differs() {
			different = append(different, s)
		}
	}
	return a.give(struct {
		Looked    int                `json:"looked"`
		Different []engine.Simulated `json:"different"`
	}{len(all), different}, func(w io.Writer) {
		for _, s := range different {
			fmt.Fprintf(w, "%.10s %s\n", s.Commit, s.Change)
			if s.Old.Risk != s.New.Risk {
				fmt.Fprintf(w, "  risk    %s → %s\n", s.Old.Risk, s.New.Risk)
			}
			moved(w, "stages", s.Old.Stages, s.New.Stages)
			moved(w, "roles", s.Old.Roles, s.New.Roles)
			moved(w, "checks", s.Old.Checks, s.New.Checks)
			moved(w, "wrong", s.Old.Problems, s.New.Problems)
		}
		fmt.Fprintf(w, "%d of %d merges would have been judged differently\n", len(different), len(all))
	})
}

// moved says what a list lost and gained.
func moved(w io.Writer, name string, old, now []string) {
	var words []string
	for _, s := range old {
		if !slices.Contains(now, s) {
			words = append(words, "−"+s)
		}
	}
	for _, s := range now {
		if !slices.Contains(old, s) {
			words = append(words, "+"+s)
		}
	}
	if len(words) > 0 {
		fmt.Fprintf(w, "  %-7s %s\n", name, printable(strings.Join(words, " ")))
	}
}
