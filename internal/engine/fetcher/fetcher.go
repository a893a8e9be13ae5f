// Package fetcher keeps the HTTP sources' state: which fetches are under way, and how long a source that failed rests.
// It must never hammer a source in trouble, nor let one failure stop a film that the source could still play.
package fetcher

// The rests after failures, in microseconds: about 1 s at first, doubling, never over 8 s, each spread by ±50 % so
// that viewers who failed together do not return together.
const (
	restMin = 1_000_000
	restMax = 8_000_000
)

// Source is one HTTP source's health. The zero value is a healthy one.
type Source struct {
	failures uint32
	until    int64
}

// Failed records a failure at now; chance is any 32 random bits.
func (s *Source) Failed(now int64, chance uint32) {
	rest := int64(restMin) << min(s.failures, 3)
	rest = min(rest, restMax)
	s.failures++
	s.until = now + rest/2 + rest*int64(chance>>16)/65536
}

// Worked records that bytes came.
func (s *Source) Worked() { s.failures, s.until = 0, 0 }

// Resting reports whether the source must be left alone, and until when.
func (s *Source) Resting(now int64) (until int64, resting bool) { return s.until, now < s.until }

// Failures is the number of failures in a row.
func (s *Source) Failures() int { return int(s.failures) }

// Fetch is one range request under way.
type Fetch struct {
	Ref      uint32
	File     uint32
	From, To int64 // bytes of the file
	Got      int64 // bytes so far
	Seen     int64 // up to which byte (relative to From) blocks were taken
	Began    int64 // microseconds
	Moved    int64 // when bytes last came
}

// Table holds the fetches under way, in the order in which they began.
type Table struct {
	list []Fetch
	next uint32
}

// Begin adds a fetch and names it. References are shared with hash requests through NextRef.
func (t *Table) Begin(now int64, file uint32, from, to int64) *Fetch {
	t.list = append(t.list, Fetch{Ref: t.NextRef(), File: file, From: from, To: to, Began: now, Moved: now})
	return &t.list[len(t.list)-1]
}

// NextRef gives a fresh reference, never 0.
func (t *Table) NextRef() uint32 {
	t.next++
	return t.next
}

// Find returns the fetch named ref, or nil.
func (t *Table) Find(ref uint32) *Fetch {
	for i := range t.list {
		if t.list[i].Ref == ref {
			return &t.list[i]
		}
	}
	return nil
}

// End removes the fetch named ref and returns what it was.
func (t *Table) End(ref uint32) (Fetch, bool) {
	for i := range t.list {
		if t.list[i].Ref == ref {
			f := t.list[i]
			t.list = append(t.list[:i], t.list[i+1:]...)
			return f, true
		}
	}
	return Fetch{}, false
}

// All is the table itself, valid until the next Begin or End.
func (t *Table) All() []Fetch { return t.list }

// Waiting is since when the fetch that has waited longest for bytes has done so, 0 where there is none.
func (t *Table) Waiting() int64 {
	oldest := int64(0)
	for i := range t.list {
		if m := t.list[i].Moved; oldest == 0 || m < oldest {
			oldest = m
		}
	}
	return oldest
}

// Covers reports whether a fetch will still bring byte at of the file.
func (t *Table) Covers(file uint32, at int64) bool {
	for i := range t.list {
		f := &t.list[i]
		if f.File == file && at >= f.From+f.Seen && at < f.To {
			return true
		}
	}
	return false
}
