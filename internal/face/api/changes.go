package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/view"
)

type idIn struct {
	ID     string `path:"id"`
	Viewer string `query:"viewer"`
}

type rawIn struct {
	RawBody []byte
}

func (s *server) changes(a huma.API) {
	op(a, http.MethodGet, "/v1/status", "status", "Sum up the log", s.status)
	op(a, http.MethodGet, "/v1/inbox", "inbox", "What waits for a person", s.inbox)
	op(a, http.MethodGet, "/v1/changes", "list-changes", "List changes", s.listChanges)
	op(a, http.MethodGet, "/v1/changes/{id}", "get-change", "Read a change with its verdict", s.getChange)
	op(a, http.MethodPost, "/v1/changes/{id}/sync", "sync-change", "Take a change in as it stands at a commit", s.syncChange)
	op(a, http.MethodGet, "/v1/changes/{id}/events", "change-events", "List the events of a change", s.changeEvents)
	op(a, http.MethodGet, "/v1/changes/{id}/metadata", "change-metadata", "The metadata file with the approvals that count", s.metadata)
	op(a, http.MethodGet, "/v1/changes/{id}/document", "change-document", "The governance document", s.document)
	op(a, http.MethodPost, "/v1/changes/{id}/withdraw", "withdraw-change", "Close an open change", s.withdraw)
	op(a, http.MethodGet, "/v1/changes/{id}/wait", "wait-change", "Answer when a change is in a state", s.wait)
	op(a, http.MethodPost, "/v1/statements", "take-statement", "Take in a signed envelope", s.takeStatement)
	op(a, http.MethodGet, "/v1/statements/{digest}", "get-statement", "Read a signed envelope", s.getStatement)
}

func (s *server) status(ctx context.Context, _ gov.Principal, _ *struct{}) (*answer[client.Status], error) {
	st, err := s.e.Status(ctx)
	out := client.Status{
		Origin: st.Origin, Size: st.Size, Root: st.Root, Genesis: st.Genesis, Local: st.Local, Branch: st.Branch, Policy: st.Policy,
		Mode: st.Mode, Solo: st.Solo, Open: st.Open, Merged: st.Merged, Rollouts: st.Rollouts, Overdue: st.Overdue, Clock: st.Clock, Problem: st.Problem,
	}
	for _, t := range st.Targets {
		out.Targets = append(out.Targets, client.TargetState(t))
	}
	return &answer[client.Status]{out}, err
}

func (s *server) inbox(ctx context.Context, _ gov.Principal, in *struct {
	Handle string `query:"handle"`
},
) (*answer[client.Inbox], error) {
	tasks, err := s.e.Inbox(ctx, in.Handle)
	out := client.Inbox{Handle: in.Handle, Tasks: []client.Task{}}
	for _, t := range tasks {
		out.Tasks = append(out.Tasks, client.Task(t))
	}
	return &answer[client.Inbox]{out}, err
}

func (s *server) listChanges(ctx context.Context, _ gov.Principal, in *struct {
	Status string `query:"status"`
},
) (*answer[client.ChangeList], error) {
	states, err := s.e.Changes(ctx, in.Status)
	out := client.ChangeList{Changes: []client.ChangeSummary{}}
	for _, st := range states {
		out.Changes = append(out.Changes, summary(st))
	}
	return &answer[client.ChangeList]{out}, err
}

func summary(st change.State) client.ChangeSummary {
	c := client.ChangeSummary{
		ID: st.ID, Status: string(st.Status), Author: st.Author, Owner: st.Owner, Risk: st.Declared,
		Revision: st.Revision, Branch: st.Branch, Changed: st.ChangedAt,
	}
	if n := len(st.Stages); n > 0 {
		c.Stage = st.Stages[n-1].Stage
	}
	return c
}

func (s *server) getChange(ctx context.Context, p gov.Principal, in *idIn) (*answer[client.Change], error) {
	id, err := gov.ParseChangeID(in.ID)
	if err != nil {
		return nil, err
	}
	st, err := s.e.Change(ctx, id)
	if err != nil {
		return nil, err
	}
	a := engine.ChangeAnswer{State: st, Local: s.e.Identity().Local}
	if st.Status == change.Open {
		if a, err = s.e.Look(ctx, id); err != nil {
			return nil, err
		}
	}
	out, err := s.change(ctx, viewer(p, in.Viewer), a)
	return &answer[client.Change]{out}, err
}

// viewer is for whom the screen is written: the one named, else who calls.
func viewer(p gov.Principal, handle string) gov.Principal {
	if handle != "" {
		p.Handle = handle
	}
	return p
}

func (s *server) change(ctx context.Context, p gov.Principal, a engine.ChangeAnswer) (client.Change, error) {
	raw, err := json.Marshal(a.State)
	if err != nil {
		return client.Change{}, err
	}
	out := client.Change{ID: a.State.ID, Status: string(a.State.Status), State: raw, Local: a.Local}
	if a.Verdict.Change != "" {
		out.ID = a.Verdict.Change
		out.Verdict, out.Screen = &a.Verdict, change.Screen(a.Verdict, s.known(ctx, p))
	}
	if a.Receipt.ID != "" {
		r := client.Receipt(a.Receipt)
		out.Receipt = &r
	}
	targets, err := s.e.Targets(ctx)
	if err != nil {
		return out, err
	}
	for _, t := range targets {
		if t.Run != nil && t.Run.Change == out.ID && t.Outcome() != nil {
			out.Outcome = t.Outcome()
		}
	}
	return out, nil
}

