package announce

import (
	"errors"
	"math"

	"essaim/internal/bt"
)

// once marks a member as seen; a name that occurs twice is refused, since readers differ on which one counts.
type once uint32

func (o *once) see(s *scanner, bit once) error {
	if *o&bit != 0 {
		return s.fault("duplicate name")
	}
	*o |= bit
	return nil
}

// Members of the messages, as bits of once.
const (
	hasAction once = 1 << iota
	hasInfoHash
	hasPeerID
	hasEvent
	hasUploaded
	hasDownloaded
	hasLeft
	hasNumWant
	hasOffers
	hasTo
	hasOffer
	hasAnswer
	hasOfferID
	hasEssaim
	hasInterval
	hasComplete
	hasIncomplete
	hasFailure
	hasWarning
	hasFiles
	hasFlags
)

// memberOf is the bit of a name that either side's messages use, 0 for any other.
func memberOf(name []byte) once {
	switch string(name) {
	case "action":
		return hasAction
	case "info_hash":
		return hasInfoHash
	case "peer_id":
		return hasPeerID
	case "event":
		return hasEvent
	case "uploaded":
		return hasUploaded
	case "downloaded":
		return hasDownloaded
	case "left":
		return hasLeft
	case "numwant":
		return hasNumWant
	case "offers":
		return hasOffers
	case "to_peer_id":
		return hasTo
	case "offer":
		return hasOffer
	case "answer":
		return hasAnswer
	case "offer_id":
		return hasOfferID
	case "essaim":
		return hasEssaim
	case "interval":
		return hasInterval
	case "complete":
		return hasComplete
	case "incomplete":
		return hasIncomplete
	case "failure reason":
		return hasFailure
	case "warning message":
		return hasWarning
	case "files":
		return hasFiles
	case "flags":
		return hasFlags
	}
	return 0
}

// fields reads one object whose known members parse understands. A null counts as absent. When a value is not what
// its member needs, the rest is read nevertheless, so that the refusal can name the swarm; the first such error is
// returned. Broken JSON ends it at once.
func (s *scanner) fields(seen *once, parse func(member once) error) error {
	var first error
	err := s.object(func(name []byte) error {
		bit := memberOf(name)
		if bit == 0 {
			return s.skip()
		}
		if err := seen.see(s, bit); err != nil {
			return err
		}
		if null, err := s.null(); null || err != nil {
			*seen &^= bit
			return err
		}
		at, depth := s.i, s.depth
		err := parse(bit)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
		*seen &^= bit
		s.i, s.depth = at, depth
		return s.skip()
	})
	if err == nil {
		err = s.end()
	}
	if err == nil {
		err = first
	}
	return err
}

func fallback(err, as error) error {
	if err != nil {
		return as
	}
	return nil
}

// count reads a number from 0 to at most.
func (s *scanner) count(at int64) (int64, error) {
	n, ok, err := s.number()
	if err != nil || !ok || n < 0 || n > at {
		return 0, ErrNumber
	}
	return n, nil
}

// sdp reads {"type": want, "sdp": …}, as a string, or as a Text where the scanner leaves those as they are.
func (s *scanner) sdp(want string) (sdp string, text Text, err error) {
	if s.scratch == nil && !s.lends {
		s.scratch = make([]byte, 0, min(1<<10, len(s.data)-s.i))
	}
	var right bool
	plain := s.scratch[:0]
	err = s.object(func(name []byte) (err error) {
		switch string(name) {
		case "type":
			kind, err := s.brief(16)
			right = string(kind) == want
			return err
		case "sdp":
			if s.lends {
				text, err = s.whole()
				return err
			}
			plain, err = s.text(plain[:0], SDPMax)
		default:
			err = s.skip()
		}
		return err
	})
	s.scratch = plain[:0]
	if err != nil || !right || len(plain) == 0 && text == nil {
		return "", nil, ErrOffer
	}
	return string(plain), text, nil
}

// Unquote appends what a Text says, or refuses it as ParseRequest would: for more than limit bytes, among others.
func Unquote(dst []byte, t Text, limit int) ([]byte, error) {
	s := scanner{data: t}
	dst, err := s.text(dst, len(dst)+limit)
	if err == nil {
		err = s.end()
	}
	return dst, err
}

// action of a message, either way.
type action uint8

const (
	actionNone action = iota
	actionAnnounce
	actionScrape
	actionOther
)

func (s *scanner) action() (action, error) {
	text, err := s.brief(16)
	switch {
	case err != nil:
		return actionOther, ErrAction
	case string(text) == "announce":
		return actionAnnounce, nil
	case string(text) == "scrape":
		return actionScrape, nil
	}
	return actionOther, ErrAction
}

