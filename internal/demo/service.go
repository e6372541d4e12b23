package demo

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// service is what the demo's policy names as deploy and undeploy: it starts and
// stops real studio servers as processes of their own.
//
//	govern demo up   ADDRESS DIGEST
//	govern demo down ADDRESS
func service(args []string) error {
	root := os.Getenv("GOVERN_DEMO")
	if root == "" || len(args) < 2 {
		return errors.New("it is run by the demo's own policy only")
	}
	address := strings.TrimPrefix(args[1], "http://")
	pid := filepath.Join(root, "run", strings.ReplaceAll(address, ":", "_")+".pid")
	if err := os.MkdirAll(filepath.Dir(pid), 0o700); err != nil {
		return err
	}
	stopPID(pid)
	if args[0] == "down" {
		return nil
	}
	if len(args) != 3 {
		return errors.New("up needs an address and a digest")
	}
	return start(root, address, args[2], pid)
}

func start(root, address, digest, pid string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	_, hex, ok := strings.Cut(digest, ":")
	if !ok {
		return fmt.Errorf("%q is no digest", digest)
	}
	name := strings.ReplaceAll(address, ":", "_")
	log, err := os.OpenFile(filepath.Join(root, "run", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(exe, "studio", "serve", "--bundle", filepath.Join(root, "artifacts", hex+".tar"), "--listen", address,
		"--audit", filepath.Join(root, "audit", name))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(pid, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return err
	}
	for range 100 {
		resp, err := http.Get("http://" + address + "/healthz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("studio on %s did not become healthy; see %s", address, log.Name())
}

// stopPID ends the process a pid file names, and waits until it is gone.
func stopPID(file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		return
	}
	defer os.Remove(file)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return
	}
	syscall.Kill(pid, syscall.SIGTERM)
	for i := range 100 {
		if gone(pid) {
			return
		}
		if i == 60 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// gone tells whether a process has ended, a zombie included.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) != nil
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	return ok && strings.HasPrefix(rest, "Z")
}
