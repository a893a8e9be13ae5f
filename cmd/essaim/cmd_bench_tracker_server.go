package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"essaim/internal/bt"
	"essaim/internal/members"
	"essaim/internal/tracker"
	"essaim/internal/vod"
)

// benchDoorCmd is the tracker that bench tracker measures, in a process of its own. It obeys lines on standard input, and ends
// with it.
type benchDoorCmd struct {
	Data    string `required:"" type:"path" help:"Folder with the key of the tickets."`
	Addr    string `default:"127.0.0.1:0" help:"Where to listen."`
	Profile string `type:"path" help:"Write a processor profile there, from the first line on standard input on."`
}

// doorUp is what it prints first.
type doorUp struct {
	Plain string `json:"plain"` // address
	TLS   string `json:"tls"`
}

// doorState is what it prints when asked.
type doorState struct {
	CPUSeconds float64 `json:"cpu_s"`
	RSS        int64   `json:"rss"`
	Sockets    int     `json:"sockets"` // in swarms
}

// doorTitles has an open title for every info hash that doorHash makes.
type doorTitles struct{ vod.Titles }

// doorHash is the info hash of the swarm of that number.
func doorHash(swarm int) (h bt.InfoHash) {
	copy(h[:], "bench of the tracker")
	binary.BigEndian.PutUint32(h[:], uint32(swarm))
	return h
}

// doorTitle is the title with that swarm.
func doorTitle(swarm int) vod.TitleID { return vod.TitleID("bench-" + strconv.Itoa(swarm)) }

// BySwarm implements vod.Titles.
func (doorTitles) BySwarm(_ context.Context, h bt.InfoHash) (vod.Title, error) {
	swarm := int(binary.BigEndian.Uint32(h[:]))
	if h != doorHash(swarm) {
		return vod.Title{}, vod.ErrNotFound
	}
	return vod.Title{ID: doorTitle(swarm), Open: true, Version: vod.Version{ID: "v"}}, nil
}

// Run serves until standard input ends.
func (c *benchDoorCmd) Run() error {
	tickets, err := members.OpenTickets(c.Data, time.Now)
	if err != nil {
		return err
	}
	t := tracker.New(tracker.Config{
		Titles: doorTitles{}, Tickets: tickets, Seed: 1, Unpaced: true, SocketsPerMember: 1 << 30, SocketsMax: 1 << 30,
	})
	plain, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return err
	}
	config, err := selfSigned()
	if err != nil {
		return err
	}
	beneath, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	secure := tls.NewListener(tracker.Listen(beneath), config)
	server := &http.Server{Handler: t, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(plain) }()
	go func() { _ = server.Serve(secure) }()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(doorUp{plain.Addr().String(), secure.Addr().String()}); err != nil {
		return err
	}
	profiling := false
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if c.Profile != "" && !profiling {
			profiling = true
			stop, err := profileTo(c.Profile)
			if err != nil {
				return err
			}
			defer stop()
		}
		if in.Text() == "settle" {
			// What handshakes left behind goes at the next collection; an idle server has one every two minutes.
			debug.FreeOSMemory()
		}
		state, err := doorNow(t)
		if err != nil {
			return err
		}
		if err := out.Encode(state); err != nil {
			return err
		}
	}
	return nil
}

func doorNow(t *tracker.Tracker) (s doorState, err error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return s, err
	}
	s.CPUSeconds = time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return s, fmt.Errorf("bench: memory is measured on Linux only: %w", err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(status))[1], 10, 64)
	if err != nil {
		return s, err
	}
	s.RSS = pages * int64(os.Getpagesize())
	for _, n := range t.Swarms() {
		s.Sockets += n
	}
	return s, nil
}

// selfSigned is a certificate that nobody checks.
func selfSigned() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}, nil
}
