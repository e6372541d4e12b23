package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
)

type nameIn struct {
	Name string `path:"name"`
}

func (s *server) rollouts(a huma.API) {
	op(a, http.MethodGet, "/v1/targets", "list-targets", "List targets", s.listTargets)
	op(a, http.MethodGet, "/v1/targets/{name}", "get-target", "Read a target", s.getTarget)
	op(a, http.MethodGet, "/v1/targets/{name}/events", "target-events", "List the events of a target", s.targetEvents)
	op(a, http.MethodPost, "/v1/targets/{name}/signals", "push-signals", "Join measurements to the next windows", s.push)
	op(a, http.MethodPost, "/v1/targets/{name}/{command}", "command-target", "Pause, resume, abort or roll back", s.command)
	op(a, http.MethodPost, "/v1/rollouts", "start-rollout", "Begin or queue a rollout", s.start)
}

func target(st canary.State) (client.Target, error) {
	raw, err := json.Marshal(st)
	out := client.Target{Name: st.Target, State: raw, Summary: engine.Summary(st), Outcome: st.Outcome()}
	if st.Run != nil {
		out.Weight = st.Run.Live
	}
	return out, err
}

func (s *server) listTargets(ctx context.Context, _ gov.Principal, _ *struct{}) (*answer[client.TargetList], error) {
	states, err := s.e.Targets(ctx)
	if err != nil {
		return nil, err
	}
	out := client.TargetList{Targets: []client.Target{}}
	for _, st := range states {
		t, err := target(st)
		if err != nil {
			return nil, err
		}
		out.Targets = append(out.Targets, t)
	}
	return &answer[client.TargetList]{out}, nil
}

func (s *server) getTarget(ctx context.Context, _ gov.Principal, in *nameIn) (*answer[client.Target], error) {
	if err := s.exists(ctx, in.Name); err != nil {
		return nil, err
	}
	st, err := s.e.Target(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	t, err := target(st)
	return &answer[client.Target]{t}, err
}

// exists refuses a target that neither the log nor the policy knows.
func (s *server) exists(ctx context.Context, name string) error {
	states, err := s.e.Targets(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(states, func(st canary.State) bool { return st.Target == name }) {
		return nil
	}
	law, err := s.e.Law(ctx)
	if err != nil {
		return err
	}
	if _, ok := law.Policy.Targets[name]; ok {
		return nil
	}
	return gov.Errorf(gov.KindNotFound, "target_unknown", "there is no target %q", name).WithHint("govern policy show")
}

func (s *server) targetEvents(ctx context.Context, _ gov.Principal, in *nameIn) (*answer[client.EventList], error) {
	evs, err := s.e.History(ctx, gov.StreamTarget(in.Name))
	return &answer[client.EventList]{eventList(evs)}, err
}

func (s *server) push(_ context.Context, _ gov.Principal, in *struct {
	Name string `path:"name"`
	Body client.Signals
},
) (*struct{}, error) {
	if s.Supervisor == nil {
		return nil, gov.Errorf(gov.KindUnavailable, "no_supervisor", "nothing supervises rollouts here, so signals have nobody to go to").WithHint("govern serve")
	}
	s.Supervisor.Push(in.Name, engine.Signals(in.Body))
	return nil, nil
}

// commands are those that need no signature: they stop or take back.
var commands = map[string]canary.CommandType{
	"pause": canary.CmdPause, "resume": canary.CmdResume, "abort": canary.CmdAbort, "rollback": canary.CmdRollback,
}

func (s *server) command(ctx context.Context, p gov.Principal, in *struct {
	Name    string `path:"name"`
	Command string `path:"command"`
	Body    client.RolloutCommand
},
) (*answer[client.Receipt], error) {
	typ, ok := commands[in.Command]
	if !ok {
		return nil, gov.Errorf(gov.KindNotFound, "rollout_command_unknown", "there is no command %q; a promotion is a signed statement", in.Command).WithHint("govern rollout --help")
	}
	if err := s.exists(ctx, in.Name); err != nil {
		return nil, err
	}
	r, err := s.e.Command(ctx, p, in.Body.CommandID, in.Name, canary.Command{Type: typ, Change: in.Body.Change, By: p.Handle, Reason: in.Body.Reason})
	if err != nil {
		return nil, err
	}
	s.kick()
	return &answer[client.Receipt]{client.Receipt(r)}, nil
}

func (s *server) start(ctx context.Context, p gov.Principal, in *struct{ Body client.RolloutRequest }) (*answer[client.Change], error) {
	a, err := s.e.StartRollout(ctx, engine.StartRequest{
		CommandID: in.Body.CommandID, Actor: p, Change: in.Body.Change, Target: in.Body.Target, Retry: in.Body.Retry,
	})
	if err != nil {
		return nil, err
	}
	s.kick()
	out, err := s.change(ctx, p, a)
	return &answer[client.Change]{out}, err
}
