package studio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/governhq/govern/audit"
)

func openLog(t testing.TB, redact ...string) *audit.Log {
	t.Helper()
	dir := t.TempDir()
	log, err := audit.Open(audit.Config{
		Dir: filepath.Join(dir, "log"), Origin: "test.example/studio", SecondPlace: filepath.Join(dir, "second"), Redact: redact,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log
}

func newOrchestrator(t testing.TB, b *Bundle, r Recorder, faults *Faults) *Orchestrator {
	t.Helper()
	o, err := New(b, Options{Recorder: r, Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func entries(t testing.TB, log *audit.Log) []audit.Entry {
	t.Helper()
	var all []audit.Entry
	for e, err := range log.Entries(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestNewNeedsARecorder(t *testing.T) {
	if _, err := New(mustDefault(t), Options{}); err == nil {
		t.Error("an orchestrator without a recorder was made")
	}
	if _, err := New(nil, Options{Recorder: Unrecorded{}}); err == nil {
		t.Error("an orchestrator without a bundle was made")
	}
}

func TestComposeSectionLeavesOneRecord(t *testing.T) {
	log := openLog(t)
	o := newOrchestrator(t, mustDefault(t), log, nil)
	s, err := o.ComposeSection(t.Context(), SectionSpec{Name: "Intro", Bars: 32, Seed: 12345})
	if err != nil {
		t.Fatal(err)
	}
	all := entries(t, log)
	if len(all) != 1 {
		t.Fatalf("%d records", len(all))
	}
	got := all[0].Record
	if since := time.Since(got.Timestamp); since < 0 || since > time.Minute || got.DurationMS > 60000 {
		t.Errorf("%v, %d ms", got.Timestamp, got.DurationMS)
	}
	composed := map[string]string{}
	for _, p := range s.Summary {
		composed[p.Module] = p.Digest
	}
	metadata, _ := json.Marshal(map[string]any{
		"artifact": o.bundle.Artifact, "faults": []any{}, "output_digest": s.OutputDigest, "notes_digest": s.NotesDigest, "composed": composed,
	})
	var wantMeta, gotMeta any
	if err := errors.Join(json.Unmarshal(metadata, &wantMeta), json.Unmarshal(got.Metadata, &gotMeta)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantMeta, gotMeta); diff != "" {
		t.Error(diff)
	}
	got.Timestamp, got.DurationMS, got.Metadata = time.Time{}, 0, nil
	want := audit.Record{
		Operation: "compose_section", SectionSpec: json.RawMessage(`{"name":"Intro","bars":32,"seed":12345}`),
		ModulesLoaded: []audit.Module{
			{Name: "kick", Version: "1.0.0", InterfaceSchema: "contracts/kick.json"},
			{Name: "snare", Version: "1.0.0", InterfaceSchema: "contracts/snare.json"},
			{Name: "hat", Version: "1.0.0", InterfaceSchema: "contracts/hat.json"},
			{Name: "bass", Version: "1.0.0", InterfaceSchema: "contracts/openapi.yaml#/components/schemas/BassSpec"},
			{Name: "chords", Version: "1.0.0", InterfaceSchema: "contracts/chords.json"},
		},
		ManifestVersion: "1.0.0", SeedUsed: 12345, Result: "success",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// hostile are bodies that nobody should send, with the status and code of the
// answer.
var hostile = map[string]struct {
	body   string
	status int
	code   string
}{
	"empty":             {``, 400, "body_not_json"},
	"text":              {`hello`, 400, "body_not_json"},
	"array":             {`[]`, 400, "body_not_json"},
	"two objects":       {`{}{}`, 400, "body_not_json"},
	"not UTF-8":         {"{\"name\":\"\xff\",\"bars\":1,\"seed\":1}", 400, "body_not_utf8"},
	"NUL":               {`{"name":"a\u0000","bars":1,"seed":1}`, 400, "body_not_json"},
	"lone surrogate":    {`{"name":"\ud800","bars":1,"seed":1}`, 400, "body_not_json"},
	"duplicate key":     {`{"name":"a","bars":1,"bars":2,"seed":1}`, 400, "body_not_json"},
	"deep":              {strings.Repeat(`{"a":`, 10000) + "1" + strings.Repeat(`}`, 10000), 400, "body_not_json"},
	"nothing":           {`{}`, 422, "input_contract"},
	"unknown key":       {`{"name":"a","bars":1,"seed":1,"colour":"red"}`, 422, "input_contract"},
	"no bars":           {`{"name":"a","bars":0,"seed":1}`, 422, "input_contract"},
	"negative bars":     {`{"name":"a","bars":-1,"seed":1}`, 422, "input_contract"},
	"a billion bars":    {`{"name":"a","bars":1000000000,"seed":1}`, 422, "input_contract"},
	"huge number":       {`{"name":"a","bars":1e300,"seed":1}`, 422, "input_contract"},
	"fraction":          {`{"name":"a","bars":1.5,"seed":1}`, 422, "input_contract"},
	"odd integer":       {`{"name":"a","bars":1.0,"seed":1}`, 422, "input_contract"},
	"string bars":       {`{"name":"a","bars":"1","seed":1}`, 422, "input_contract"},
	"no seed":           {`{"name":"a","bars":1}`, 422, "input_contract"},
	"negative seed":     {`{"name":"a","bars":1,"seed":-1}`, 422, "input_contract"},
	"seed beyond 2^53":  {`{"name":"a","bars":1,"seed":9007199254740992}`, 422, "input_contract"},
	"empty name":        {`{"name":"","bars":1,"seed":1}`, 422, "input_contract"},
	"long name":         {`{"name":"` + strings.Repeat("x", 65) + `","bars":1,"seed":1}`, 422, "input_contract"},
	"newline in name":   {`{"name":"a\nb","bars":1,"seed":1}`, 422, "input_contract"},
	"null name":         {`{"name":null,"bars":1,"seed":1}`, 422, "input_contract"},
	"tempo":             {`{"name":"a","bars":1,"seed":1,"tempo":1000}`, 422, "input_contract"},
	"key":               {`{"name":"a","bars":1,"seed":1,"key":"H"}`, 422, "input_contract"},
	"mode":              {`{"name":"a","bars":1,"seed":1,"mode":"dorian"}`, 422, "input_contract"},
	"longer than a log": {`{"name":"a","bars":1,"seed":1,"x":"` + strings.Repeat("y", 100000) + `"}`, 422, "input_contract"},
}

func TestHostileInputIsRefusedAndRecorded(t *testing.T) {
	log := openLog(t)
	o := newOrchestrator(t, mustDefault(t), log, nil)
	for name, tt := range hostile {
		before := len(entries(t, log))
		_, err := o.ComposeJSON(t.Context(), []byte(tt.body))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Status != tt.status || e.Code != tt.code {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(e.Message, "red") && name == "unknown key" || len(e.Message) > 400 {
			t.Errorf("%s: the message repeats the input: %s", name, e.Message)
		}
		all := entries(t, log)
		if len(all) != before+1 {
			t.Errorf("%s: %d records", name, len(all)-before)
			continue
		}
		r := all[before].Record
		if r.Result != "failure" || !bytes.Contains(r.Metadata, []byte(`"code":"`+tt.code+`"`)) || len(r.ModulesLoaded) != 5 {
			t.Errorf("%s: %s", name, all[before].Line)
		}
	}
}

// refusing is a log that takes nothing.
type refusing struct{}

var errRefusing = errors.New("no space on /srv/secret")

func (refusing) Operation(ctx context.Context, _ string, _ any, fn func(context.Context, *audit.Op) error) error {
	return errors.Join(fn(ctx, &audit.Op{}), errRefusing)
}

func TestNoSectionWithoutARecord(t *testing.T) {
	o := newOrchestrator(t, mustDefault(t), refusing{}, nil)
	s, err := o.ComposeSection(t.Context(), SectionSpec{Name: "Intro", Bars: 1, Seed: 1})
	if e, ok := errors.AsType[*Error](err); !ok || e.Status != 503 || e.Code != "audit_unavailable" || !errors.Is(err, errRefusing) || s.MIDI != nil {
		t.Errorf("%v, %d bytes", err, len(s.MIDI))
	}
}

func TestFaultsAreSeededAndNamed(t *testing.T) {
	log := openLog(t)
	faults, err := ParseFaults("error_rate=0.25,latency_ms=1,latency_rate=0.5,seed=9")
	if err != nil {
		t.Fatal(err)
	}
	o := newOrchestrator(t, mustDefault(t), log, faults)
	const n = 200
	failed, slow := 0, 0
	for seed := range int64(n) {
		spec := SectionSpec{Name: "Intro", Bars: 1, Seed: seed}
		_, first := o.ComposeSection(t.Context(), spec)
		_, second := o.ComposeSection(t.Context(), spec)
		if (first == nil) != (second == nil) {
			t.Fatalf("seed %d: %v, then %v", seed, first, second)
		}
		if first != nil {
			failed++
			if e, ok := errors.AsType[*Error](first); !ok || e.Code != "fault_injected" || e.Status != 500 {
				t.Fatal(first)
			}
		}
	}
	for _, e := range entries(t, log) {
		var m recorded
		if err := json.Unmarshal(e.Record.Metadata, &m); err != nil {
			t.Fatal(err)
		}
		named := false
		for _, f := range m.Faults {
			named = named || f.Kind == "error"
			if f == (Fault{Kind: "latency", LatencyMS: 1}) {
				slow++
			}
		}
		if named != (e.Record.Result == "failure") {
			t.Errorf("record %d: %s", e.Index, e.Line)
		}
	}
	if failed < n*15/100 || failed > n*35/100 || slow < 2*n*35/100 || slow > 2*n*65/100 {
		t.Errorf("%d of %d failed, %d of %d slow", failed, n, slow, 2*n)
	}
}

func TestParseFaultsRefuses(t *testing.T) {
	for _, s := range []string{
		"", "error_rate", "error_rate=", "error_rate=1.1", "error_rate=-0.1", "error_rate=NaN", "error_rate=5%", "latency_ms=-1", "latency_ms=60001",
		"latency_ms=1.5", "colour=red", "error_rate=0.1,error_rate=0.1", "seed=x", "error_rate=0.1,",
	} {
		if f, err := ParseFaults(s); err == nil {
			t.Errorf("%q: %+v", s, f)
		}
	}
	f, err := ParseFaults("error_rate=0.05,latency_ms=200")
	if diff := cmp.Diff(&Faults{ErrorRate: 0.05, Latency: 200 * time.Millisecond, LatencyRate: 1}, f); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// Every record of a log full of good, refused, failed and sabotaged
// compositions replays.
func TestReplayEveryRecord(t *testing.T) {
	log := openLog(t)
	b, err := LoadDir(os.DirFS(editedDir(t, "modules/bass.json", `"spread": 12`, `"spread": 40`)), nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := newOrchestrator(t, b, log, nil)
	sabotaged := newOrchestrator(t, b, log, &Faults{ErrorRate: 0.3})
	for seed := range int64(60) {
		spec := SectionSpec{Name: fmt.Sprintf("<é&%d>", seed), Bars: int(seed%20) + 1, Seed: seed, Key: keyNames[seed%12]}
		_, _ = plain.ComposeSection(t.Context(), spec)
		_, _ = sabotaged.ComposeSection(t.Context(), spec)
	}
	for _, h := range hostile {
		_, _ = plain.ComposeJSON(t.Context(), []byte(h.body))
	}
	again := newOrchestrator(t, b, Unrecorded{}, nil)
	seen := map[string]int{}
	for _, e := range entries(t, log) {
		out, err := again.Replay(t.Context(), e)
		if err != nil {
			if !bytes.Contains(e.Line, []byte("$digest")) {
				t.Errorf("record %d: %v", e.Index, err)
			}
			seen["by digest"]++
			continue
		}
		if !out.Same {
			t.Errorf("record %d: %+v", e.Index, out)
		}
		seen[out.Result+" "+out.ErrorCode]++
	}
	t.Log(seen)
	for _, kind := range []string{"success ", "failure output_contract", "failure fault_injected", "failure input_contract", "by digest"} {
		if seen[kind] == 0 {
			t.Errorf("no record of the kind %q", kind)
		}
	}
}

func TestReplayFindsEveryLie(t *testing.T) {
	log := openLog(t)
	b := mustDefault(t)
	o := newOrchestrator(t, b, log, nil)
	s, err := o.ComposeSection(t.Context(), SectionSpec{Name: "Intro", Bars: 4, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	honest := entries(t, log)[0]
	zero := "sha256:" + strings.Repeat("0", 64)
	lies := map[string]func(*audit.Record){
		"seed": func(r *audit.Record) { r.SeedUsed++ },
		"input": func(r *audit.Record) {
			r.SectionSpec = bytes.Replace(r.SectionSpec, []byte(`"seed":7`), []byte(`"seed":8`), 1)
		},
		"name": func(r *audit.Record) {
			r.SectionSpec = bytes.Replace(r.SectionSpec, []byte("Intro"), []byte("Outro"), 1)
		},
		"output": func(r *audit.Record) { r.Metadata = bytes.Replace(r.Metadata, []byte(s.OutputDigest), []byte(zero), 1) },
		"notes":  func(r *audit.Record) { r.Metadata = bytes.Replace(r.Metadata, []byte(s.NotesDigest), []byte(zero), 1) },
		"part": func(r *audit.Record) {
			r.Metadata = bytes.Replace(r.Metadata, []byte(s.Summary[2].Digest), []byte(zero), 1)
		},
		"result":   func(r *audit.Record) { r.Result = "failure" },
		"manifest": func(r *audit.Record) { r.ManifestVersion = "9.9.9" },
	}
	for name, lie := range lies {
		e := honest
		e.Record.SectionSpec, e.Record.Metadata = bytes.Clone(e.Record.SectionSpec), bytes.Clone(e.Record.Metadata)
		lie(&e.Record)
		if cmp.Equal(honest.Record, e.Record) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if out, err := o.Replay(t.Context(), e); err != nil || out.Same {
			t.Errorf("%s: %+v, %v", name, out, err)
		}
	}
	for name, tt := range map[string]struct {
		change func(*audit.Record)
		code   string
	}{
		"another bundle":    {func(r *audit.Record) { r.Metadata = bytes.Replace(r.Metadata, []byte(b.Artifact), []byte(zero), 1) }, "bundle_differs"},
		"another operation": {func(r *audit.Record) { r.Operation = "mix" }, "operation_unknown"},
		"redacted input": {func(r *audit.Record) {
			r.SectionSpec = json.RawMessage(`{"name":{"$digest":"sha256:x","$size":1},"bars":1,"seed":1}`)
		}, "input_by_digest"},
		"foreign metadata": {func(r *audit.Record) { r.Metadata = json.RawMessage(`{"artifact":1}`) }, "record_foreign"},
	} {
		e := honest
		e.Record.Metadata = bytes.Clone(e.Record.Metadata)
		tt.change(&e.Record)
		if _, err := o.Replay(t.Context(), e); err == nil || asError(err).Code != tt.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is accepted satisfies the limits of SectionSpec, restated here, and
// composes; what is refused has a 4xx.
func FuzzSpec(f *testing.F) {
	f.Add([]byte(`{"name":"Intro","bars":32,"seed":12345}`))
	f.Add([]byte(`{"name":"é🎵","bars":1,"seed":0,"tempo":40,"key":"Bb","mode":"major"}`))
	for _, h := range hostile {
		if len(h.body) < 200 {
			f.Add([]byte(h.body))
		}
	}
	b := mustDefault(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		object, bad := specInput(body)
		if !json.Valid(object) || object[0] != '{' {
			t.Fatalf("the record's input is no object: %s", object)
		}
		if bad != nil {
			if bad.Status != 400 {
				t.Fatal(bad)
			}
			return
		}
		spec, refused := b.parseSpec(object)
		if refused != nil {
			if refused.Status != 422 {
				t.Fatal(refused)
			}
			return
		}
		if n := len([]rune(spec.Name)); n < 1 || n > 64 || spec.Bars < 1 || spec.Bars > 512 || spec.Seed < 0 || spec.Seed > 1<<53-1 ||
			spec.Tempo < 40 || spec.Tempo > 240 || spec.tonic() < 0 || spec.Mode != "major" && spec.Mode != "minor" {
			t.Fatalf("accepted %+v", spec)
		}
		if spec.Bars > 16 {
			return // long ones are the property test's
		}
		if _, err := b.compose(context.Background(), spec); err != nil {
			t.Fatal(err)
		}
	})
}
