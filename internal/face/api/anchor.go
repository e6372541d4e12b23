package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/governhq/govern/client"
	"github.com/governhq/govern/internal/engine"
	"github.com/governhq/govern/internal/gov"
)

func (s *server) anchors(a huma.API) {
	op(a, http.MethodPost, "/v1/anchor", "anchor", "Tie an audit log's checkpoint into the log", s.anchor)
	op(a, http.MethodGet, "/v1/anchor", "get-anchor", "The newest anchor of an audit log", s.anchored)
}

func (s *server) anchor(ctx context.Context, p gov.Principal, in *struct{ Body client.AnchorRequest }) (*answer[client.Anchor], error) {
	a, r, err := s.e.Anchor(ctx, engine.AnchorRequest{
		CommandID: in.Body.CommandID, Actor: p, Key: in.Body.Key, Note: []byte(in.Body.Note), Proof: in.Body.Proof,
	})
	if err != nil {
		return nil, err
	}
	out := anchorOf(a)
	receipt := client.Receipt(r)
	out.Receipt = &receipt
	return &answer[client.Anchor]{out}, nil
}

func (s *server) anchored(ctx context.Context, _ gov.Principal, in *struct {
	Origin string `query:"origin" required:"true"`
},
) (*answer[client.Anchor], error) {
	a, err := s.e.Anchored(ctx, in.Origin)
	return &answer[client.Anchor]{anchorOf(a)}, err
}

func anchorOf(a engine.Anchored) client.Anchor {
	return client.Anchor{Origin: a.Origin, Size: a.Size, Root: a.Root, Key: a.Key, Note: a.Note}
}
