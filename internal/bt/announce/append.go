package announce

import (
	"strconv"
	"unicode/utf8"
)

// AppendRequest appends what ParseRequest reads.
func AppendRequest(dst []byte, r *Request) []byte {
	if r.Kind == KindScrape {
		dst = append(dst, `{"action":"scrape","info_hash":[`...)
		for i := range r.InfoHashes {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendBinary(dst, r.InfoHashes[i][:])
		}
		return append(dst, `]}`...)
	}
	dst = append(dst, `{"action":"announce","info_hash":`...)
	dst = appendBinary(dst, r.InfoHash[:])
	dst = append(dst, `,"peer_id":`...)
	dst = appendBinary(dst, r.PeerID[:])
	switch r.Kind {
	case KindOffer:
		dst = appendTo(dst, r)
		dst = appendSDP(dst, "offer", r.SDP)
	case KindAnswer:
		dst = appendTo(dst, r)
		dst = appendSDP(dst, "answer", r.SDP)
	case KindStill:
		dst = append(dst, `,"essaim":{"v":1,"still":true}`...)
	default:
		dst = appendAnnounce(dst, r)
	}
	return append(dst, '}')
}

func appendTo(dst []byte, r *Request) []byte {
	dst = append(dst, `,"to_peer_id":`...)
	dst = appendBinary(dst, r.To[:])
	dst = append(dst, `,"offer_id":`...)
	dst = appendBinary(dst, r.OfferID[:])
	return append(dst, ',')
}

func appendAnnounce(dst []byte, r *Request) []byte {
	dst = appendInt(append(dst, `,"uploaded":`...), r.Uploaded)
	dst = appendInt(append(dst, `,"downloaded":`...), r.Downloaded)
	dst = append(dst, `,"left":`...)
	if r.Left < 0 {
		dst = append(dst, "null"...)
	} else {
		dst = appendInt(dst, r.Left)
	}
	if r.NumWant >= 0 {
		dst = appendInt(append(dst, `,"numwant":`...), int64(r.NumWant))
	}
	switch r.Event {
	case EventStarted:
		dst = append(dst, `,"event":"started"`...)
	case EventStopped:
		dst = append(dst, `,"event":"stopped"`...)
	case EventCompleted:
		dst = append(dst, `,"event":"completed"`...)
	case EventPaused:
		dst = append(dst, `,"event":"paused"`...)
	}
	for i := range r.Offers {
		if i == 0 {
			dst = append(dst, `,"offers":[{`...)
		} else {
			dst = append(dst, `,{`...)
		}
		dst = appendSDP(dst, "offer", r.Offers[i].SDP)
		dst = append(dst, `,"offer_id":`...)
		dst = appendBinary(dst, r.Offers[i].ID[:])
		dst = append(dst, '}')
	}
	if len(r.Offers) > 0 {
		dst = append(dst, ']')
	}
	if v := r.Viewer; v != nil {
		dst = append(dst, `,"essaim":{"v":1`...)
		if v.Ticket != "" {
			dst = appendText(append(dst, `,"ticket":`...), v.Ticket)
		}
		dst = appendInt(append(dst, `,"pos_ms":`...), v.PositionMs)
		dst = appendInt(append(dst, `,"rendition":`...), int64(v.Rendition))
		dst = appendInt(append(dst, `,"up_kbps":`...), int64(v.UplinkKbps))
		for i, o := range v.Outcomes {
			if i == 0 {
				dst = append(dst, `,"met":[{"peer_id":`...)
			} else {
				dst = append(dst, `,{"peer_id":`...)
			}
			dst = appendBinary(dst, o.PeerID[:])
			dst = append(appendText(append(dst, `,"fate":`...), o.Fate.String()), '}')
		}
		if len(v.Outcomes) > 0 {
			dst = append(dst, ']')
		}
		dst = append(dst, '}')
	}
	return dst
}

