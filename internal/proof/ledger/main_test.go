package ledger

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain also is the child process of the kill test.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LEDGER_TORTURE_DIR"); dir != "" {
		if err := tortureChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, "torture child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if !full {
		flag.Set("rapid.checks", "15")
	}
	os.Exit(m.Run())
}
