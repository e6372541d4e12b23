package engine

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/rule/policy"
)

// Simulated is one past merge as two policies see it.
type Simulated struct {
	Commit string       `json:"commit"`
	Change gov.ChangeID `json:"change,omitempty"`
	Old    Demand       `json:"old"`
	New    Demand       `json:"new"`
}

// Differs tells whether the new policy would have asked for something else.
func (s Simulated) Differs() bool {
	return s.Old.Risk != s.New.Risk || !slices.Equal(s.Old.Roles, s.New.Roles) || !slices.Equal(s.Old.Checks, s.New.Checks) ||
		!slices.Equal(s.Old.Stages, s.New.Stages) || !slices.Equal(s.Old.Problems, s.New.Problems)
}

// Demand is what a policy asks of a change: Roles as "stage/role", Checks as
// "stage/check", Stages that apply, Problems by code. Lists are sorted.
type Demand struct {
	Risk     gov.Risk `json:"risk"`
	Stages   []string `json:"stages"`
	Roles    []string `json:"roles"`
	Checks   []string `json:"checks"`
	Problems []string `json:"problems,omitempty"`
}

// SimulateRequest says which past merges are looked at: the newest Last of the
// default branch by first parents, down to Since where that is set.
type SimulateRequest struct {
	Policy policy.Policy // the candidate
	Since  string        // ref or commit, not looked at itself
	Last   int
}

// Simulate asks what a policy would have demanded of past merges, against the
// one in force. People, owners and manifest are those in force. A merge without
// change metadata is taken as declared low, by its paths.
func Simulate(ctx context.Context, repo Repo, req SimulateRequest) ([]Simulated, error) {
	in, err := ReadLaw(ctx, repo)
	if err != nil {
		return nil, err
	}
	old, err := readLaw(ctx, repo, in.Commit)
	if err != nil {
		return nil, err
	}
	next := old
	next.policy, next.digest, next.codeowners = req.Policy, req.Policy.Digest(), nil
	if err := next.readOwners(ctx, repo); err != nil {
		return nil, err
	}
	stop := ""
	if req.Since != "" {
		if stop, err = repo.Resolve(ctx, req.Since); err != nil {
			return nil, err
		}
	}
	out := []Simulated{}
	for commit := in.Commit; commit != stop && len(out) < req.Last; {
		parent, err := repo.Resolve(ctx, commit+"^1")
		if gov.KindOf(err) == gov.KindNotFound {
			break // the first commit: it has nothing to be compared with
		}
		if err != nil {
			return nil, err
		}
		one, err := simulate(ctx, repo, in.Branch, parent, commit, old, next)
		if err != nil {
			return nil, err
		}
		out, commit = append(out, one), parent
	}
	return out, nil
}

func simulate(ctx context.Context, repo Repo, branch, parent, commit string, old, next law) (Simulated, error) {
	_, paths, err := repo.Between(ctx, parent, commit, "")
	if err != nil {
		return Simulated{}, err
	}
	id := changeIn(paths, old.policy.Changes.Dir)
	plan := func(l law) (Demand, error) {
		c := &content{law: l, branch: branch, target: parent, head: commit, id: id, paths: paths, metadata: change.Metadata{RiskLevel: gov.RiskLow}}
		if id != "" {
			if err := c.readMetadata(ctx, repo, commit); err != nil && gov.CodeOf(err) != "metadata_missing" {
				return Demand{}, err
			}
		}
		c.contracts = contractFiles(l.manifest, c.metadata.Contracts, paths)
		return demand(policy.Plan(c.planFacts())), nil
	}
	out := Simulated{Commit: commit, Change: id}
	if out.Old, err = plan(old); err != nil {
		return out, err
	}
	out.New, err = plan(next)
	return out, err
}

// changeIn is the change whose metadata a range touches, "" when there is none.
func changeIn(paths []gov.PathChange, dir string) gov.ChangeID {
	for _, p := range paths {
		rest, ok := strings.CutPrefix(p.Path, dir+"/")
		if !ok || path.Base(rest) != change.MetadataFile || p.NewMode == "000000" {
			continue
		}
		if id, err := gov.ParseChangeID(path.Dir(rest)); err == nil {
			return id
		}
	}
	return ""
}

func demand(a policy.Answer) Demand {
	d := Demand{Risk: a.Risk, Stages: []string{}, Roles: []string{}, Checks: []string{}}
	for _, s := range a.Stages {
		if s.NotApplicable != "" {
			continue
		}
		d.Stages = append(d.Stages, string(s.Stage))
		for _, r := range s.Roles {
			d.Roles = append(d.Roles, string(s.Stage)+"/"+r.Role)
		}
		for _, c := range s.Checks {
			if c.NotApplicable == "" {
				d.Checks = append(d.Checks, string(s.Stage)+"/"+c.Check)
			}
		}
	}
	for _, p := range a.Problems {
		d.Problems = append(d.Problems, p.Code)
	}
	slices.Sort(d.Roles)
	slices.Sort(d.Checks)
	slices.Sort(d.Problems)
	return d
}
