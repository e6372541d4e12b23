package audit_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/governhq/govern/audit"
)

// An orchestrator records every invocation, the failed ones too.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	log, err := audit.Open(audit.Config{
		Dir:         filepath.Join(dir, "audit"),
		Origin:      "example.org/orchestrator",
		SecondPlace: filepath.Join(dir, "second"), // in production on another disk, or left out for the default
		Redact:      []string{"/section_spec/listener"},
	})
	if err != nil {
		panic(err)
	}
	defer log.Close()

	compose := func(bars int) error {
		spec := map[string]any{"name": "Intro", "bars": bars, "listener": "ada@example.org"}
		return log.Operation(ctx, "compose_section", spec, func(_ context.Context, op *audit.Op) error {
			op.ModulesLoaded = []audit.Module{{Name: "kick", Version: "1.0.0", InterfaceSchema: "contracts/kick.json"}}
			op.ManifestVersion, op.SeedUsed = "1.2.0", 12345
			if bars < 1 {
				return errors.New("bars must be positive")
			}
			return op.Set("notes", 8*bars)
		})
	}
	fmt.Println(compose(32))
	fmt.Println(compose(0))

	for e, err := range log.Entries(ctx, 0) {
		if err != nil {
			panic(err)
		}
		fmt.Println(e.Index, e.Record.Result, string(e.Record.SectionSpec), string(e.Record.Metadata))
	}
	// Output:
	// <nil>
	// bars must be positive
	// 0 success {"bars":32,"listener":{"$digest":"sha256:6d46a9829428f1407291d7994650f5cbd291dcb1b6bbd9460a1eb4d31393f492","$size":17},"name":"Intro"} {"notes":256}
	// 1 failure {"bars":0,"listener":{"$digest":"sha256:6d46a9829428f1407291d7994650f5cbd291dcb1b6bbd9460a1eb4d31393f492","$size":17},"name":"Intro"} {"error":{"message":"bars must be positive"}}
}
