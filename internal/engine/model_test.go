package engine

import "fmt"

// Recount counts everything that the engine keeps a running count or an index of anew, the simple way, and returns the first that
// differs: the reference model of its books. Simulations call it after every step.
func (e *Engine) Recount() error {
	s := &e.stock
	var count, found uint32
	var used int64
	claims, active := map[PeerRef]int{}, 0
	for n := range s.status {
		piece := uint32(n)
		if s.status[n] == pieceStored {
			count++
		}
		if s.status[n] == pieceFound {
			found++
		}
		if s.status[n].takesRoom() {
			used += int64(e.pieceBytes(piece))
		}
		holders := 0
		for _, p := range e.peers {
			if p.has(piece) {
				holders++
			}
		}
		if holders != s.Holders(piece) {
			return fmt.Errorf("piece %d has %d holders, the index says %d", n, holders, s.Holders(piece))
		}
		if by := s.claimBy[n]; by != 0 {
			claims[by]++
		}
		if at := int(s.activeAt[n]); at > 0 {
			active++
			if at > len(e.active) || e.active[at-1].piece != piece {
				return fmt.Errorf("piece %d's construction is not at place %d of %d", n, at, len(e.active))
			}
		}
	}
	if count != s.count || found != s.found || used != s.used {
		return fmt.Errorf("%d pieces stored, %d found, %d bytes; the books say %d, %d, %d", count, found, used, s.count, s.found, s.used)
	}
	if active != len(e.active) {
		return fmt.Errorf("%d constructions, %d of them in the index", len(e.active), active)
	}
	owed := map[[2]uint32]int{}
	for i, p := range e.peers {
		if e.refs[i] != p.ref {
			return fmt.Errorf("peer %d stands at the place of %d", p.ref, e.refs[i])
		}
		useful, live := 0, 0
		for n := range s.status {
			if p.has(uint32(n)) && s.Lacks(uint32(n)) {
				useful++
			}
		}
		for j := range p.owed {
			if r := &p.owed[j]; !r.cancelled {
				live++
				owed[[2]uint32{r.piece, uint32(r.block)}]++
			}
		}
		if useful != p.useful || live != p.owedLive || claims[p.ref] != p.claims {
			return fmt.Errorf("peer %d has %d useful pieces, owes %d blocks, claims %d; the books say %d, %d, %d", p.ref, useful, live, claims[p.ref], p.useful, p.owedLive, p.claims)
		}
		delete(claims, p.ref)
	}
	for by, n := range claims {
		return fmt.Errorf("%d claims of peer %d, who is not there", n, by)
	}
	for i := range e.active {
		a := &e.active[i]
		kept, hashing := 0, 0
		for b := range a.blocks {
			bl := &a.blocks[b]
			switch bl.state {
			case blockKept:
				kept++
			case blockHashing:
				hashing++
			}
			at := [2]uint32{a.piece, uint32(b)}
			if owed[at] != int(bl.asked) {
				return fmt.Errorf("piece %d: %d peers owe block %d, the books say %d", a.piece, owed[at], b, bl.asked)
			}
			delete(owed, at)
		}
		if kept != a.kept || hashing != a.hashing {
			return fmt.Errorf("piece %d: %d blocks kept, %d being digested; the books say %d, %d", a.piece, kept, hashing, a.kept, a.hashing)
		}
	}
	return nil
}
