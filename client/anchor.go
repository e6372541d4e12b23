package client

import (
	"context"
	"net/url"
)

// AnchorRequest ties an audit log's checkpoint into the governance log.
type AnchorRequest struct {
	CommandID string   `json:"command_id,omitempty"`
	Key       string   `json:"key"`             // verifier key, c2sp.org/signed-note
	Note      string   `json:"note"`            // the signed checkpoint
	Proof     []string `json:"proof,omitempty"` // base64 hashes from the anchored size on
}

// Anchor is the newest anchored checkpoint of an audit log. Receipt is there in
// the answer to a request; its Recorded is false when nothing is new.
type Anchor struct {
	Origin  string   `json:"origin"`
	Size    uint64   `json:"size"`
	Root    string   `json:"root"` // base64
	Key     string   `json:"key"`
	Note    string   `json:"note"`
	Receipt *Receipt `json:"receipt,omitempty"`
}

// Anchor records a checkpoint. One that is smaller than, or does not continue,
// the anchored one is refused.
func (c *Client) Anchor(ctx context.Context, in AnchorRequest) (Anchor, error) {
	return post[Anchor](ctx, c, "/v1/anchor", in)
}

// Anchored reads the newest anchor of an audit log; not_found when there is none.
func (c *Client) Anchored(ctx context.Context, origin string) (Anchor, error) {
	return get[Anchor](ctx, c, "/v1/anchor", url.Values{"origin": {origin}})
}
