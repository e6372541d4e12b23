package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The test binary is also the server and the child that Python talks to.
const roleEnv = "GOVERN_AUDIT_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := play(role, os.Getenv("GOVERN_AUDIT_TEST_DIR")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func play(role, dir string) error {
	l, err := Open(Config{Dir: filepath.Join(dir, "log"), Origin: "test.example/audit", SecondPlace: filepath.Join(dir, "second")})
	if err != nil {
		return err
	}
	if role == "follow" {
		return join(Follow(context.Background(), os.Stdin, os.Stdout, l), l.Close())
	}
	ln, err := Listen(filepath.Join(dir, "s"))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return Serve(context.Background(), ln, l)
}

// python runs a script with the SDK on its path.
func python(t *testing.T, ctx context.Context, dir, script string, args ...string) *exec.Cmd {
	t.Helper()
	bin, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	sdk, err := filepath.Abs("../sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, bin, append([]string{"-c", script}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+sdk, "PYTHONDONTWRITEBYTECODE=1", "GOVERN_AUDIT_SOCKET="+filepath.Join(dir, "s"), "GOVERN_AUDIT_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func startServer(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"=serve", "GOVERN_AUDIT_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("server: %q, %v", line, err)
	}
	return cmd
}

const writer = `
import sys, govern_audit as audit
who, count = sys.argv[1], int(sys.argv[2])
client = audit.Client(timeout=60)
for i in range(count):
    name = "%s/%d" % (who, i)
    try:
        with client.operation("compose_section", section_spec={"name": name}) as op:
            op.modules_loaded = [{"name": "kick", "version": "1.0.0", "interface_schema": "contracts/kick.json"}]
            op.manifest_version, op.seed_used = "1.2.0", i
            if i % 5 == 4:
                raise RuntimeError("every fifth one fails")
    except RuntimeError:
        pass
    print(op.index, name, flush=True)
`

// Eight Python processes write through the socket while the server is killed
// with -9 and started again: what was acknowledged is there, at its index.
func TestPythonSurvivesKills(t *testing.T) {
	const processes = 8
	each, kills := 25, 4
	if os.Getenv("GOVERN_TEST_FULL") == "1" {
		each, kills = 400, 40
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	dir := shortDir(t)
	server := startServer(t, dir)
	acks := make(chan string)
	var wg sync.WaitGroup
	for p := range processes {
		cmd := python(t, ctx, dir, writer, fmt.Sprint(p), fmt.Sprint(each))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for scan := bufio.NewScanner(out); scan.Scan(); {
				acks <- scan.Text()
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("python process %d: %v", p, err)
			}
		})
	}
	go func() {
		wg.Wait()
		close(acks)
	}()
	acknowledged := map[uint64]string{}
	between := processes * each / (kills + 1)
	next := r.IntN(between) + 1
	for ack := range acks {
		var index uint64
		var name string
		if _, err := fmt.Sscan(ack, &index, &name); err != nil {
			t.Fatalf("%q: %v", ack, err)
		}
		if other, twice := acknowledged[index]; twice {
			t.Errorf("index %d was given to %s and %s", index, other, name)
		}
		acknowledged[index] = name
		if len(acknowledged) == next && kills > 0 {
			kills--
			next += r.IntN(between) + 1
			_ = server.Process.Kill()
			_ = server.Wait()
			server = startServer(t, dir)
		}
	}
	_ = server.Process.Kill()
	_ = server.Wait()
	if len(acknowledged) != processes*each {
		t.Errorf("%d of %d were acknowledged", len(acknowledged), processes*each)
	}
	checkAcknowledged(t, filepath.Join(dir, "log"), acknowledged)
	l, err := Open(Config{Dir: filepath.Join(dir, "log"), Origin: "test.example/audit", SecondPlace: filepath.Join(dir, "second")})
	if err != nil {
		t.Fatalf("the log does not open any more: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// checkAcknowledged reads the file itself.
func checkAcknowledged(t *testing.T, dir string, acknowledged map[uint64]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.SplitAfter(string(text), "\n")
	for index, name := range acknowledged {
		var line struct {
			Spec   struct{ Name string } `json:"section_spec"`
			Seed   int64                 `json:"seed_used"`
			Result string
		}
		if index >= uint64(len(all)) || json.Unmarshal([]byte(all[index]), &line) != nil || line.Spec.Name != name {
			t.Errorf("record %d was acknowledged to %s and is %+v", index, name, line)
			continue
		}
		if want := map[bool]string{true: "failure", false: "success"}[line.Seed%5 == 4]; line.Result != want {
			t.Errorf("record %d has the result %s", index, line.Result)
		}
	}
}

const sdkCases = `
import os, sys, threading, govern_audit as audit
command = [sys.argv[1]]
os.environ["` + roleEnv + `"] = "follow"
lost = []

with audit.Client(command=command) as client:
    # threads share a client
    def work():
        for _ in range(10):
            with client.operation("mix", section_spec={"a": "é\u2028"}):
                pass
    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]

    # the body's exception goes on, and its record says failure
    try:
        with client.operation("mix", section_spec={}) as op:
            raise KeyError("x\x00\ud800" + "y" * 5000)
    except KeyError:
        assert op.index == 40, op.index
    else:
        raise SystemExit("the exception was swallowed")

    # what the log refuses fails the operation
    for spec, code in (([1], "audit_record_invalid"), ({"a": float("nan")}, "audit_record_invalid"), ({"a": "\ud800"}, "audit_record_invalid")):
        try:
            with client.operation("mix", section_spec=spec):
                pass
        except audit.AuditError as err:
            assert err.code == code or err.code.startswith("json_"), err
        else:
            raise SystemExit("a refused record passed")

    # both fail: the body's exception wins
    try:
        with client.operation("mix", section_spec=[1]):
            raise KeyError("own")
    except KeyError:
        pass

    # a child that died is replaced
    client._link._child.kill()
    client._link._child.wait()
    with client.operation("mix", section_spec={}) as op:
        pass
    assert op.index == 41, op.index

# no log at all
for kw in ({"command": ["/nonexistent/govern"]}, {"socket": "/nonexistent/socket", "timeout": 0.05}):
    try:
        with audit.Client(**kw).operation("mix", section_spec={}):
            pass
    except audit.AuditError as err:
        assert err.code == "audit_unavailable", err
    else:
        raise SystemExit("an operation passed without a log")

# the explicit way to go on
client = audit.Client(command=["/nonexistent/govern"], on_lost=lambda record, err: lost.append(record))
with client.operation("mix", section_spec={}) as op:
    pass
assert op.index is None and len(lost) == 1 and lost[0]["result"] == "success"
print("done")
`

func TestPythonSDK(t *testing.T) {
	dir := shortDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := python(t, ctx, dir, sdkCases, os.Args[0]).Output()
	if err != nil || string(out) != "done\n" {
		t.Fatalf("%s: %v", out, err)
	}
	all := lines(t, filepath.Join(dir, "log"))
	if len(all) != 42 {
		t.Errorf("%d records", len(all))
	}
	failed, err := ParseRecord([]byte(all[40]))
	if err != nil || failed.Result != Failure || !strings.Contains(string(failed.Metadata), `"type":"KeyError"`) || len(failed.Metadata) > 1300 {
		t.Errorf("%+v, %v", failed, err)
	}
}