// ParseRequest reads a client's message, of at most MessageMax bytes. On an error the Request holds nothing but,
// where HasInfoHash says so, the InfoHash that a refusal should name.
func ParseRequest(data []byte) (Request, error) {
	r := Request{Left: Unknown, NumWant: Unknown}
	err := r.parse(data)
	if err != nil {
		return Request{InfoHash: r.InfoHash, HasInfoHash: r.HasInfoHash}, err
	}
	return r, nil
}

// ParseRequestInto is ParseRequest into a Request whose memory is used again, with session descriptions left as they came, in Text
// instead of SDP, and the ticket in Viewer.Text. They and r hold no longer than data. What is wrong within them it does not see: whoever passes them on does.
func ParseRequestInto(r *Request, data []byte) error {
	if r.viewer == nil {
		r.viewer = new(Viewer)
	}
	*r = Request{Left: Unknown, NumWant: Unknown, Offers: r.Offers[:0], viewer: r.viewer}
	err := r.scan(&scanner{data: data, lends: true})
	if err != nil {
		*r = Request{InfoHash: r.InfoHash, HasInfoHash: r.HasInfoHash, Offers: r.Offers[:0], viewer: r.viewer}
	}
	return err
}

func (r *Request) parse(data []byte) error { return r.scan(&scanner{data: data}) }

func (r *Request) scan(s *scanner) error {
	if len(s.data) > MessageMax {
		return ErrTooLarge
	}
	var (
		seen   once
		act    action
		list   bool
		hash   bt.InfoHash
		hashes []bt.InfoHash
	)
	err := s.fields(&seen, func(member once) (err error) {
		switch member {
		case hasAction:
			act, err = s.action()
		case hasInfoHash:
			// A scrape may name several.
			if list = s.peek() == '['; list {
				hashes, err = s.infoHashes()
			} else {
				err = fallback(s.binary(hash[:]), ErrInfoHash)
			}
		case hasPeerID:
			err = fallback(s.binary(r.PeerID[:]), ErrPeerID)
		case hasTo:
			err = fallback(s.binary(r.To[:]), ErrToPeerID)
		case hasOfferID:
			err = fallback(s.binary(r.OfferID[:]), ErrOfferID)
		case hasEvent:
			r.Event = s.event()
		case hasUploaded:
			r.Uploaded, err = s.count(numberMax)
		case hasDownloaded:
			r.Downloaded, err = s.count(numberMax)
		case hasLeft:
			r.Left, err = s.count(numberMax)
		case hasNumWant:
			r.NumWant, err = s.numWant()
		case hasOffers:
			r.Offers, err = s.offers(r.Offers)
		case hasOffer:
			r.SDP, r.Text, err = s.sdp("offer")
		case hasAnswer:
			if r.SDP, r.Text, err = s.sdp("answer"); err != nil {
				err = ErrAnswer
			}
		case hasEssaim:
			r.Viewer, err = s.viewer(r.viewer)
		default:
			err = s.skip()
		}
		return err
	})
	// Before any error: a refusal names the swarm if it can.
	if seen&hasInfoHash != 0 && !list {
		r.InfoHash, r.HasInfoHash = hash, true
		if act == actionScrape {
			hashes = []bt.InfoHash{hash}
		}
	}
	if err != nil {
		return err
	}
	return r.classify(seen, act, hashes)
}

// classify finds the message's kind from the members present and checks that they belong together.
func (r *Request) classify(seen once, act action, hashes []bt.InfoHash) error {
	switch {
	case act == actionScrape:
		if len(hashes) == 0 || len(hashes) > ScrapeMax {
			return ErrScrape
		}
		*r = Request{
			Kind: KindScrape, InfoHashes: hashes, InfoHash: r.InfoHash, HasInfoHash: r.HasInfoHash,
			Left: Unknown, NumWant: Unknown, viewer: r.viewer,
		}
		return nil
	case act != actionAnnounce:
		return ErrAction
	case !r.HasInfoHash:
		return ErrInfoHash
	case seen&hasPeerID == 0:
		return ErrPeerID
	}
	offer, answer := seen&hasOffer != 0, seen&hasAnswer != 0
	switch {
	case offer && answer:
		return ErrAnswer
	case !offer && !answer:
		if seen&hasTo != 0 {
			return ErrIncomplete
		}
		if r.Viewer != nil && r.Viewer.still {
			*r = Request{
				Kind: KindStill, InfoHash: r.InfoHash, HasInfoHash: r.HasInfoHash, PeerID: r.PeerID, Left: Unknown, NumWant: Unknown,
				Offers: r.Offers[:0], viewer: r.viewer,
			}
		}
		return nil
	case seen&hasTo == 0:
		return ErrToPeerID
	case seen&hasOfferID == 0:
		return ErrOfferID
	case offer:
		r.Kind = KindOffer
	default:
		r.Kind = KindAnswer
	}
	r.Offers, r.Viewer = r.Offers[:0], nil
	return nil
}

