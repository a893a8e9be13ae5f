// Package trust remembers who lied. It must ban at once whom a leaf hash proves guilty (BEP 52), and a mere suspect
// (one of several who gave a piece that failed) only at the second strike; and it must stay bounded whoever comes.
package trust

import "essaim/internal/bt"

// remembered bounds the book; the oldest entries go first.
const remembered = 1024

// strikesMax is how many failed pieces a suspect may have a part in.
const strikesMax = 2

type entry struct {
	id      bt.PeerID
	strikes uint8
	banned  bool
	idle    bool
}

// Book is the memory of one engine. The zero value is ready.
type Book struct {
	entries []entry
}

// Banned reports whether id may not come back.
func (b *Book) Banned(id bt.PeerID) bool {
	e := b.find(id)
	return e != nil && e.banned
}

// Convict bans id at once: a leaf hash refuted what it sent.
func (b *Book) Convict(id bt.PeerID) { b.get(id).banned = true }

// Shun remembers that id kept us waiting until it was dropped: it is no liar, and yet not worth another connection.
func (b *Book) Shun(id bt.PeerID) { b.get(id).idle = true }

// Shunned reports whether id kept us waiting before.
func (b *Book) Shunned(id bt.PeerID) bool {
	e := b.find(id)
	return e != nil && e.idle
}

// Suspect counts one failed piece that id had a part in, and reports whether it is banned by now.
func (b *Book) Suspect(id bt.PeerID) bool {
	e := b.get(id)
	if e.strikes < strikesMax {
		e.strikes++
	}
	e.banned = e.banned || e.strikes >= strikesMax
	return e.banned
}

func (b *Book) find(id bt.PeerID) *entry {
	for i := range b.entries {
		if b.entries[i].id == id {
			return &b.entries[i]
		}
	}
	return nil
}

func (b *Book) get(id bt.PeerID) *entry {
	if e := b.find(id); e != nil {
		return e
	}
	if len(b.entries) >= remembered {
		b.entries = append(b.entries[:0], b.entries[1:]...)
	}
	b.entries = append(b.entries, entry{id: id})
	return &b.entries[len(b.entries)-1]
}
