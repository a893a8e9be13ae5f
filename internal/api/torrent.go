package api

import (
	"context"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"essaim/internal/bt/metainfo"
	"essaim/internal/vod"
)

// Where others find an open title, below this service's address: the paths of what cmd mounts.
const (
	announcePath = "/announce" // BEP 3
	trackerPath  = "/tracker"  // WebTorrent's
	seedPath     = "/seed/"    // BEP 19; a version and a slash follow
)

type torrentOutput struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	AllowOrigin string `header:"Access-Control-Allow-Origin"`
	Resource    string `header:"Cross-Origin-Resource-Policy"`
	Body        []byte `contentType:"application/x-bittorrent"`
}

// registerTorrents adds what only open titles have. Of all others there is nothing, for members as for strangers: no swarm
// that a client without a ticket could join.
func (s *Server) registerTorrents() {
	get := op("get-torrent", "GET", "/api/v1/titles/{id}/torrent", "An open title's torrent (BEP 3, BEP 52)", 200)
	get.Responses = map[string]*huma.Response{"200": {
		Description: "The metainfo file", Content: map[string]*huma.MediaType{"application/x-bittorrent": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}}
	register(s, get,
		func(ctx context.Context, in *titleInput) (*torrentOutput, error) {
			v, err := s.viewer(ctx)
			if err != nil {
				return nil, err
			}
			t, err := s.c.Titles.Get(ctx, vod.TitleID(in.ID))
			if err != nil {
				return nil, err
			}
			if !t.Open || !v.view.Limit.Admits(t.About.Age) {
				return nil, fmt.Errorf("%w: %s is not open, or not to be seen", vod.ErrNotFound, t.ID)
			}
			torrent, err := s.c.Titles.Torrent(ctx, t.ID)
			if err != nil {
				return nil, err
			}
			if torrent, err = metainfo.Readdress(torrent, addressesOf(ctx, &t)); err != nil {
				return nil, fmt.Errorf("torrent of %s: %w", t.ID, err)
			}
			return &torrentOutput{
				ContentType: "application/x-bittorrent", Disposition: `attachment; filename="` + string(t.ID) + `.torrent"`,
				AllowOrigin: "*", Resource: "cross-origin", // pages with a WebTorrent of their own may read it
				Body: torrent,
			}, nil
		})
}

func torrentPath(t *vod.Title) string { return "/api/v1/titles/" + string(t.ID) + "/torrent" }

// addressesOf are this service's addresses for an open title, by the name under which the visitor reached it; none where
// that name is malformed.
func addressesOf(ctx context.Context, t *vod.Title) metainfo.Addresses {
	v := visitorOf(ctx)
	if v.host == "" {
		return metainfo.Addresses{}
	}
	s := ""
	if v.secure {
		s = "s"
	}
	return metainfo.Addresses{
		Trackers: []string{"http" + s + "://" + v.host + announcePath, "ws" + s + "://" + v.host + trackerPath},
		WebSeeds: []string{"http" + s + "://" + v.host + seedPath + t.Version.ID + "/"},
	}
}

func magnetOf(ctx context.Context, t *vod.Title) string {
	v, source := visitorOf(ctx), ""
	if v.host != "" {
		source = "http://" + v.host + torrentPath(t)
		if v.secure {
			source = "https://" + v.host + torrentPath(t)
		}
	}
	return metainfo.Magnet(t.Version.InfoHashV1, t.Version.InfoHashV2, t.Name, source, addressesOf(ctx, t))
}
