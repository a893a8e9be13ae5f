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
	for b.Loop() {
		if _, err := announce.ParseRequest(data); err != nil {
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
	for b.Loop() {
		if _, err := announce.ParseRequest(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCleanDescription(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sanitize(testSDP, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendRelayed(b *testing.B) {
	b.ReportAllocs()
	var dst []byte
	r := announce.Relayed{InfoHash: openHash, From: peerID(1), OfferID: offerID(1), SDP: testSDP}
	for b.Loop() {
		dst = announce.AppendRelayed(dst[:0], &r)
	}
}
