package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/governhq/govern/internal/gov"
)

// Client makes typed calls. Base is the server's URL without a trailing slash;
// for in-process and socket transports any host will do.
type Client struct {
	Base  string
	HTTP  *http.Client
	Token string // bearer token, "" sends none
}

// New makes a client on a transport.
func New(base string, rt http.RoundTripper) *Client {
	return &Client{Base: base, HTTP: &http.Client{
		Transport:     rt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

const answerLimit = 64 << 20

func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	contentType := ""
	switch v := in.(type) {
	case nil:
	case []byte:
		body, contentType = bytes.NewReader(v), "application/octet-stream"
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		body, contentType = bytes.NewReader(b), "application/json"
	}
	u := c.Base + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return unreachable(ctx, c.Base, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return unreachable(ctx, c.Base, err)
	}
	if resp.StatusCode >= 300 {
		return problem(resp, b)
	}
	switch v := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*v = b
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return gov.Errorf(gov.KindUnavailable, "answer_unreadable", "the answer of %s to %s %s cannot be read: %w", c.Base, method, path, err).
			WithHint("govern version, here and on the server")
	}
	return nil
}

func unreachable(ctx context.Context, base string, err error) error {
	if ctx.Err() != nil {
		return gov.Errorf(gov.KindTimeout, "canceled", "the call ended before the server answered: %w", context.Cause(ctx))
	}
	// An error that an in-process transport passes through is the answer itself.
	if e, ok := errors.AsType[*gov.Error](err); ok {
		return e
	}
	return gov.Errorf(gov.KindUnavailable, "server_unreachable", "%s does not answer: %w", base, err).WithHint("govern doctor")
}

// Problem is an RFC 9457 problem with govern's members.
type Problem struct {
	Type   string   `json:"type,omitempty"`
	Title  string   `json:"title,omitempty"`
	Status int      `json:"status"`
	Detail string   `json:"detail,omitempty"`
	Kind   gov.Kind `json:"kind,omitempty"`
	Code   string   `json:"code,omitempty"`
	Hint   string   `json:"hint,omitempty"`
}

func problem(resp *http.Response, b []byte) error {
	var p Problem
	if json.Unmarshal(b, &p) != nil || p.Code == "" {
		kind := gov.KindUnavailable
		if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
			kind = gov.KindDenied
		}
		return gov.Errorf(kind, "server_answer", "the server answered %s", resp.Status).WithHint("govern doctor")
	}
	return &gov.Error{Kind: p.Kind, Code: p.Code, Message: p.Detail, Hint: p.Hint}
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	err := c.call(ctx, http.MethodGet, path, query, nil, &out)
	return out, err
}

func post[T any](ctx context.Context, c *Client, path string, in any) (T, error) {
	var out T
	err := c.call(ctx, http.MethodPost, path, nil, in, &out)
	return out, err
}

func seg(s string) string { return url.PathEscape(s) }

// Status sums up the log.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Changes lists changes by status, "" all.
func (c *Client) Changes(ctx context.Context, status string) (ChangeList, error) {
	return get[ChangeList](ctx, c, "/v1/changes", url.Values{"status": {status}})
}

// Change reads a change with its verdict and screen for a viewer.
func (c *Client) Change(ctx context.Context, id ChangeID, viewer string) (Change, error) {
	return get[Change](ctx, c, "/v1/changes/"+seg(string(id)), url.Values{"viewer": {viewer}})
}

// Sync takes a change in.
func (c *Client) Sync(ctx context.Context, in SyncRequest) (Change, error) {
	return post[Change](ctx, c, "/v1/changes/"+seg(string(in.Change))+"/sync", in)
}

// History lists the events of a change.
func (c *Client) History(ctx context.Context, id ChangeID) (EventList, error) {
	return get[EventList](ctx, c, "/v1/changes/"+seg(string(id))+"/events", nil)
}

// Metadata gives the specification's file with the approvals that count.
func (c *Client) Metadata(ctx context.Context, id ChangeID) ([]byte, error) {
	var out []byte
	err := c.call(ctx, http.MethodGet, "/v1/changes/"+seg(string(id))+"/metadata", nil, nil, &out)
	return out, err
}

// Document gives the governance document.
func (c *Client) Document(ctx context.Context, id ChangeID) (Document, error) {
	return get[Document](ctx, c, "/v1/changes/"+seg(string(id))+"/document", nil)
}

