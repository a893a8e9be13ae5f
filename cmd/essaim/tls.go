package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"essaim/internal/certs"
	"essaim/internal/tracker"
)

// security are serve's settings for TLS.
type security struct {
	TLSCert       string   `name:"tls-cert" type:"path" env:"ESSAIM_TLS_CERT" placeholder:"FILE" help:"Certificate chain for TLS, PEM, leaf first. Read again when it changes."`
	TLSKey        string   `name:"tls-key" type:"path" env:"ESSAIM_TLS_KEY" placeholder:"FILE" help:"The certificate's key, PEM."`
	TLSDomain     []string `name:"tls-domain" env:"ESSAIM_TLS_DOMAIN" placeholder:"NAME" help:"Get a certificate for this name from an authority (ACME) and renew it. Port 443 of the name must lead to --listen, or port 80 to --http-listen."`
	ACMEEmail     string   `name:"acme-email" env:"ESSAIM_ACME_EMAIL" placeholder:"ADDRESS" help:"Whom the authority may write to."`
	ACMEDirectory string   `name:"acme-directory" env:"ESSAIM_ACME_DIRECTORY" placeholder:"URL" help:"The authority's ACME directory. Let's Encrypt's if none is given, whose terms of service you then agree to."`
	ACMERoots     string   `name:"acme-roots" type:"path" env:"ESSAIM_ACME_ROOTS" placeholder:"FILE" help:"Certificates, PEM, that vouch for the ACME directory itself, where the system's do not."`
	HTTPListen    string   `name:"http-listen" env:"ESSAIM_HTTP_LISTEN" placeholder:"ADDRESS:PORT" help:"Where to answer plain HTTP, with nothing but the way to https. Usually port 80 of --listen's address."`
}

// on says that this server itself ends TLS.
func (c *security) on() bool { return c.TLSCert != "" || len(c.TLSDomain) > 0 }

// validate says what is wrong with the settings beside the others, if anything is.
func (c *security) validate(s *settings) error {
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key belong together")
	case c.TLSCert != "" && len(c.TLSDomain) > 0:
		return errors.New("--tls-cert brings a certificate, --tls-domain gets one: give one of the two")
	case len(c.TLSDomain) == 0 && c.ACMEEmail+c.ACMEDirectory+c.ACMERoots != "":
		return errors.New("--acme-… settings mean nothing without --tls-domain")
	case c.HTTPListen != "" && !c.on():
		return errors.New("--http-listen sends visitors to https: it needs --tls-cert or --tls-domain")
	}
	if c.ACMEDirectory != "" {
		if u, err := url.Parse(c.ACMEDirectory); err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("--acme-directory %q: want an https address", c.ACMEDirectory)
		}
	}
	if !c.on() && !s.Secure && !loopback(s.Listen) {
		return fmt.Errorf("--listen %s can be reached from other machines, where browsers keep no secrets without https: "+
			"give --tls-domain or --tls-cert and --tls-key; or --secure, if a proxy in front of it ends TLS", s.Listen)
	}
	return nil
}

// loopback reports whether nobody but this machine reaches the address. A malformed one is left to listen, which says so.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// door is where visitors come in: TLS, and what belongs to it. The zero value is plain HTTP.
type door struct {
	certs    *certs.Source
	redirect net.Listener // nil: none
	inside   net.Listener // plain, on loopback, for this program's own hosts
	port     int          // where https answers
	log      *slog.Logger
}

// open makes ln the listener of TLS that the settings ask for. Whatever it opened is closed with an error.
func (c *security) open(ln net.Listener, data string, log *slog.Logger) (_ *door, err error) {
	d := &door{port: portOf(ln.Addr()), log: log}
	if !c.on() {
		return d, nil
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if c.HTTPListen != "" {
		if d.redirect, err = net.Listen("tcp", c.HTTPListen); err != nil {
			return nil, fmt.Errorf("listen for plain HTTP: %w", err)
		}
	}
	if d.inside, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	config := certs.Config{
		CertFile: c.TLSCert, KeyFile: c.TLSKey, Domains: c.TLSDomain, Email: c.ACMEEmail, Directory: c.ACMEDirectory,
		RootsFile: c.ACMERoots, Folder: filepath.Join(data, "tls"), TLSPort: d.port, Log: log,
	}
	if d.redirect != nil {
		config.HTTPPort = portOf(d.redirect.Addr())
	}
	if d.certs, err = certs.Open(config); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *door) close() {
	for _, ln := range []net.Listener{d.redirect, d.inside} {
		if ln != nil {
			ln.Close()
		}
	}
}

// wrap is ln with TLS, if there is any. The tracker's sockets stay as cheap as plain ones.
func (d *door) wrap(ln net.Listener) net.Listener {
	if d.certs == nil {
		return ln
	}
	return tls.NewListener(tracker.Listen(ln), d.certs.TLS())
}

// url is how a browser on this machine comes to the service.
func (d *door) url(addr net.Addr) string {
	if d.certs == nil {
		return urlOf(addr)
	}
	host := "localhost"
	if names := d.certs.Names(); len(names) > 0 {
		host = names[0]
	}
	if d.port == 443 {
		return "https://" + host
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(d.port))
}

// own is how this program's own hosts come to the origin.
func (d *door) own(addr net.Addr) string {
	if d.inside != nil {
		return urlOf(d.inside.Addr())
	}
	return urlOf(addr)
}

// serve keeps the certificate fresh, sends plain HTTP's visitors to https and answers this program's own hosts by origin, until
// ctx ends.
func (d *door) serve(ctx context.Context, origin http.Handler) {
	if d.certs == nil {
		return
	}
	stop := func(ln net.Listener, handler http.Handler) (end func()) {
		if ln == nil {
			return func() {}
		}
		server := &http.Server{
			Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 15 * time.Second, IdleTimeout: time.Minute,
			WriteTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				d.log.Error("plain HTTP is not answered any more", "address", ln.Addr(), "error", err)
			}
		}()
		return func() { server.Close(); <-ended }
	}
	defer stop(d.redirect, d.certs.Challenges(http.HandlerFunc(d.toSecure)))()
	defer stop(d.inside, origin)()
	if err := d.certs.Keep(ctx); err != nil {
		d.log.Error("no certificate can be had", "error", err)
		<-ctx.Done()
	}
}

// plainHost is a host as it may be repeated in a redirection.
var plainHost = regexp.MustCompile(`^([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$`)

// toSecure sends a visitor to the same page by https. What would change something is refused: it has been sent in the clear
// already, and whoever sends it should learn that.
func (d *door) toSecure(w http.ResponseWriter, r *http.Request) {
	if !plainHost.MatchString(r.Host) || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "Use https.", http.StatusBadRequest)
		return
	}
	host := plainHost.FindStringSubmatch(r.Host)[1]
	if d.port != 443 {
		host += ":" + strconv.Itoa(d.port)
	}
	w.Header().Set("Connection", "close")
	http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusPermanentRedirect)
}

func portOf(addr net.Addr) int {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}
