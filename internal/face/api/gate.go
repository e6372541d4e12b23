package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
)

func (s *server) gate(a huma.API) {
	op(a, http.MethodPost, "/v1/gate", "gate", "Ask whether a push may land", s.askGate)
	op(a, http.MethodGet, "/v1/admission", "admission", "Ask whether an artifact may take traffic on a target", s.admit)
	op(a, http.MethodPost, "/v1/merged", "merged", "Tell that a governed ref has moved", s.merged)
}

func (s *server) askGate(ctx context.Context, p gov.Principal, in *struct{ Body client.GateRequest }) (*answer[client.GateAnswer], error) {
	repo, err := s.quarantine(ctx, p, in.Body.Git)
	if err != nil {
		return nil, err
	}
	a, err := s.e.Gate(ctx, engine.GateRequest{
		CommandID: in.Body.CommandID, Actor: p, Repo: repo, Ref: in.Body.Ref, Old: in.Body.Old, New: in.Body.New, Record: in.Body.Record,
	})
	if err != nil {
		return nil, err
	}
	s.kick()
	return &answer[client.GateAnswer]{s.gateAnswer(ctx, p, a)}, nil
}

func (s *server) gateAnswer(ctx context.Context, p gov.Principal, a engine.GateAnswer) client.GateAnswer {
	out := client.GateAnswer{Allowed: a.Allowed, Observe: a.Observe, Governed: a.Governed, Passes: a.Passes()}
	who := s.known(ctx, p)
	for _, c := range a.Changes {
		out.Changes = append(out.Changes, client.GateChange{ID: c.ID, Revert: c.Revert, Verdict: c.Verdict, Screen: change.Screen(c.Verdict, who)})
	}
	for _, pr := range a.Problems {
		out.Problems = append(out.Problems, client.GateProblem(pr))
	}
	if a.Receipt.ID != "" {
		r := client.Receipt(a.Receipt)
		out.Receipt = &r
	}
	return out
}

func (s *server) admit(ctx context.Context, p gov.Principal, in *struct {
	Artifact string `query:"artifact"`
	Target   string `query:"target"`
},
) (*answer[client.GateAnswer], error) {
	d, err := gov.ParseDigest(in.Artifact)
	if err != nil {
		return nil, err
	}
	a, err := s.e.Admit(ctx, d, in.Target)
	if err != nil {
		return nil, err
	}
	return &answer[client.GateAnswer]{s.gateAnswer(ctx, p, a)}, nil
}

func (s *server) merged(ctx context.Context, p gov.Principal, in *struct{ Body client.MergedRequest }) (*answer[client.Receipt], error) {
	r, err := s.e.Merged(ctx, engine.MergedRequest{CommandID: in.Body.CommandID, Actor: p, Ref: in.Body.Ref, Old: in.Body.Old, New: in.Body.New})
	if err != nil {
		return nil, err
	}
	s.kick()
	return &answer[client.Receipt]{client.Receipt(r)}, nil
}
