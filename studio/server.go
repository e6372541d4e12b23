package studio

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// MaxBody is the largest request body in bytes.
const MaxBody = 1 << 20

// server answers HTTP for one orchestrator.
type server struct {
	o       *Orchestrator
	metrics *metrics
	failing atomic.Bool // the last record was not taken
}

// NewHandler serves an orchestrator as contracts/openapi.yaml describes:
// POST /v1/sections and /v1/feedback, GET /healthz, /identify and /metrics.
// Errors are RFC 9457 problems. Every answer names the bundle in the header
// Studio-Artifact.
func NewHandler(o *Orchestrator) http.Handler {
	s := &server{o: o, metrics: newMetrics()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/sections", s.measured("/v1/sections", s.sections))
	mux.HandleFunc("POST /v1/feedback", s.measured("/v1/feedback", s.feedback))
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /identify", s.identify)
	mux.HandleFunc("GET /metrics", s.metrics.serve)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Studio-Artifact", o.bundle.Artifact)
		mux.ServeHTTP(w, r)
	})
}

// measured counts what do answers, and turns its error into the answer.
func (s *server) measured(path string, do func(http.ResponseWriter, *http.Request) (int, *Error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		status, bad := http.StatusInternalServerError, (*Error)(nil)
		defer func() { s.metrics.observe(path, status, time.Since(start)) }() // panics count as 500
		if status, bad = do(w, r); bad != nil {
			status = bad.Status
			writeProblem(w, bad)
		}
	}
}

func (s *server) sections(w http.ResponseWriter, r *http.Request) (int, *Error) {
	body, bad := readBody(w, r)
	if bad != nil {
		return 0, bad
	}
	section, err := s.o.ComposeJSON(r.Context(), body)
	if bad := s.judge(err); bad != nil {
		return 0, bad
	}
	if accepts(r, "audio/midi") {
		w.Header().Set("Content-Type", "audio/midi")
		w.Header().Set("Studio-Output-Digest", section.OutputDigest)
		_, _ = w.Write(section.MIDI) // the caller may have gone; the record stands
		return http.StatusOK, nil
	}
	writeJSON(w, http.StatusOK, "application/json", section)
	return http.StatusOK, nil
}

func (s *server) feedback(w http.ResponseWriter, r *http.Request) (int, *Error) {
	body, bad := readBody(w, r)
	if bad != nil {
		return 0, bad
	}
	f, err := s.o.RecordFeedback(r.Context(), body)
	if bad := s.judge(err); bad != nil {
		return 0, bad
	}
	s.metrics.rate(f.Rating)
	w.WriteHeader(http.StatusNoContent)
	return http.StatusNoContent, nil
}

// judge finds the error to answer with, and remembers whether the log takes
// records.
func (s *server) judge(err error) *Error {
	if err == nil {
		s.failing.Store(false)
		return nil
	}
	bad := asError(err)
	s.failing.Store(bad.Code == codeAudit)
	return bad
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	status, word := http.StatusOK, "ok"
	if s.failing.Load() {
		status, word = http.StatusServiceUnavailable, "audit_failing"
	}
	writeJSON(w, status, "application/json", map[string]string{"status": word})
}

func (s *server) identify(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, "application/json", map[string]string{
		"artifact": s.o.bundle.Artifact, "manifest_version": s.o.bundle.Manifest.Version,
	})
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *Error) {
	if kind := r.Header.Get("Content-Type"); kind != "" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			return nil, &Error{Status: 415, Code: "media_type_unknown", Message: "the body must be application/json"}
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return nil, &Error{Status: 413, Code: "body_too_large", Message: "the body has more than 1 MiB"}
		}
		return nil, &Error{Status: 400, Code: "body_unreadable", Message: "the body did not arrive whole", Err: err}
	}
	return body, nil
}

// accepts tells whether the caller named a media type it wants; weights and
// wildcards are not weighed, JSON is the default.
func accepts(r *http.Request, want string) bool {
	for _, header := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(header, ",") {
			if media, _, err := mime.ParseMediaType(part); err == nil && media == want {
				return true
			}
		}
	}
	return false
}

func writeJSON(w http.ResponseWriter, status int, media string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("studio: an answer does not marshal: " + err.Error())
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the caller may have gone; the record stands
}

// problem is an error as RFC 9457 spells it.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Hint   string `json:"hint,omitempty"`
}

func writeProblem(w http.ResponseWriter, e *Error) {
	writeJSON(w, e.Status, "application/problem+json", problem{
		Title: http.StatusText(e.Status), Status: e.Status, Detail: e.Message, Code: e.Code, Hint: e.Hint,
	})
}
