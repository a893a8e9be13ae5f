package members

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // TURN's REST credentials say so; HMAC does not need what SHA-1 has lost
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"essaim/internal/vod"
)

// The relay's ticket is a pair of TURN's REST credentials (draft-uberti-behave-turn-rest-00), because that is all that a
// browser can show to a TURN server: a username that tells what is allowed until when, and a password that is an HMAC-SHA1 of
// it. The password never travels (RFC 8489, section 9.2): it keys the messages' integrity, for which the server computes it
// again. A JWT as username would travel in the clear, and open the relay to whoever saw it pass.
//
//	username   EXPIRES:KID:SESSION:DEVICE   seconds since 1970; the ticket key; identifiers, the last may be empty
//	password   base64(HMAC-SHA1(secret, username)),  secret = HKDF-SHA256(ticket key's seed, "essaim relay passwords")
//
// The secret rotates with the ticket keys, of which the username names one. Any server of the REST kind that is given the
// secret checks them, pion/turn and coturn among them; one of ours checks revocations as well, by RelayPassword.

// RelayCredentials are what a TURN server asks a play session's player for.
func (t *Tickets) RelayCredentials(ticket vod.Ticket) (vod.RelayTicket, error) {
	now := t.clock()
	if ticket.Expires.IsZero() {
		ticket.Expires = now.Add(TicketLife)
	}
	if ticket.PlaySession == "" || strings.Contains(ticket.PlaySession, ":") || strings.Contains(ticket.Device, ":") ||
		ticket.Expires.Sub(now) > vod.TicketGrace {
		return vod.RelayTicket{}, fmt.Errorf("issue relay credentials: %w", vod.ErrInvalid)
	}
	t.mu.RLock()
	key := t.keys.signer(now)
	t.mu.RUnlock()
	username := strings.Join([]string{strconv.FormatInt(ticket.Expires.Unix(), 10), key.kid, ticket.PlaySession, ticket.Device}, ":")
	return vod.RelayTicket{Username: username, Credential: relayPassword(key.relay, username)}, nil
}

func relayPassword(secret []byte, username string) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// RelayPassword returns the password that belongs to a username, for the TURN server to check the message's integrity with
// (which compares in constant time), and whose allocation it is. vod.ErrUnauthorized for one that has ended, was revoked or
// is none of ours: then the server answers as it does to a wrong password.
func (t *Tickets) RelayPassword(username string) (string, vod.Ticket, error) {
	refuse := func(err error) (string, vod.Ticket, error) {
		return "", vod.Ticket{}, fmt.Errorf("check relay credentials: %w: %w", vod.ErrUnauthorized, err)
	}
	parts := strings.Split(username, ":")
	if len(username) > 509 || len(parts) != 4 { // RFC 8489, section 14.3
		return refuse(vod.ErrInvalid)
	}
	seconds, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || strconv.FormatInt(seconds, 10) != parts[0] || parts[2] == "" {
		return refuse(vod.ErrInvalid)
	}
	key := t.key(parts[1])
	if key == nil {
		return refuse(vod.ErrInvalid)
	}
	ticket := vod.Ticket{Audience: vod.AudienceRelay, PlaySession: parts[2], Device: parts[3], Expires: time.Unix(seconds, 0)}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if why := t.revoked.Why(&ticket); why != "" {
		return refuse(&vod.RevokedError{Why: why})
	}
	if ticket.Over(t.clock(), t.issuer) {
		return refuse(vod.ErrTicketExpired)
	}
	return relayPassword(key.relay, username), ticket, nil
}
