package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// seeding are serve's settings for BitTorrent clients over TCP, which find open titles there and no others.
type seeding struct {
	BitTorrent       string `name:"bittorrent" default:":6881" env:"ESSAIM_BITTORRENT" placeholder:"ADDRESS:PORT" help:"Where BitTorrent clients find open titles over TCP (${default}, at --listen's address where none is given). If the port is taken, the next free one; off is nowhere."`
	BitTorrentPublic string `name:"bittorrent-public" env:"ESSAIM_BITTORRENT_PUBLIC" placeholder:"IP[:PORT]" help:"The address that BitTorrent clients are told, where it is not the one at which they reach the service."`
}

// seedOff is the setting that seeds nothing.
const seedOff = "off"

// Validate says what is wrong with the settings, if anything is.
func (c *seeding) Validate() error {
	if _, err := c.address("127.0.0.1:0"); err != nil {
		return err
	}
	_, err := c.public()
	return err
}

// address is where peers are listened for, beside the service's own address; empty for nowhere.
func (c *seeding) address(service string) (string, error) {
	if c.BitTorrent == seedOff || c.BitTorrent == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(c.BitTorrent)
	if err != nil {
		return "", fmt.Errorf("--bittorrent %q: want ADDRESS:PORT, :PORT or %s", c.BitTorrent, seedOff)
	}
	if host == "" {
		if host, _, err = net.SplitHostPort(service); err != nil {
			return "", fmt.Errorf("listen on %q: want ADDRESS:PORT, for instance 127.0.0.1:8080", service)
		}
	}
	return net.JoinHostPort(host, port), nil
}

// public is what clients are told; unset parts are found out.
func (c *seeding) public() (netip.AddrPort, error) {
	if c.BitTorrentPublic == "" {
		return netip.AddrPort{}, nil
	}
	if ip, err := netip.ParseAddr(c.BitTorrentPublic); err == nil {
		return netip.AddrPortFrom(ip, 0), nil
	}
	ap, err := netip.ParseAddrPort(c.BitTorrentPublic)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("--bittorrent-public %q: want an IP address, with or without a port", c.BitTorrentPublic)
	}
	return ap, nil
}

// start begins to seed s's open titles, if it is to, until ctx ends or stop is called, which returns when all has ended. A fault
// on the way does not end the service.
func (c *seeding) start(ctx context.Context, service string, s *node) (stop func(), err error) {
	at, err := c.address(service)
	if err != nil || at == "" {
		return func() {}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.seeder.Serve(ctx, func() (net.Listener, error) { return listen(at, s.log) }); err != nil {
			s.log.Error("open titles are not seeded over TCP", "error", err)
		}
	}()
	return func() {
		cancel()
		<-ended
	}, nil
}
