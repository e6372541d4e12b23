package deploy

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/policy"
)

var digest = gov.DigestOf([]byte("bundle"))

func instance(base string) Instance {
	return Instance{Target: "prod", Slot: "candidate", Base: base, Artifact: gov.Artifact{Name: "studio", Digest: digest}, Commit: "c0ffee"}
}

func TestPlaceholdersStayInOneArgument(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	in := instance("http://127.0.0.1:9002")
	in.Artifact.Name = "x; rm -rf {digest} $(id)"
	target := policy.Target{Deploy: []string{"/usr/bin/python3", "-c", "import sys; open(sys.argv[1],'w').write('|'.join(sys.argv[2:]))", out, "{artifact}", "{digest}@{address}", "{slot}", "{target}", "{commit}"}}
	if err := (&Runner{}).Deploy(t.Context(), target, in); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := "x; rm -rf {digest} $(id)|" + string(digest) + "@127.0.0.1:9002|candidate|prod|c0ffee"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestFailuresSayWhatFailed(t *testing.T) {
	for name, tc := range map[string]struct {
		argv []string
		code string
		says string
	}{
		"exit code":  {[]string{"/bin/sh", "-c", "echo no disk >&2; exit 3"}, "deploy_failed", "no disk"},
		"no program": {[]string{"/no/such/program"}, "deploy_failed", "no such file"},
		"no command": {nil, "target_deploy_missing", "no deploy command"},
		"too slow":   {[]string{"/bin/sh", "-c", "while :; do :; done"}, "deploy_failed", "did not end within"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Runner{Timeout: 200 * time.Millisecond}
			err := r.Deploy(t.Context(), policy.Target{Deploy: tc.argv}, instance(""))
			if gov.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("err = %v, want code %s saying %q", err, tc.code, tc.says)
			}
		})
	}
}

func TestIdentify(t *testing.T) {
	for answer, want := range map[string]struct {
		d    gov.Digest
		code string
	}{
		string(digest) + "\n":                   {digest, ""},
		`{"artifact":"` + string(digest) + `"}`: {digest, ""},
		`{"digest":"` + string(digest) + `"}`:   {digest, ""},
		`{}`:                                    {"", "identify_unreadable"},
		`{"artifact"`:                           {"", "identify_unreadable"},
		"sha256:abc":                            {"", "identify_unreadable"},
		"":                                      {"", "identify_unreadable"},
		"<html>ok":                              {"", "identify_unreadable"},
		"SHA256:" + digest.Hex():                {"", "identify_unreadable"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(answer)) }))
		d, err := (&Runner{}).Identify(t.Context(), policy.Target{Identify: policy.Probe{URL: "/identify"}}, instance(srv.URL))
		srv.Close()
		if d != want.d || gov.CodeOf(err) != want.code {
			t.Errorf("%q: got %q, %v; want %q, %q", answer, d, err, want.d, want.code)
		}
	}
}

func TestHealthOverHTTP(t *testing.T) {
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	target := policy.Target{Health: policy.Probe{URL: "/healthz"}}
	for _, tc := range []struct {
		status int
		ok     bool
	}{{200, true}, {503, false}, {302, false}, {204, false}} {
		status = tc.status
		err := (&Runner{}).Healthy(t.Context(), target, instance(srv.URL))
		if (err == nil) != tc.ok {
			t.Errorf("status %d: err = %v", tc.status, err)
		}
	}
	srv.Close()
	if err := (&Runner{}).Healthy(t.Context(), target, instance(srv.URL)); gov.KindOf(err) != gov.KindUnavailable {
		t.Errorf("server gone: err = %v", err)
	}
}
