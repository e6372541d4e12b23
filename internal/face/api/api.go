package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/gov/strict"
)

// Config is what the API serves.
type Config struct {
	Engine  *engine.Engine
	Version string
	// Supervisor is nil where nothing supervises.
	Supervisor *engine.Supervisor
	// Quarantine opens the repository as a receive hook sees it, from the
	// variables git gives the hook. nil refuses requests that carry them.
	Quarantine func(ctx context.Context, env map[string]string) (engine.Repo, error)
	Logger     *slog.Logger
}

type server struct {
	Config
	e *engine.Engine
}

// New makes the handler and the description of its operations.
func New(cfg Config) (http.Handler, *huma.OpenAPI) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &server{Config: cfg, e: cfg.Engine}
	mux := http.NewServeMux()
	a := humago.New(mux, config(cfg.Version))
	s.changes(a)
	s.gate(a)
	s.rollouts(a)
	s.logs(a)
	s.anchors(a)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "ok\n")
	})
	mux.Handle("GET /log/", http.StripPrefix("/log", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.e.Reader().Handler().ServeHTTP(w, r)
	})))
	return mux, a.OpenAPI()
}

func config(version string) huma.Config {
	format := huma.Format{
		Marshal:   huma.DefaultJSONFormat.Marshal,
		Unmarshal: func(b []byte, v any) error { return strict.Unmarshal(b, v, strict.Options{Name: "request"}) },
	}
	c := huma.DefaultConfig("govern", version)
	c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", nil
	c.Formats = map[string]huma.Format{"application/json": format, "json": format}
	c.Info.Description = "Decides whether a change may go ahead, carries it out, takes it back, and proves it."
	return c
}

type principalKey struct{}

// WithPrincipal says who calls. Transports set it; handlers only read it.
func WithPrincipal(ctx context.Context, p gov.Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// principal is who calls; nobody may call without being somebody.
func principal(ctx context.Context) (gov.Principal, error) {
	p, ok := ctx.Value(principalKey{}).(gov.Principal)
	if !ok || p.Handle == "" {
		return p, problem(gov.Errorf(gov.KindDenied, "unauthenticated", "the call says nothing about who makes it").WithHint("govern token add HANDLE"))
	}
	return p, nil
}

// statusOf is the one table from kinds to HTTP status.
var statusOf = map[gov.Kind]int{
	gov.KindInvalid: http.StatusUnprocessableEntity, gov.KindRefused: http.StatusConflict, gov.KindPending: http.StatusConflict,
	gov.KindDenied: http.StatusForbidden, gov.KindNotFound: http.StatusNotFound, gov.KindConflict: http.StatusConflict,
	gov.KindIntegrity: http.StatusInternalServerError, gov.KindTimeout: http.StatusGatewayTimeout,
	gov.KindUnavailable: http.StatusServiceUnavailable, gov.KindInternal: http.StatusInternalServerError,
}

// wireProblem is a client.Problem that huma can send.
type wireProblem struct{ client.Problem }

func (p *wireProblem) Error() string             { return p.Detail }
func (p *wireProblem) GetStatus() int            { return p.Status }
func (p *wireProblem) ContentType(string) string { return "application/problem+json" }

// problem turns an error into what travels. The cause stays here.
func problem(err error) error {
	if err == nil {
		return nil
	}
	if p, ok := errors.AsType[*wireProblem](err); ok {
		return p
	}
	e, ok := errors.AsType[*gov.Error](err)
	if !ok {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e = gov.Errorf(gov.KindTimeout, "canceled", "the call ended before there was an answer")
		} else {
			e = gov.Errorf(gov.KindInternal, "internal", "something went wrong here that is no fault of the request").WithHint("govern doctor")
		}
	}
	return &wireProblem{client.Problem{
		Title: string(e.Kind), Status: statusOf[e.Kind], Detail: e.Message, Kind: e.Kind, Code: e.Code, Hint: e.Hint,
	}}
}

func init() {
	// What huma itself refuses (a body that does not fit the schema) is a problem
	// of ours too; values of the request are not echoed.
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		for _, err := range errs {
			if e, ok := errors.AsType[*gov.Error](err); ok {
				return problem(e).(*wireProblem)
			}
		}
		p := client.Problem{Title: http.StatusText(status), Status: status, Detail: msg, Kind: gov.KindInvalid, Code: "request_invalid"}
		for _, err := range errs {
			if d, ok := err.(huma.ErrorDetailer); ok {
				p.Detail += "; " + d.ErrorDetail().Message + " at " + d.ErrorDetail().Location
			}
		}
		if status >= 500 {
			p.Kind, p.Code = gov.KindInternal, "internal"
		}
		return &wireProblem{p}
	}
}

// answer is a JSON body.
type answer[T any] struct{ Body T }

// bytesAnswer is a raw body.
type bytesAnswer struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// op registers one operation. Every handler knows who calls.
func op[I, O any](a huma.API, method, path, id, summary string, h func(context.Context, gov.Principal, *I) (*O, error)) {
	huma.Register(a, huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, MaxBodyBytes: 8 << 20, SkipValidateBody: true},
		func(ctx context.Context, in *I) (*O, error) {
			p, err := principal(ctx)
			if err != nil {
				return nil, err
			}
			out, err := h(ctx, p, in)
			return out, problem(err)
		})
}