// AppendReply appends the answer to an announce.
func AppendReply(dst []byte, r *Reply) []byte {
	dst = append(dst, `{"action":"announce","info_hash":`...)
	dst = appendBinary(dst, r.InfoHash[:])
	dst = appendInt(append(dst, `,"interval":`...), int64(r.Interval))
	dst = appendInt(append(dst, `,"complete":`...), int64(r.Complete))
	dst = appendInt(append(dst, `,"incomplete":`...), int64(r.Incomplete))
	if r.Warning != "" {
		dst = appendText(append(dst, `,"warning message":`...), r.Warning)
	}
	if r.Viewer != nil {
		dst = append(dst, `,"essaim":{"meet":[`...)
		for i, m := range r.Viewer.Meet {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendBinary(append(dst, `{"peer_id":`...), m.PeerID[:])
			dst = strconv.AppendBool(append(dst, `,"offer":`...), m.Offer)
			if m.Far {
				dst = append(dst, `,"far":true`...)
			}
			dst = append(dst, '}')
		}
		dst = append(dst, `],"revoked":[`...)
		for i, id := range r.Viewer.Revoked {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendBinary(dst, id[:])
		}
		dst = append(dst, ']')
		if c := r.Viewer.Cohort; c.ID != 0 {
			dst = appendInt(append(dst, `,"cohort":{"id":`...), int64(c.ID))
			dst = appendInt(append(dst, `,"place":`...), int64(c.Place))
			dst = appendInt(append(dst, `,"size":`...), int64(c.Size))
			dst = append(dst, '}')
		}
		if n := r.Viewer.Still; n != 0 {
			dst = appendInt(append(dst, `,"still":`...), int64(n))
		}
		if r.Viewer.PeersOff {
			dst = append(dst, `,"p2p":false`...)
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// AppendRelayed appends a forwarded offer or answer.
func AppendRelayed(dst []byte, r *Relayed) []byte { return appendRelayed(dst, r, r.SDP) }

// AppendRelayedText is AppendRelayed with the session description as a JSON string, which must be one, instead of r.SDP.
func AppendRelayedText(dst []byte, r *Relayed, sdp Text) []byte { return appendRelayed(dst, r, sdp) }

// AppendText appends a JSON string; bytes that are no UTF-8 come out as U+FFFD.
func AppendText(dst, s []byte) Text { return appendText(dst, s) }

func appendRelayed[T string | Text](dst []byte, r *Relayed, sdp T) []byte {
	dst = append(dst, `{"action":"announce","info_hash":`...)
	dst = appendBinary(dst, r.InfoHash[:])
	dst = append(dst, `,"peer_id":`...)
	dst = appendBinary(dst, r.From[:])
	dst = append(dst, `,"offer_id":`...)
	dst = appendBinary(dst, r.OfferID[:])
	dst = append(dst, ',')
	if r.Answer {
		dst = appendSDP(dst, "answer", sdp)
	} else {
		dst = appendSDP(dst, "offer", sdp)
	}
	if r.Far {
		dst = append(dst, `,"essaim":{"far":true}`...)
	}
	return append(dst, '}')
}

// AppendScrape appends the answer to a scrape.
func AppendScrape(dst []byte, r *Scrape) []byte {
	dst = append(dst, `{"action":"scrape","files":{`...)
	for i, f := range r.Files {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendBinary(dst, f.InfoHash[:])
		dst = appendInt(append(dst, `:{"complete":`...), int64(f.Complete))
		dst = appendInt(append(dst, `,"incomplete":`...), int64(f.Incomplete))
		dst = appendInt(append(dst, `,"downloaded":`...), int64(f.Downloaded))
		dst = append(dst, '}')
	}
	dst = appendInt(append(dst, `},"flags":{"min_request_interval":`...), int64(r.MinInterval))
	return append(dst, `}}`...)
}

// AppendFailure appends a refusal. Without an info hash it has no action either: so clients expect it of a message
// that could not be read.
func AppendFailure(dst []byte, f *Failure) []byte {
	dst = append(dst, '{')
	if f.HasInfoHash || f.Scrape {
		if f.Scrape {
			dst = append(dst, `"action":"scrape",`...)
		} else {
			dst = append(dst, `"action":"announce",`...)
		}
		if f.HasInfoHash {
			dst = appendBinary(append(dst, `"info_hash":`...), f.InfoHash[:])
			dst = append(dst, ',')
		}
	}
	dst = appendText(append(dst, `"failure reason":`...), f.Reason)
	return append(dst, '}')
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

func appendSDP[T string | Text](dst []byte, kind string, sdp T) []byte {
	dst = append(append(append(dst, '"'), kind...), `":{"type":"`...)
	dst = append(append(dst, kind...), `","sdp":`...)
	switch sdp := any(sdp).(type) {
	case string:
		dst = appendText(dst, sdp)
	case Text:
		dst = append(dst, sdp...)
	}
	return append(dst, '}')
}

// appendBinary writes each byte as the code point of the same number.
func appendBinary(dst, b []byte) []byte {
	dst = append(dst, '"')
	for _, c := range b {
		if c < 0x80 {
			dst = appendASCII(dst, c)
		} else {
			dst = append(dst, 0xC0|c>>6, 0x80|c&0x3F)
		}
	}
	return append(dst, '"')
}

// appendText writes a string; bytes that are no UTF-8 come out as U+FFFD.
func appendText[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		n := 0
		for n < len(s) && plain[s[n]] {
			n++
		}
		dst = append(dst, s[:n]...)
		if s = s[n:]; len(s) == 0 {
			break
		}
		if s[0] < utf8.RuneSelf {
			dst, s = appendASCII(dst, s[0]), s[1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[:min(len(s), utf8.UTFMax)]))
		dst, s = utf8.AppendRune(dst, r), s[size:]
	}
	return append(dst, '"')
}

func appendASCII(dst []byte, c byte) []byte {
	const hexDigits = "0123456789abcdef"
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c == '\r':
		return append(dst, '\\', 'r')
	case c == '\n':
		return append(dst, '\\', 'n')
	case c < 0x20:
		return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
	return append(dst, c)
}
