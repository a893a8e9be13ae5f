package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// title is the film's name in addresses.
const title = "lab"

// film is what is watched.
type film struct {
	seconds float64
	bytes   int64
	kbps    int // of all of it, on average
}

// serviceURL is where viewers find the service.
const serviceURL = "https://" + originAddress

// open makes the film, publishes it for everyone, and starts the service in the origin's namespace.
func (l *lab) open(ctx context.Context) error {
	if l.essaim == "" {
		l.say("building essaim")
		l.essaim = l.path("essaim")
		if _, err := command(ctx, "", "go", "build", "-o", l.essaim, "essaim/cmd/essaim"); err != nil {
			return err
		}
	}
	var err error
	if l.essaim, err = filepath.Abs(l.essaim); err != nil {
		return err
	}
	if l.film == nil {
		if err := l.publish(ctx); err != nil {
			return err
		}
	}
	if err := certificate(l.path("cert.pem"), l.path("key.pem")); err != nil {
		return err
	}
	geo := prefixA + " 64500 FR\n" + prefixB + " 64501 FR\n"
	if err := os.WriteFile(l.path("geo.txt"), []byte(geo), 0o644); err != nil {
		return err
	}
	ready := make(chan struct{}, 1)
	p, err := l.start(l.plan.origin(), "serve", nil, func(line []byte) {
		if json.Valid(line) {
			select {
			case ready <- struct{}{}:
			default:
			}
		}
	}, l.essaim, "serve", "--listen", originAddress+":443", "--tls-cert", l.path("cert.pem"), "--tls-key", l.path("key.pem"),
		"--data", l.path("data"), "--geo", l.path("geo.txt"), "--json", "--log-level", "debug")
	if err != nil {
		return err
	}
	select {
	case <-ready:
		return l.shareAll(ctx)
	case <-p.done:
		return fmt.Errorf("the service did not start: %s", p.complaint())
	case <-time.After(30 * time.Second):
		return errors.New("the service did not start within 30 s")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shareAll has the service hold nobody out of the swarm for comparison, which of so few viewers would be a tenth or two.
func (l *lab) shareAll(ctx context.Context) error {
	token, err := command(ctx, "", l.essaim, "admin", "token", "--role", "operator", "--data", l.path("data"))
	if err != nil {
		return err
	}
	rules := "silent\nshow-error\nfail\nrequest = PUT\nurl = \"" + serviceURL + "/api/v1/operator/policy\"\ncacert = \"" + l.path("cert.pem") +
		"\"\nheader = \"Content-Type: application/json\"\nheader = \"Authorization: Bearer " + strings.TrimSpace(string(token)) +
		"\"\ndata = \"{\\\"hold_out_ppm\\\":0,\\\"auto_off\\\":false}\"\n" // on standard input, where no list of processes shows the token
	_, err = command(ctx, rules, "ip", "netns", "exec", l.plan.origin(), "curl", "--config", "-")
	return err
}

// publish draws a film of constant bit rate and ingests it.
func (l *lab) publish(ctx context.Context) error {
	l.say("drawing a film of %d s at %d kbit/s", l.seconds, l.kbps)
	const audio = 64
	video := fmt.Sprintf("%dk", l.kbps-audio)
	source := fmt.Sprintf("testsrc2=size=320x180:rate=25:duration=%d", l.seconds)
	if _, err := command(ctx, "", "ffmpeg", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", source,
		"-f", "lavfi", "-i", fmt.Sprintf("sine=frequency=220:duration=%d", l.seconds),
		"-vf", "noise=alls=20:allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0",
		"-b:v", video, "-minrate", video, "-maxrate", video, "-bufsize", video, "-x264-params", "nal-hrd=cbr",
		"-c:a", "aac", "-b:a", fmt.Sprintf("%dk", audio), "-y", l.path("film.mp4")); err != nil {
		return err
	}
	out, err := command(ctx, "", l.essaim, "ingest", l.path("film.mp4"), "--no-sandbox", "--title", "Laboratory", "--id", title, "--open", "--data", l.path("data"), "--json")
	if err != nil {
		return err
	}
	var r struct {
		DurationMs int64 `json:"duration_ms"`
		Files      []struct {
			Size int64 `json:"size"`
		} `json:"files"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return fmt.Errorf("read what ingest printed: %w", err)
	}
	if r.DurationMs <= 0 || len(r.Files) == 0 {
		return errors.New("ingest made an empty title")
	}
	f := &film{seconds: float64(r.DurationMs) / 1000}
	for _, x := range r.Files {
		f.bytes += x.Size
	}
	f.kbps = int(float64(f.bytes) * 8 / 1000 / f.seconds)
	l.film = f
	return nil
}

// certificate makes a certificate for the origin's address, which vouches for itself.
func certificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return err
	}
	t := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "network laboratory"}, IPAddresses: []net.IP{net.ParseIP(originAddress)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &t, &t, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)
}
