package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/governhq/govern/internal/gov"
)

// MaxJump is how far the clock may run away from the machine's own uptime, or
// behind the last record, before appends are refused.
const MaxJump = 5 * time.Minute

// Clock gives the wall time, and the time since boot (suspend included) that no
// person sets. Boot names the boot that Uptime counts from; "" means that the
// machine cannot tell, and then only running backwards is noticed.
type Clock interface {
	Now() time.Time
	Uptime() time.Duration
	Boot() string
}

// SystemClock is the machine's clock.
type SystemClock struct{}

// Now is the wall time in UTC, to the millisecond that records keep.
func (SystemClock) Now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// Uptime is CLOCK_BOOTTIME.
func (SystemClock) Uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// Boot is the kernel's boot id.
func (SystemClock) Boot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(b))
}

// mark is what is kept of the clock beside the log: wall and uptime at the same
// moment. It is a hint from outside the log; when it is missing, the last
// record's time still bounds the clock from below.
type mark struct {
	Wall   time.Time     `json:"wall"`
	Uptime time.Duration `json:"uptime_ns"`
	Boot   string        `json:"boot"`
}

// timekeeper hands out times that never run backwards and notices jumps.
type timekeeper struct {
	clock Clock
	path  string // of the mark, "" keeps none

	mu    sync.Mutex
	floor time.Time // newest time handed out or recorded
	size  uint64    // of the log when floor was last taken from it
	mark  mark
}

func newTimekeeper(clock Clock, dir string, lastRecord time.Time) *timekeeper {
	k := &timekeeper{clock: clock, floor: lastRecord}
	if dir == "" {
		return k
	}
	k.path = filepath.Join(dir, "clock.mark")
	k.load()
	return k
}

// load reads the mark. An unreadable mark is no mark: the last record still
// bounds the clock.
func (k *timekeeper) load() {
	b, err := os.ReadFile(k.path)
	if err != nil {
		return
	}
	var m mark
	if json.Unmarshal(b, &m) != nil {
		m = mark{}
	}
	k.mark = m
}

// follow takes over what other processes have recorded since: the log has grown
// to size, and its last record is of last. That may be earlier than what was
// handed out here, when a person has accepted a clock that was set back.
func (k *timekeeper) follow(last time.Time, size uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if size == k.size {
		return
	}
	k.size, k.floor = size, last
	if k.path != "" {
		k.load()
	}
}

// followed tells whether the log had this size when the clock last looked.
func (k *timekeeper) followed(size uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return size == k.size
}

// now gives the time of a decision. A wall clock slightly behind the newest
// record gives that record's time; one that jumped gives clock_jumped, and the
// time that the uptime says it is: what is taken back is recorded under that.
func (k *timekeeper) now() (time.Time, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	wall := k.clock.Now()
	if err := k.check(wall); err != nil {
		return k.estimate(), err
	}
	if wall.After(k.floor) {
		k.floor = wall
	}
	return k.floor, nil
}

// check tells whether the wall clock jumped.
func (k *timekeeper) check(wall time.Time) error {
	if d := k.floor.Sub(wall); d > MaxJump {
		return jumped("the clock stands %s before the last record (%s)", d.Round(time.Second), k.floor.Format(time.RFC3339))
	}
	if d := k.drift(wall); d > MaxJump || d < -MaxJump {
		return jumped("the clock moved by %s against the machine's uptime since %s", d.Round(time.Second), k.mark.Wall.Format(time.RFC3339))
	}
	return nil
}

// estimate is the time without the wall clock: the mark's and the uptime since,
// never before the floor.
func (k *timekeeper) estimate() time.Time {
	if k.mark.Boot == "" || k.mark.Boot != k.clock.Boot() {
		return k.floor
	}
	if t := k.mark.Wall.Add((k.clock.Uptime() - k.mark.Uptime).Truncate(time.Millisecond)); t.After(k.floor) {
		return t
	}
	return k.floor
}

// drift is how much further the wall clock went than the uptime since the mark.
func (k *timekeeper) drift(wall time.Time) time.Duration {
	if k.mark.Boot == "" || k.mark.Boot != k.clock.Boot() {
		return 0
	}
	return wall.Sub(k.mark.Wall) - (k.clock.Uptime() - k.mark.Uptime)
}

// keep persists the mark; it is called after a record is durable. A mark that
// cannot be written loses the forward check for the next process, not a record.
func (k *timekeeper) keep(recorded time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if recorded.After(k.floor) {
		k.floor = recorded
	}
	next := mark{Wall: k.clock.Now(), Uptime: k.clock.Uptime(), Boot: k.clock.Boot()}
	if k.check(next.Wall) != nil {
		return nil // what was taken back under a clock that jumped does not make it right
	}
	if k.mark.Boot == next.Boot && next.Uptime-k.mark.Uptime < time.Second && k.mark.Boot != "" {
		return nil
	}
	k.mark = next
	return k.save()
}

// save writes the mark.
func (k *timekeeper) save() error {
	if k.path == "" {
		return nil
	}
	b, err := json.Marshal(k.mark)
	if err != nil {
		return err
	}
	return writeFile(k.path, b, 0o600, false)
}

// accept takes the present wall time as right, back or forth: a person has
// signed for it. done, called with whether that is durable in the log, keeps
// the mark or takes it all back.
func (k *timekeeper) accept() (wall time.Time, done func(durable bool) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	oldMark, oldFloor := k.mark, k.floor
	k.mark = mark{Wall: k.clock.Now(), Uptime: k.clock.Uptime(), Boot: k.clock.Boot()}
	k.floor = k.mark.Wall
	return k.floor, func(durable bool) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if durable {
			return k.save()
		}
		k.mark, k.floor = oldMark, oldFloor
		return nil
	}
}

func jumped(format string, args ...any) error {
	return gov.Errorf(gov.KindConflict, "clock_jumped", format+"; nothing but taking back is recorded until a person accepts the clock", args...).
		WithHint("govern clock accept -m REASON")
}

// writeFile replaces path by a rename, so that a reader sees the old or the new
// content. With durable set it syncs the file and its directory.
func writeFile(path string, b []byte, perm fs.FileMode, durable bool) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Chmod(perm)
	}
	if err == nil && durable {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil || !durable {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
