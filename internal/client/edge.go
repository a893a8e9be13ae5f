package client

import (
	"context"
	"net/http"

	"essaim/internal/vod"
)

// JoinEdge shows a one-time token and a certificate request (PKCS #10, DER), and returns what the service makes of the edge. url is
// where browsers will reach it, empty for nowhere. vod.ErrNotFound: the token was used, has expired, or never was.
func (c *Client) JoinEdge(ctx context.Context, token string, request []byte, url string) (id vod.EdgeIdentity, err error) {
	in := map[string]any{"token": token, "request": request}
	if url != "" {
		in["url"] = url
	}
	err = c.call(ctx, http.MethodPost, "edges/join", "", in, &id)
	return id, wrap("join", err)
}
