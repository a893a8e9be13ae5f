package vod

import (
	"reflect"
	"testing"
)

func TestSTUNAddressesWithoutAHostAreOnTheHostThatAnswered(t *testing.T) {
	for host, want := range map[string][]string{
		"films.example": {"stun:films.example:3478", "stun:other.example:1"},
		"192.0.2.1":     {"stun:192.0.2.1:3478", "stun:other.example:1"},
		"2001:db8::1":   {"stun:[2001:db8::1]:3478", "stun:other.example:1"},
		"[2001:db8::1]": {"stun:[2001:db8::1]:3478", "stun:other.example:1"},
		"localhost":     {"stun:other.example:1"}, // who is on the same machine has nothing to ask
		"127.0.0.1":     {"stun:other.example:1"},
		"::1":           {"stun:other.example:1"},
	} {
		n := PlayNodes{ICE: []string{"stun::3478", "stun:other.example:1"}}
		if n.Locate(host); !reflect.DeepEqual(n.ICE, want) {
			t.Errorf("on %s: %q, want %q", host, n.ICE, want)
		}
	}
}
