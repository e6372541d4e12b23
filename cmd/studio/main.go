// Command studio is the reference system that govern governs; package
// studio/cli is the program.
package main

import (
	"context"
	"os"

	"github.com/governhq/govern/studio/cli"
)

func main() { os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
