package client

import (
	"context"
	"net/http"
	"net/url"

	"essaim/internal/vod"
)

// Rehearse opens a play session of the rehearsal that bears a label: a swarm of its own, counted apart, outside of
// members' limits. The token is an operator's; one that is missing or unknown is vod.ErrUnauthorized, one of another role
// vod.ErrForbidden.
func (c *Client) Rehearse(ctx context.Context, id vod.TitleID, token, label string) (vod.PlaySession, error) {
	return c.play(ctx, id, token, map[string]any{"rehearsal": label, "share": true})
}

// OperatorTitle is Title for who holds an operator's token, who may see those for members too.
func (c *Client) OperatorTitle(ctx context.Context, id vod.TitleID, token string) (t Title, err error) {
	err = c.call(ctx, http.MethodGet, "titles/"+url.PathEscape(string(id)), token, nil, &t)
	return t, wrap("title "+string(id), err)
}

// Traffic is what the service sent, of which a rehearsal reads its own part.
type Traffic struct {
	Rehearsals map[string]RehearsalTraffic `json:"rehearsals"` // by label
}

// RehearsalTraffic is what the service sent to one rehearsal's viewers.
type RehearsalTraffic struct {
	OriginBytes int64 `json:"origin_bytes"` // of media
}

// Traffic asks for the service's counts with an operator's token; its errors are those of Rehearse.
func (c *Client) Traffic(ctx context.Context, token string) (t Traffic, err error) {
	err = c.call(ctx, http.MethodGet, "operator/traffic", token, nil, &t)
	return t, wrap("ask for the service's traffic", err)
}
