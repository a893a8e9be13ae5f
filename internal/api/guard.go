package api

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"time"

	"essaim/internal/vod"
)

// guardOrigin refuses state-changing requests that a page of another site sends: the session's cookie would come along.
// Programs, which send neither Origin nor Sec-Fetch-Site, pass.
func (s *Server) guardOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		newProblem(http.StatusForbidden, "cross_origin", "This must be asked from the service's own pages.").write(w)
	}))
	return protection.Handler(next)
}

// visitor is who sends a request, as far as its headers tell.
type visitor struct {
	token  string // of the session's cookie; empty for none
	bearer string // of the Authorization header; empty for none
	secure bool   // by TLS
	host   string // the name by which it reached us, with port; empty where it is malformed
	visit  vod.Visit
}

type visitorKey struct{}

func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := visitor{secure: s.isSecure(r), token: s.tokenOf(r), visit: visitOf(r, s.c.Hidden)}
		if hostForm.MatchString(r.Host) {
			v.host = r.Host
		}
		if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
			v.bearer = token
		}
		w.Header().Set("Cache-Control", "no-store") // pages and assets say otherwise
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitorKey{}, v)))
	})
}

// tokenOf is the token in the cookie of a request, empty for none.
func (s *Server) tokenOf(r *http.Request) string {
	if c, err := r.Cookie(cookieNameFor(s.isSecure(r))); err == nil && len(c.Value) <= 200 {
		return c.Value
	}
	return ""
}

// SignedIn reports whether a request comes from a device that is signed in, by its cookie. Where that cannot be looked up, it
// does not.
func (s *Server) SignedIn(r *http.Request) bool {
	token := s.tokenOf(r)
	if token == "" {
		return false
	}
	_, err := s.c.Members.Session(r.Context(), token)
	return err == nil
}

func visitorOf(ctx context.Context) visitor {
	v, _ := ctx.Value(visitorKey{}).(visitor)
	return v
}

func (s *Server) isSecure(r *http.Request) bool { return s.c.Secure || r.TLS != nil }

// hostForm is what may be repeated in a header: a name or address, and a port.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?$|^\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?$`)

// bodyTime is how long a request's body may take: 16 KiB come in time over any line that plays a film.
const bodyTime = 15 * time.Second

// secure sets the headers that every answer carries.
func (s *Server) secure(next http.Handler) http.Handler {
	frames, xframes := "'none'", "DENY"
	if s.c.Demo != nil { // the room holds its viewers in frames
		frames, xframes = "'self'", "SAMEORIGIN"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// 'self' does not cover WebSockets in every browser in use, so they are named.
		sockets := ""
		if hostForm.MatchString(r.Host) {
			sockets = " wss://" + r.Host
			if !s.isSecure(r) {
				sockets += " ws://" + r.Host
			}
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "+
			"img-src 'self' data:; media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self'"+sockets+s.edgeSites()+"; "+
			"object-src 'none'; base-uri 'none'; form-action 'self'; frame-src 'self'; frame-ancestors "+frames)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", xframes)
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin") // the origin opens it for open titles
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=(), display-capture=()")
		if s.isSecure(r) {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if r.ContentLength != 0 { // a body that trickles in holds a goroutine no longer than this
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // a test's recorder knows none
		}
		next.ServeHTTP(w, r)
	})
}
