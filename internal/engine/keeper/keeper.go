// Package keeper says what a cached thing is worth keeping: it decides eviction by supply and demand. It must let go first of
// what many others hold and few want, and sooner of what was watched long ago; it must be a total order that every
// processor agrees on. It knows numbers, never pieces, files or peers.
package keeper

// One is how many sixteenths make one: viewers and copies are counted in sixteenths, so that averages keep some of their fraction.
const One = 16

// halfLife is the time, in seconds, after which half as many are expected to want what was watched then: four days, so that
// a title of last month yields to almost anything of this week.
const halfLife = 4 * 24 * 3600

// Item is something that takes room.
type Item struct {
	Want   uint32 // viewers that may ask for it, in sixteenths
	Copies uint32 // others that hold it, in sixteenths
	Idle   uint32 // seconds since it was last watched
}

// Worth is what an item is worth keeping, to be compared with another's: how many want it, for each copy that there would be.
func (i Item) Worth() uint64 {
	// Nothing is worth nothing: the older and the more often held goes first among what nobody wants, too.
	want := (uint64(i.Want) + One/4) << 24
	whole, rest := i.Idle/halfLife, uint64(i.Idle%halfLife)
	if whole >= 24 {
		whole, rest = 24, 0
	}
	want >>= whole
	want -= want / 2 * rest / halfLife // a straight line from one half to the next: steady, and no table
	return want / (uint64(i.Copies) + One)
}