// known fills in what kind of principal a handle is, from the registry.
func (s *server) known(ctx context.Context, p gov.Principal) gov.Principal {
	if law, err := s.e.Law(ctx); err == nil {
		if person, ok := law.Registry.Person(p.Handle); ok {
			p.Kind = person.Kind
		}
	}
	return p
}

func (s *server) syncChange(ctx context.Context, p gov.Principal, in *struct {
	ID   string `path:"id"`
	Body client.SyncRequest
},
) (*answer[client.Change], error) {
	id, err := gov.ParseChangeID(in.ID)
	if err != nil {
		return nil, err
	}
	repo, err := s.quarantine(ctx, p, in.Body.Git)
	if err != nil {
		return nil, err
	}
	a, err := s.e.Sync(ctx, engine.SyncRequest{
		CommandID: in.Body.CommandID, Actor: p, Repo: repo, ID: id, Head: in.Body.Head, Branch: in.Body.Branch,
	})
	if err != nil {
		return nil, err
	}
	s.kick()
	out, err := s.change(ctx, p, a)
	return &answer[client.Change]{out}, err
}

// quarantine opens the repository as a hook sees it. Only a caller on this
// machine may name paths.
func (s *server) quarantine(ctx context.Context, p gov.Principal, env map[string]string) (engine.Repo, error) {
	if len(env) == 0 {
		return nil, nil
	}
	if s.Quarantine == nil || p.Via != "local" && p.Via != "socket" && p.Via != "hook" {
		return nil, gov.Errorf(gov.KindDenied, "quarantine_remote", "git's quarantine variables are taken from callers on this machine only")
	}
	return s.Quarantine(ctx, env)
}

func (s *server) kick() {
	if s.Supervisor != nil {
		s.Supervisor.Kick("")
	}
}

func (s *server) changeEvents(ctx context.Context, _ gov.Principal, in *idIn) (*answer[client.EventList], error) {
	id, err := gov.ParseChangeID(in.ID)
	if err != nil {
		return nil, err
	}
	evs, err := s.e.History(ctx, gov.StreamChange(id))
	return &answer[client.EventList]{eventList(evs)}, err
}

func eventList(evs []view.Event) client.EventList {
	out := client.EventList{Events: []client.Event{}}
	for _, e := range evs {
		out.Events = append(out.Events, client.Event{
			Stream: string(e.Stream), Version: e.Version, Index: e.Index, Type: e.Type, Time: e.Time, Actor: e.Actor.Handle, Data: e.Data,
		})
	}
	return out
}

func (s *server) metadata(ctx context.Context, _ gov.Principal, in *idIn) (*bytesAnswer, error) {
	id, err := gov.ParseChangeID(in.ID)
	if err != nil {
		return nil, err
	}
	m, err := s.e.Metadata(ctx, id)
	if err != nil {
		return nil, err
	}
	b, err := m.Print()
	return &bytesAnswer{"application/json", b}, err
}

func (s *server) document(ctx context.Context, _ gov.Principal, in *idIn) (*answer[client.Document], error) {
	id, err := gov.ParseChangeID(in.ID)
	if err != nil {
		return nil, err
	}
	md, err := s.e.Document(ctx, id)
	return &answer[client.Document]{client.Document{Change: id, Markdown: md}}, err
}

func (s *server) withdraw(ctx context.Context, p gov.Principal, in *idIn) (*answer[client.Receipt], error) {
	id, err := gov.ParseChangeID(in.ID)
	if err != nil {
		return nil, err
	}
	if in.Viewer != "" && p.Via != "token" {
		p.Handle = in.Viewer
	}
	r, err := s.e.Withdraw(ctx, p, id)
	return &answer[client.Receipt]{client.Receipt(r)}, err
}

const maxWait = 24 * time.Hour

func (s *server) wait(ctx context.Context, p gov.Principal, in *struct {
	ID      string `path:"id"`
	For     string `query:"for"`
	Timeout int64  `query:"timeout_ms"`
},
) (*answer[client.Change], error) {
	id, err := gov.ParseChangeID(in.ID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, min(time.Duration(in.Timeout)*time.Millisecond, maxWait))
	defer cancel()
	a, err := s.e.Wait(ctx, id, in.For)
	if err != nil {
		return nil, err
	}
	out, err := s.change(context.WithoutCancel(ctx), p, a)
	return &answer[client.Change]{out}, err
}

func (s *server) takeStatement(ctx context.Context, p gov.Principal, in *rawIn) (*answer[client.StatementAnswer], error) {
	a, rec, err := s.e.TakeStatement(ctx, p, in.RawBody)
	if err != nil {
		return nil, err
	}
	s.kick()
	out := client.StatementAnswer{Statement: rec}
	if a.State.ID != "" {
		c, err := s.change(ctx, p, a)
		if err != nil {
			return nil, err
		}
		out.Change = &c
	}
	return &answer[client.StatementAnswer]{out}, nil
}

func (s *server) getStatement(_ context.Context, _ gov.Principal, in *struct {
	Digest string `path:"digest"`
},
) (*bytesAnswer, error) {
	d, err := gov.ParseDigest(in.Digest)
	if err != nil {
		return nil, err
	}
	b, err := s.e.Statement(d)
	return &bytesAnswer{"application/json", b}, err
}
