package watch

import (
	"context"
	"fmt"
	"net"

	"essaim/internal/bt"
	"essaim/internal/bt/metainfo"
	"essaim/internal/client"
	"essaim/internal/engine"
	"essaim/internal/host/native"
	"essaim/internal/vod"
)

// peers is where BitTorrent clients reach the viewer over TCP; nil where they do not.
type peers struct {
	ln     net.Listener
	cancel context.CancelFunc
	ended  chan error // nil until serve
}

// listenFor opens the port, if the viewer shares and the title is open to such clients.
func listenFor(o *Options, s *vod.PlaySession) (*peers, error) {
	if o.Listen == "" || len(s.Nodes.Announce) == 0 || !s.Policy.P2P || !s.Policy.Upload {
		return nil, nil
	}
	ln, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for peers: %w", err)
	}
	return &peers{ln: ln}, nil
}

// infoOf is an open title's info dictionary, with which pieces are held against the v1 hashes of those peers too, and which they may ask
// for; nil where it cannot be had. A torrent that is unsound, or another's, is refused.
func infoOf(ctx context.Context, c *client.Client, id vod.TitleID, t *engine.Title) ([]byte, error) {
	b, err := c.Torrent(ctx, id)
	if err != nil {
		return nil, ctx.Err() // a viewer does without
	}
	torrent, err := metainfo.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("torrent of %s: %w", id, err)
	}
	if torrent.InfoHash != t.InfoHash || torrent.InfoHashV2.Truncated() != t.InfoHashV2 {
		return nil, fmt.Errorf("torrent of %s: it is another version's; try again", id)
	}
	return torrent.Info, nil
}

// port is the port's number; 0 for none.
func (p *peers) port() uint16 {
	if p == nil {
		return 0
	}
	return uint16(p.ln.Addr().(*net.TCPAddr).Port)
}

// serve gives who comes to the host, until close.
func (p *peers) serve(ctx context.Context, h *native.Host, t *engine.Title) {
	if p == nil {
		return
	}
	ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.ended = make(chan error, 1)
	l := native.NewListener(native.ListenerConfig{Find: func(_ context.Context, x bt.InfoHash) *native.Host {
		if x == t.InfoHash || x == t.InfoHashV2 {
			return h
		}
		return nil
	}})
	go func() { p.ended <- l.Serve(ctx, p.ln) }()
}

// close closes the port and all connections to it.
func (p *peers) close() error {
	if p == nil {
		return nil
	}
	if p.ended == nil {
		return p.ln.Close()
	}
	p.cancel()
	return <-p.ended
}
