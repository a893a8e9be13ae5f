package announce

import (
	"math"

	"essaim/internal/bt"
)

// ParseMessage reads a tracker's message, of at most MessageMax bytes.
func ParseMessage(data []byte) (Message, error) {
	if len(data) > MessageMax {
		return Message{}, ErrTooLarge
	}
	p := messageParser{scanner: scanner{data: data}}
	if err := p.fields(&p.seen, p.member); err != nil {
		return Message{}, err
	}
	return p.message()
}

// messageParser gathers the members of a tracker's message, of whichever kind it will prove to be.
type messageParser struct {
	scanner
	seen    once
	act     action
	reply   Reply
	relayed Relayed
	scrape  Scrape
	failure string
}

func (p *messageParser) member(member once) (err error) {
	switch member {
	case hasAction:
		p.act, err = p.action()
	case hasInfoHash:
		err = fallback(p.binary(p.reply.InfoHash[:]), ErrInfoHash)
	case hasPeerID:
		err = fallback(p.binary(p.relayed.From[:]), ErrPeerID)
	case hasOfferID:
		err = fallback(p.binary(p.relayed.OfferID[:]), ErrOfferID)
	case hasOffer:
		p.relayed.SDP, _, err = p.sdp("offer")
	case hasAnswer:
		p.relayed.Answer = true
		if p.relayed.SDP, _, err = p.sdp("answer"); err != nil {
			err = ErrAnswer
		}
	case hasInterval:
		p.reply.Interval, err = p.small()
	case hasComplete:
		p.reply.Complete, err = p.small()
	case hasIncomplete:
		p.reply.Incomplete, err = p.small()
	case hasWarning:
		p.reply.Warning, err = p.short()
	case hasFailure:
		p.failure, err = p.short()
	case hasEssaim:
		p.reply.Viewer, err = p.introductions()
	case hasFiles:
		err = p.files()
	case hasFlags:
		err = p.flags()
	default:
		err = p.skip()
	}
	return err
}

func (p *messageParser) message() (Message, error) {
	offer, answer := p.seen&hasOffer != 0, p.seen&hasAnswer != 0
	hash := p.seen&hasInfoHash != 0
	switch {
	case p.seen&hasFailure != 0:
		return Message{Failure: &Failure{
			Scrape: p.act == actionScrape, Reason: p.failure, InfoHash: p.reply.InfoHash, HasInfoHash: hash,
		}}, nil
	case p.act == actionScrape:
		return Message{Scrape: &p.scrape}, nil
	case p.act != actionAnnounce:
		return Message{}, ErrAction
	case !hash:
		return Message{}, ErrInfoHash
	case !offer && !answer:
		return Message{Reply: &p.reply}, nil
	case offer && answer:
		return Message{}, ErrAnswer
	case p.seen&hasPeerID == 0:
		return Message{}, ErrPeerID
	case p.seen&hasOfferID == 0:
		return Message{}, ErrOfferID
	}
	p.relayed.InfoHash = p.reply.InfoHash
	p.relayed.Far = p.reply.Viewer != nil && p.reply.Viewer.far
	return Message{Relayed: &p.relayed}, nil
}

func (s *scanner) small() (int, error) {
	n, err := s.count(math.MaxInt32)
	return int(n), err
}

func (s *scanner) short() (string, error) {
	text, err := s.text(nil, textMax)
	return string(text), err
}

func (s *scanner) introductions() (*Introductions, error) {
	var in Introductions
	err := s.object(func(name []byte) error {
		switch string(name) {
		case "meet":
			return s.array(func() error {
				if len(in.Meet) == MeetMax {
					return ErrExtension
				}
				m, err := s.meet()
				in.Meet = append(in.Meet, m)
				return err
			})
		case "revoked":
			return s.array(func() error {
				if len(in.Revoked) == MeetMax {
					return ErrExtension
				}
				var id bt.PeerID
				err := s.binary(id[:])
				in.Revoked = append(in.Revoked, id)
				return err
			})
		case "cohort":
			return s.cohort(&in.Cohort)
		case "still":
			n, err := s.small()
			in.Still = n
			return err
		case "p2p":
			in.PeersOff = s.peek() == 'f'
		case "far":
			in.far = s.peek() == 't'
		}
		return s.skip()
	})
	if err != nil {
		return nil, ErrExtension
	}
	return &in, nil
}

func (s *scanner) cohort(c *Cohort) error {
	return s.object(func(name []byte) error {
		var to *uint32
		switch string(name) {
		case "id":
			to = &c.ID
		case "place":
			to = &c.Place
		case "size":
			to = &c.Size
		default:
			return s.skip()
		}
		n, err := s.count(math.MaxUint32)
		*to = uint32(n)
		return err
	})
}

func (s *scanner) meet() (m Meet, err error) {
	var named bool
	err = s.object(func(name []byte) error {
		switch string(name) {
		case "peer_id":
			named = true
			return s.binary(m.PeerID[:])
		case "offer":
			m.Offer = s.peek() == 't'
		case "far":
			m.Far = s.peek() == 't'
		}
		return s.skip()
	})
	if err == nil && !named {
		err = ErrExtension
	}
	return m, err
}

func (p *messageParser) files() error {
	return p.object(func(name []byte) error {
		if len(p.scrape.Files) == ScrapeMax {
			return ErrScrape
		}
		var f ScrapeFile
		n := 0
		for _, r := range string(name) {
			if r > 0xFF || n == len(f.InfoHash) {
				return ErrInfoHash
			}
			f.InfoHash[n] = byte(r)
			n++
		}
		if n != len(f.InfoHash) {
			return ErrInfoHash
		}
		err := p.object(func(name []byte) (err error) {
			switch string(name) {
			case "complete":
				f.Complete, err = p.small()
			case "incomplete":
				f.Incomplete, err = p.small()
			case "downloaded":
				f.Downloaded, err = p.small()
			default:
				err = p.skip()
			}
			return err
		})
		p.scrape.Files = append(p.scrape.Files, f)
		return err
	})
}

func (p *messageParser) flags() error {
	return p.object(func(name []byte) (err error) {
		if string(name) != "min_request_interval" {
			return p.skip()
		}
		p.scrape.MinInterval, err = p.small()
		return err
	})
}
