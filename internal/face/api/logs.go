package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
)

func (s *server) logs(a huma.API) {
	op(a, http.MethodGet, "/v1/events", "events", "List the newest events", s.tail)
	op(a, http.MethodGet, "/v1/verify/log", "verify-log", "Check every promise of the log", s.verifyLog)
	op(a, http.MethodGet, "/v1/verify/decisions", "verify-decisions", "Run every recorded decision again", s.verifyDecisions)
	op(a, http.MethodPost, "/v1/clock/accept", "accept-clock", "Take a clock that jumped for right", s.acceptClock)
	op(a, http.MethodPost, "/v1/views/rebuild", "rebuild-views", "Throw the views away and build them again", s.rebuild)
}

func (s *server) tail(ctx context.Context, _ gov.Principal, in *struct {
	Limit int `query:"limit" default:"50" minimum:"1" maximum:"10000"`
},
) (*answer[client.EventList], error) {
	evs, err := s.e.View().Tail(ctx, in.Limit)
	return &answer[client.EventList]{eventList(evs)}, err
}

func (s *server) verifyLog(ctx context.Context, _ gov.Principal, _ *struct{}) (*answer[client.Check], error) {
	rep, err := s.e.VerifyLog(ctx)
	if err != nil {
		return nil, err
	}
	out := client.Check{OK: len(rep.Failures) == 0, Checked: rep.Counts(), Failures: []client.CheckFailure{}}
	for _, f := range rep.Failures {
		out.Failures = append(out.Failures, client.CheckFailure{Code: f.Code, Index: f.Index, Message: f.Message})
	}
	return &answer[client.Check]{out}, nil
}

func (s *server) verifyDecisions(ctx context.Context, _ gov.Principal, _ *struct{}) (*answer[client.Check], error) {
	rep, err := s.e.VerifyDecisions(ctx)
	if err != nil {
		return nil, err
	}
	out := client.Check{OK: rep.OK(), Failures: []client.CheckFailure{}, Checked: map[string]any{
		"records": rep.Records, "decisions": rep.Decisions, "rules": rep.Rules, "erased": rep.Erased,
	}}
	for _, f := range rep.Failures {
		out.Failures = append(out.Failures, client.CheckFailure{Code: f.Code, Index: f.Index, Message: f.Rule + ": " + f.Message})
	}
	for _, f := range rep.Newer {
		out.Notes = append(out.Notes, f.Rule+": "+f.Message)
	}
	return &answer[client.Check]{out}, nil
}

func (s *server) acceptClock(ctx context.Context, p gov.Principal, in *rawIn) (*answer[client.Receipt], error) {
	law, err := s.e.Law(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.e.AcceptClock(ctx, p, law.Registry, in.RawBody)
	return &answer[client.Receipt]{client.Receipt(r)}, err
}

func (s *server) rebuild(ctx context.Context, _ gov.Principal, _ *struct{}) (*struct{}, error) {
	return nil, s.e.RebuildViews(ctx)
}
