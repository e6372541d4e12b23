package studio

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/audit"
)

// startServer serves on a real loopback port.
func startServer(t testing.TB, o *Orchestrator) string {
	t.Helper()
	s := httptest.NewServer(NewHandler(o))
	t.Cleanup(s.Close)
	return s.URL
}

type reply struct {
	status int
	header http.Header
	body   []byte
}

func send(t testing.TB, method, url, body string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, text}
}

const intro = `{"name":"Intro","bars":32,"seed":12345}`

func TestHTTPComposes(t *testing.T) {
	b := mustDefault(t)
	log := openLog(t)
	url := startServer(t, newOrchestrator(t, b, log, nil))
	want, err := b.compose(t.Context(), SectionSpec{Name: "Intro", Bars: 32, Seed: 12345}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	r := send(t, "POST", url+"/v1/sections", intro, "Content-Type", "application/json; charset=utf-8")
	if r.status != 200 || r.header.Get("Content-Type") != "application/json" || r.header.Get("Studio-Artifact") != b.Artifact {
		t.Fatalf("%d %v %s", r.status, r.header, r.body)
	}
	instance, err := decodeAny(r.body)
	if err != nil {
		t.Fatal(err)
	}
	if broken := b.section.check(instance); broken != "" {
		t.Errorf("the answer does not satisfy the contract: %s", broken)
	}
	var got Section
	if err := json.Unmarshal(r.body, &got); err != nil {
		t.Fatal(err)
	}
	want.Parts = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r = send(t, "POST", url+"/v1/sections", intro, "Accept", "text/html, audio/midi;q=0.9")
	if r.status != 200 || r.header.Get("Content-Type") != "audio/midi" || !bytes.Equal(r.body, want.MIDI) || r.header.Get("Studio-Output-Digest") != want.OutputDigest {
		t.Errorf("MIDI: %d %v", r.status, r.header)
	}
	if n := len(entries(t, log)); n != 2 {
		t.Errorf("%d records", n)
	}
	r = send(t, "GET", url+"/identify", "")
	if diff := cmp.Diff(fmt.Sprintf("{\"artifact\":%q,\"manifest_version\":\"1.0.0\"}\n", b.Artifact), string(r.body)); diff != "" {
		t.Error(diff)
	}
}

func TestHTTPRefuses(t *testing.T) {
	log := openLog(t)
	url := startServer(t, newOrchestrator(t, mustDefault(t), log, nil))
	check := func(name string, r reply, status int, code string) {
		t.Helper()
		var p problem
		if err := json.Unmarshal(r.body, &p); err != nil || r.status != status || p.Status != status || p.Code != code || p.Detail == "" ||
			r.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	for name, tt := range hostile {
		check(name, send(t, "POST", url+"/v1/sections", tt.body), tt.status, tt.code)
	}
	if n := len(entries(t, log)); n != len(hostile) {
		t.Errorf("%d records of %d refusals", n, len(hostile))
	}
	check("too large", send(t, "POST", url+"/v1/sections", strings.Repeat(" ", MaxBody+1)), 413, "body_too_large")
	check("form", send(t, "POST", url+"/v1/sections", "a=b", "Content-Type", "application/x-www-form-urlencoded"), 415, "media_type_unknown")
	check("bad media type", send(t, "POST", url+"/v1/sections", intro, "Content-Type", ";"), 415, "media_type_unknown")
	digest := "sha256:" + strings.Repeat("a", 64)
	for name, body := range map[string]string{
		"rating too high": `{"output_digest":"` + digest + `","rating":1.1}`, "no digest": `{"rating":1}`, "short digest": `{"output_digest":"sha256:a","rating":1}`,
		"listener": `{"output_digest":"` + digest + `","rating":1,"listener":"ada"}`,
	} {
		check(name, send(t, "POST", url+"/v1/feedback", body), 422, "input_contract")
	}
	for _, tt := range []struct {
		method, path string
		status       int
	}{{"GET", "/v1/sections", 405}, {"POST", "/healthz", 405}, {"GET", "/", 404}, {"GET", "/v1/nothing", 404}} {
		if r := send(t, tt.method, url+tt.path, ""); r.status != tt.status {
			t.Errorf("%s %s: %d", tt.method, tt.path, r.status)
		}
	}
}

func TestHTTPUnderLoadRecordsEveryRequest(t *testing.T) {
	bad, err := LoadDir(os.DirFS(editedDir(t, "modules/bass.json", `"spread": 12`, `"spread": 40`)), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := openLog(t)
	url := startServer(t, newOrchestrator(t, bad, log, nil))
	const clients, each = 16, 15
	var failed, other atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range each {
				r := send(t, "POST", url+"/v1/sections", fmt.Sprintf(`{"name":"Intro","bars":4,"seed":%d}`, c*each+i))
				switch r.status {
				case 200:
				case 500:
					failed.Add(1)
					if !bytes.Contains(r.body, []byte("output_contract")) {
						other.Add(1)
					}
				default:
					other.Add(1)
				}
			}
		})
	}
	wg.Wait()
	failures, all := 0, entries(t, log)
	for _, e := range all {
		if e.Record.Result == "failure" {
			failures++
		}
	}
	if len(all) != clients*each || failures != int(failed.Load()) || failures == 0 || other.Load() != 0 {
		t.Errorf("%d records, %d failures recorded, %d answered, %d other answers", len(all), failures, failed.Load(), other.Load())
	}
	text := string(send(t, "GET", url+"/metrics", "").body)
	for _, want := range []string{
		fmt.Sprintf("studio_requests_total{path=\"/v1/sections\",code=\"200\"} %d\n", clients*each-failures),
		fmt.Sprintf("studio_requests_total{path=\"/v1/sections\",code=\"500\"} %d\n", failures),
		fmt.Sprintf("studio_request_errors_total{path=\"/v1/sections\"} %d\n", failures),
		fmt.Sprintf("studio_request_duration_seconds_count{path=\"/v1/sections\"} %d\n", clients*each),
		fmt.Sprintf("studio_request_duration_seconds_bucket{path=\"/v1/sections\",le=\"+Inf\"} %d\n", clients*each),
		"studio_request_errors_total{path=\"/v1/feedback\"} 0\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s\n%s", want, text)
		}
	}
}

