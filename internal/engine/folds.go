package engine

import (
	"context"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/governhq/govern/internal/gov"
	"github.com/governhq/govern/internal/rule/canary"
	"github.com/governhq/govern/internal/rule/change"
	"github.com/governhq/govern/internal/view"
)

// folds tells views how each kind of stream folds.
func folds() []view.Fold { return foldTable }

var foldTable = []view.Fold{
	{Prefix: "change/", Apply: foldChange, Index: indexChange},
	{Prefix: "target/", Apply: foldTarget, Index: indexTarget},
	{Prefix: string(gov.StreamPolicy), Apply: last},
	{Prefix: string(gov.StreamPeople), Apply: last},
}

func foldChange(state []byte, ev view.Event) ([]byte, error) {
	var st change.State
	if state != nil {
		if err := json.Unmarshal(state, &st); err != nil {
			return nil, err
		}
	}
	st, err := change.Apply(st, ev.Event)
	if err != nil {
		return nil, err
	}
	// A statement learns the index of its record from the log: when it was
	// decided, another record may still have come first.
	if n := len(st.Statements); ev.Type == change.EventRecorded && n > 0 {
		st.Statements[n-1].Index = ev.Index
	}
	return json.Marshal(st)
}

func indexChange(stream gov.Stream, state []byte) (view.Subject, error) {
	var st change.State
	if err := json.Unmarshal(state, &st); err != nil {
		return view.Subject{}, err
	}
	return view.Subject{
		Kind: "change", ID: string(st.ID), Number: st.ID.Number(), Owner: st.Owner,
		State: string(st.Status), Digest: string(st.Revision.Change), WakeMS: millis(st.NextReview()),
	}, nil
}

func foldTarget(state []byte, ev view.Event) ([]byte, error) {
	st := canary.State{Target: strings.TrimPrefix(string(ev.Stream), "target/")}
	if state != nil {
		if err := json.Unmarshal(state, &st); err != nil {
			return nil, err
		}
	}
	return json.Marshal(canary.Apply(st, ev.Event))
}

func indexTarget(stream gov.Stream, state []byte) (view.Subject, error) {
	var st canary.State
	if err := json.Unmarshal(state, &st); err != nil {
		return view.Subject{}, err
	}
	s := view.Subject{Kind: "target", ID: st.Target, State: "idle"}
	if st.Stable != nil {
		s.Digest = string(st.Stable.Artifact.Digest)
	}
	if st.Run != nil {
		s.State, s.Owner = string(st.Run.Phase), string(st.Run.Change)
		s.WakeMS = millis(st.Run.Deadline)
		if r := st.Run.Retry; r != nil {
			s.WakeMS = millis(r.At)
		}
	}
	return s, nil
}

// last keeps the newest event's data.
func last(_ []byte, ev view.Event) ([]byte, error) { return ev.Data, nil }

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func hasPrefix(s gov.Stream, prefix string) bool { return strings.HasPrefix(string(s), prefix) }

func viewEvent(ev gov.Event, t *tx) view.Event {
	return view.Event{Event: ev, Time: t.now, Index: t.e.Reader().Size()}
}

func changeQuery(status string) view.Query {
	return view.Query{Kind: "change", State: status, Limit: 1 << 20}
}

func mapKeys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }

func sorted(m map[string]rolloutFacts) []rolloutFacts {
	out := make([]rolloutFacts, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// overdueReviews names the reviews that are overdue in any change.
func (e *Engine) overdueReviews(ctx context.Context, t *tx) ([]string, error) {
	due, err := e.view.Due(ctx, t.now)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range due {
		if !hasPrefix(s, "change/") {
			continue
		}
		st, err := t.change(ctx, gov.ChangeID(strings.TrimPrefix(string(s), "change/")))
		if err != nil {
			return nil, err
		}
		for _, r := range st.Overdue(t.now) {
			out = append(out, string(st.ID)+" "+r.Reason+" "+r.Subject.Short())
		}
	}
	return out, nil
}

func targetQuery() view.Query { return view.Query{Kind: "target"} }

func sortedInts(set map[int]bool) []int {
	return slices.Sorted(maps.Keys(set))
}
