// Command govern decides whether a change may go ahead, carries it out step by
// step, takes it back when the numbers turn bad, and proves it afterwards.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/governhq/govern/internal/wire"
)

// version is set by the linker of a release build.
var version = "0.1.0-dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := wire.Main(ctx, version, os.Args[1:])
	stop()
	os.Exit(code)
}
