package tracker

import (
	"testing"

	"essaim/internal/bt/announce"
)

// tenOffers is the announce that counts: ten offers as Chromium writes them.
func tenOffers() []byte {
	r := theirs(0, 10)
	r.InfoHash, r.PeerID = openHash, peerID(1)
	return announce.AppendRequest(nil, &r)
}

func BenchmarkParseTenOffers(b *testing.B) {
	data := tenOffers()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var into announce.Request
	for b.Loop() {
		if err := announce.ParseRequestInto(&into, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseAnswer(b *testing.B) {
	r := directed(announce.KindAnswer, peerID(2), offerID(1))
	r.InfoHash, r.PeerID = openHash, peerID(1)
	data := announce.AppendRequest(nil, &r)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var into announce.Request
	for b.Loop() {
		if err := announce.ParseRequestInto(&into, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCleanDescription(b *testing.B) {
	b.ReportAllocs()
	text := announce.AppendText(nil, []byte(testSDP))
	var dst []byte
	for b.Loop() {
		var err error
		if dst, err = appendSanitized(dst[:0], text, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendRelayed(b *testing.B) {
	b.ReportAllocs()
	var dst []byte
	r := announce.Relayed{InfoHash: openHash, From: peerID(1), OfferID: offerID(1)}
	text := announce.AppendText(nil, []byte(testSDP))
	for b.Loop() {
		dst = announce.AppendRelayedText(dst[:0], &r, text)
	}
}