func TestMetricsText(t *testing.T) {
	m := newMetrics()
	for _, took := range []time.Duration{4 * time.Millisecond, 500 * time.Millisecond, 500*time.Millisecond + 1, time.Second, 1001 * time.Millisecond, 9 * time.Second} {
		m.observe("/v1/sections", 200, took)
	}
	m.observe("/v1/sections", 422, 0)
	m.observe("/v1/sections", 503, 0)
	m.rate(0.25)
	m.rate(0.5)
	var got []string
	for line := range strings.Lines(m.text()) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "/v1/feedback") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	bucket := func(le string, n int) string {
		return fmt.Sprintf(`studio_request_duration_seconds_bucket{path="/v1/sections",le="%s"} %d`, le, n)
	}
	want := []string{
		`studio_requests_total{path="/v1/sections",code="200"} 6`,
		`studio_requests_total{path="/v1/sections",code="422"} 1`,
		`studio_requests_total{path="/v1/sections",code="503"} 1`,
		`studio_request_errors_total{path="/v1/sections"} 1`,
		bucket("0.005", 3), bucket("0.01", 3), bucket("0.025", 3), bucket("0.05", 3), bucket("0.1", 3), bucket("0.25", 3),
		bucket("0.5", 4), bucket("1", 6), bucket("2.5", 7), bucket("5", 7), bucket("+Inf", 8),
		`studio_request_duration_seconds_sum{path="/v1/sections"} 12.005000001`,
		`studio_request_duration_seconds_count{path="/v1/sections"} 8`,
		`studio_feedback_total 2`, `studio_feedback_satisfied_total 1`, `studio_feedback_rating_sum 0.75`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// switchable is a recorder that can be made to refuse.
type switchable struct {
	full atomic.Bool
	log  *audit.Log
}

func (s *switchable) Operation(ctx context.Context, name string, spec any, fn func(context.Context, *audit.Op) error) error {
	if s.full.Load() {
		return refusing{}.Operation(ctx, name, spec, fn)
	}
	return s.log.Operation(ctx, name, spec, fn)
}

func TestHealthFollowsTheLog(t *testing.T) {
	r := &switchable{log: openLog(t)}
	url := startServer(t, newOrchestrator(t, mustDefault(t), r, nil))
	health := func(status int, body string) {
		t.Helper()
		if r := send(t, "GET", url+"/healthz", ""); r.status != status || string(r.body) != body+"\n" {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	health(200, `{"status":"ok"}`)
	r.full.Store(true)
	if r := send(t, "POST", url+"/v1/sections", intro); r.status != 503 || !bytes.Contains(r.body, []byte("audit_unavailable")) || bytes.Contains(r.body, []byte("secret")) {
		t.Errorf("a section without a record: %d %s", r.status, r.body)
	}
	health(503, `{"status":"audit_failing"}`)
	if r := send(t, "POST", url+"/v1/sections", `{}`); r.status != 503 {
		t.Errorf("a refusal without a record: %d %s", r.status, r.body)
	}
	r.full.Store(false)
	if r := send(t, "POST", url+"/v1/sections", `{}`); r.status != 422 {
		t.Errorf("%d %s", r.status, r.body)
	}
	health(200, `{"status":"ok"}`)
}

func TestFeedbackIsRecorded(t *testing.T) {
	log := openLog(t)
	url := startServer(t, newOrchestrator(t, mustDefault(t), log, nil))
	body := `{"output_digest":"sha256:` + strings.Repeat("a", 64) + `","rating":0.75}`
	if r := send(t, "POST", url+"/v1/feedback", body); r.status != 204 || len(r.body) != 0 {
		t.Errorf("%d %s", r.status, r.body)
	}
	all := entries(t, log)
	if len(all) != 1 || all[0].Record.Operation != "record_feedback" || string(all[0].Record.SectionSpec) != body {
		t.Errorf("%d records", len(all))
	}
	if text := string(send(t, "GET", url+"/metrics", "").body); !strings.Contains(text, "studio_feedback_satisfied_total 1\n") {
		t.Error(text)
	}
}

// BenchmarkHTTPSections is a request over loopback with its durable record.
func BenchmarkHTTPSections(b *testing.B) {
	bundle, err := defaultBundle()
	if err != nil {
		b.Fatal(err)
	}
	url := startServer(b, newOrchestrator(b, bundle, openLog(b), nil))
	var seed atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			body := fmt.Sprintf(`{"name":"Intro","bars":32,"seed":%d}`, seed.Add(1))
			if r := send(b, "POST", url+"/v1/sections", body); r.status != 200 {
				b.Errorf("%d %s", r.status, r.body)
			}
		}
	})
}