// Withdraw closes an open change in the name of a handle, which only a caller on
// the log's own machine may choose.
func (c *Client) Withdraw(ctx context.Context, id ChangeID, as string) (Receipt, error) {
	var out Receipt
	err := c.call(ctx, http.MethodPost, "/v1/changes/"+seg(string(id))+"/withdraw", url.Values{"viewer": {as}}, struct{}{}, &out)
	return out, err
}

// Wait answers when the change is in state (an answer of the verdict, a stage,
// or a status), or with a timeout error.
func (c *Client) Wait(ctx context.Context, id ChangeID, state string, timeout time.Duration) (Change, error) {
	return get[Change](ctx, c, "/v1/changes/"+seg(string(id))+"/wait", url.Values{
		"for": {state}, "timeout_ms": {strconv.FormatInt(timeout.Milliseconds(), 10)},
	})
}

// TakeStatement hands a signed envelope over.
func (c *Client) TakeStatement(ctx context.Context, envelope []byte) (StatementAnswer, error) {
	return post[StatementAnswer](ctx, c, "/v1/statements", envelope)
}

// Statement reads a signed envelope.
func (c *Client) Statement(ctx context.Context, d Digest) ([]byte, error) {
	var out []byte
	err := c.call(ctx, http.MethodGet, "/v1/statements/"+seg(string(d)), nil, nil, &out)
	return out, err
}

// Gate asks whether a push may land.
func (c *Client) Gate(ctx context.Context, in GateRequest) (GateAnswer, error) {
	return post[GateAnswer](ctx, c, "/v1/gate", in)
}

// Admit asks whether an artifact may take traffic on a target.
func (c *Client) Admit(ctx context.Context, artifact Digest, target string) (GateAnswer, error) {
	return get[GateAnswer](ctx, c, "/v1/admission", url.Values{"artifact": {string(artifact)}, "target": {target}})
}

// Merged tells that a governed ref has moved.
func (c *Client) Merged(ctx context.Context, in MergedRequest) (Receipt, error) {
	return post[Receipt](ctx, c, "/v1/merged", in)
}

// Inbox lists what waits for a person, "" for everybody.
func (c *Client) Inbox(ctx context.Context, handle string) (Inbox, error) {
	return get[Inbox](ctx, c, "/v1/inbox", url.Values{"handle": {handle}})
}

// Targets lists rollout targets; Target reads one.
func (c *Client) Targets(ctx context.Context) (TargetList, error) {
	return get[TargetList](ctx, c, "/v1/targets", nil)
}

// Target reads a target.
func (c *Client) Target(ctx context.Context, name string) (Target, error) {
	return get[Target](ctx, c, "/v1/targets/"+seg(name), nil)
}

// TargetHistory lists the events of a target.
func (c *Client) TargetHistory(ctx context.Context, name string) (EventList, error) {
	return get[EventList](ctx, c, "/v1/targets/"+seg(name)+"/events", nil)
}

// StartRollout begins or queues a rollout.
func (c *Client) StartRollout(ctx context.Context, in RolloutRequest) (Change, error) {
	return post[Change](ctx, c, "/v1/rollouts", in)
}

// Rollout gives a command to a target: pause, resume, abort or rollback.
func (c *Client) Rollout(ctx context.Context, target, command string, in RolloutCommand) (Receipt, error) {
	return post[Receipt](ctx, c, "/v1/targets/"+seg(target)+"/"+seg(command), in)
}

// Push joins measurements to the next windows of a target.
func (c *Client) Push(ctx context.Context, target string, in Signals) error {
	return c.call(ctx, http.MethodPost, "/v1/targets/"+seg(target)+"/signals", nil, in, nil)
}

// AcceptClock hands over the signed statement that the clock is right.
func (c *Client) AcceptClock(ctx context.Context, envelope []byte) (Receipt, error) {
	return post[Receipt](ctx, c, "/v1/clock/accept", envelope)
}

// CheckLog checks every promise of the log; CheckDecisions runs every decision
// again.
func (c *Client) CheckLog(ctx context.Context) (Check, error) {
	return get[Check](ctx, c, "/v1/verify/log", nil)
}

// CheckDecisions runs every recorded decision again.
func (c *Client) CheckDecisions(ctx context.Context) (Check, error) {
	return get[Check](ctx, c, "/v1/verify/decisions", nil)
}

// Events lists the newest n events of all streams, newest first.
func (c *Client) Events(ctx context.Context, n int) (EventList, error) {
	return get[EventList](ctx, c, fmt.Sprintf("/v1/events?limit=%d", n), nil)
}

// RebuildViews throws the views away and builds them again from the log.
func (c *Client) RebuildViews(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/views/rebuild", nil, struct{}{}, nil)
}
