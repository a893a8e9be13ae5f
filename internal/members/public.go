package members

import (
	"crypto/ed25519"
	"maps"
	"slices"
	"sync"

	"essaim/internal/vod"
)

// PublicKeys are the public halves of the keys that are believed now, by kid: what a node needs that checks tickets and issues none.
func (t *Tickets) PublicKeys() map[string][]byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make(map[string][]byte, len(t.keys))
	for _, k := range t.keys {
		all[k.kid] = k.private.Public().(ed25519.PublicKey)
	}
	return all
}

// Verifier checks tickets as Tickets does, by public keys that it is told. It issues none. It is safe for concurrent use.
type Verifier struct {
	t *Tickets

	mu   sync.RWMutex
	keys map[string]ed25519.PublicKey
}

var _ vod.Tickets = (*Verifier)(nil)

// NewVerifier returns a verifier that knows no key, and so lets nothing pass.
func NewVerifier(clock vod.Clock) *Verifier {
	v := &Verifier{keys: map[string]ed25519.PublicKey{}}
	v.t = newTickets("", nil, clock)
	v.t.lookup = v.find
	return v
}

// SetKeys replaces the keys that are believed. What is no key is passed over.
func (v *Verifier) SetKeys(keys map[string][]byte) {
	all := make(map[string]ed25519.PublicKey, len(keys))
	for _, kid := range slices.Sorted(maps.Keys(keys)) {
		if len(keys[kid]) == ed25519.PublicKeySize && len(all) < keysMax {
			all[kid] = slices.Clone(keys[kid])
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys = all
}

func (v *Verifier) find(kid string) ed25519.PublicKey {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.keys[kid]
}

// SetIssuer is Tickets'.
func (v *Verifier) SetIssuer(i vod.Issuer) { v.t.SetIssuer(i) }

// Revoke is Tickets'.
func (v *Verifier) Revoke(list []vod.Revocation) { v.t.Revoke(list) }

// Check implements vod.Tickets.
func (v *Verifier) Check(audience vod.Audience, token string) (vod.Ticket, error) {
	return v.t.Check(audience, token)
}

// Issue implements vod.Tickets: it is always refused.
func (v *Verifier) Issue(vod.Ticket) (string, error) { return "", vod.ErrForbidden }
