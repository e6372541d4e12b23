package cli

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
)

func (a *app) canary() *cobra.Command {
	var strategy, windows string
	judge := &cobra.Command{
		Use: "judge --strategy FILE --windows FILE|-", Short: "what the judge says of measured windows", Args: cobra.NoArgs,
		Long: "Judges windows (JSON lines, oldest first) by a canary strategy, as a rollout does,\n" +
			"without a log or a target. The answer is data: the exit code is 0 whatever it says.",
		RunE: func(*cobra.Command, []string) error {
			if strategy == "" || windows == "" {
				return gov.Errorf(gov.KindInvalid, "usage", "a strategy and windows are needed").WithHint("govern canary judge --strategy FILE --windows FILE")
			}
			v, err := a.judge(strategy, windows)
			if err != nil {
				return err
			}
			return a.give(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %s\n", v.Verdict, printable(v.Reason))
				fmt.Fprintf(w, "after window %d, %s observed minutes, %d requests\n", v.AtSeq, short2(v.ObservedMinutes), v.Evidence.Requests)
			})
		},
	}
	judge.Flags().StringVar(&strategy, "strategy", "", "JSON file with a canary_strategy")
	judge.Flags().StringVar(&windows, "windows", "", "JSON lines, one window each; - is standard input")
	return group("canary", "judge measured windows", groupRollout, judge)
}

func (a *app) judge(strategy, windows string) (canary.Verdict, error) {
	b, err := a.readFile(strategy)
	if err != nil {
		return canary.Verdict{}, err
	}
	s, err := canary.ParseStrategy(b)
	if err != nil {
		return canary.Verdict{}, err
	}
	if b, err = a.readFile(windows); err != nil {
		return canary.Verdict{}, err
	}
	ws, err := canary.ParseWindows(b)
	if err != nil {
		return canary.Verdict{}, err
	}
	return canary.Judge(canary.Config{Strategy: s}, ws)
}

func (a *app) signal() *cobra.Command {
	push := &cobra.Command{
		Use: "push TARGET NAME=VALUE…", Short: "join measurements to the next windows of a target",
		Example: "  govern signal push prod satisfaction=0.97 drift=0.1 alerts=0",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			in, err := signals(args[1:])
			if err != nil {
				return err
			}
			_, s, err := a.session(ctx, "govern signal push")
			if err != nil {
				return err
			}
			defer s.Close()
			if err := s.Client().Push(ctx, args[0], in); err != nil {
				return err
			}
			return a.give(in, func(w io.Writer) { fmt.Fprintf(w, "pushed to %s: %s\n", args[0], strings.Join(args[1:], " ")) })
		},
	}
	return group("signal", "measurements from outside", groupRollout, push)
}

func signals(args []string) (client.Signals, error) {
	var in client.Signals
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		x, err := strconv.ParseFloat(value, 64)
		if !ok || err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return in, gov.Errorf(gov.KindInvalid, "signal_invalid", "%q is not NAME=NUMBER", arg).WithHint("govern signal push TARGET satisfaction=0.97 drift=0.1 alerts=0")
		}
		switch name {
		case "satisfaction":
			in.Satisfaction = &x
		case "drift":
			if x < 0 {
				return in, gov.Errorf(gov.KindInvalid, "signal_invalid", "drift is %v; it is 0 or more", x)
			}
			in.Drift = &x
		case "alerts":
			n := int64(x)
			if float64(n) != x || n < 0 {
				return in, gov.Errorf(gov.KindInvalid, "signal_invalid", "alerts is %v; it is a count", x)
			}
			in.CriticalAlerts = &n
		default:
			return in, gov.Errorf(gov.KindInvalid, "signal_unknown", "there is no signal %q to push", name).WithHint("push satisfaction, drift or alerts")
		}
	}
	return in, nil
}