func (s *scanner) infoHashes() (hashes []bt.InfoHash, err error) {
	var h bt.InfoHash
	err = s.array(func() error {
		if len(hashes) == ScrapeMax {
			return ErrScrape
		}
		if err := s.binary(h[:]); err != nil {
			return ErrInfoHash
		}
		hashes = append(hashes, h)
		return nil
	})
	return hashes, err
}

// event never fails: clients write all sorts of things here, and what is not known is an update.
func (s *scanner) event() Event {
	at, depth := s.i, s.depth
	text, err := s.brief(16)
	if err != nil {
		s.i, s.depth = at, depth
		if s.skip() != nil {
			s.i, s.depth = at, depth // broken: the caller's next step stumbles over it too
		}
		return EventUpdate
	}
	switch string(text) {
	case "started":
		return EventStarted
	case "stopped":
		return EventStopped
	case "completed":
		return EventCompleted
	case "paused":
		return EventPaused
	}
	return EventUpdate
}

func (s *scanner) numWant() (int, error) {
	n, ok, err := s.number()
	switch {
	case err != nil || !ok:
		return 0, ErrNumber
	case n < 0:
		return Unknown, nil
	}
	return int(min(n, math.MaxInt32)), nil
}

func (s *scanner) offers(offers []Offer) (_ []Offer, err error) {
	offers = offers[:0]
	err = s.array(func() error {
		if len(offers) == OffersMax {
			return ErrOffers
		}
		var o Offer
		var sdp, id bool
		err := s.object(func(name []byte) (err error) {
			switch string(name) {
			case "offer":
				o.SDP, o.Text, err = s.sdp("offer")
				sdp = true
			case "offer_id":
				err = fallback(s.binary(o.ID[:]), ErrOfferID)
				id = true
			default:
				err = s.skip()
			}
			return err
		})
		switch {
		case err != nil:
			return err
		case !sdp:
			return ErrOffer
		case !id:
			return ErrOfferID
		}
		offers = append(offers, o)
		return nil
	})
	if errors.Is(err, ErrSyntax) {
		err = ErrOffer
	}
	return offers, err
}

// viewer reads our extension. One of a version that we do not know is no extension.
func (s *scanner) viewer(v *Viewer) (*Viewer, error) {
	if v == nil {
		v = new(Viewer)
	}
	*v = Viewer{}
	var version int64
	err := s.object(func(name []byte) error {
		var n int64
		var err error
		switch string(name) {
		case "v":
			version, err = s.count(math.MaxInt32)
		case "ticket":
			v.Text, err = s.brief(TicketMax)
			if err == nil && !s.lends {
				v.Ticket, v.Text = string(v.Text), nil
			}
		case "pos_ms":
			v.PositionMs, err = s.count(numberMax)
		case "rendition":
			n, err = s.count(math.MaxUint16)
			v.Rendition = int(n)
		case "up_kbps":
			n, err = s.count(math.MaxInt32)
			v.UplinkKbps = int(n)
		case "met":
			v.Outcomes, err = s.outcomes()
		case "still":
			v.still = s.peek() == 't'
			err = s.skip()
		default:
			err = s.skip()
		}
		return err
	})
	if err != nil {
		return nil, ErrExtension
	}
	if version != 1 {
		return nil, nil
	}
	return v, nil
}

// outcomes reads what became of introductions. Words that we do not know are passed over: a later version may have more.
func (s *scanner) outcomes() (list []Outcome, err error) {
	n := 0
	err = s.array(func() error {
		if n++; n > OutcomesMax {
			return ErrExtension
		}
		var o Outcome
		var named, known bool
		err := s.object(func(name []byte) error {
			switch string(name) {
			case "peer_id":
				named = true
				return s.binary(o.PeerID[:])
			case "fate":
				text, err := s.brief(16)
				for i, word := range fates {
					if string(text) == word {
						o.Fate, known = Fate(i), true
					}
				}
				return err
			}
			return s.skip()
		})
		switch {
		case err != nil:
			return err
		case !named:
			return ErrExtension
		case known:
			list = append(list, o)
		}
		return nil
	})
	return list, err
}
