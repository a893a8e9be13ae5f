package announce

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"essaim/internal/bt"
)

// ascending is n bytes counting up from first, so that a few of them cover all 256 values.
func ascending[T ~[20]byte](first int) (id T) {
	for i := range id {
		id[i] = byte(first + i)
	}
	return id
}

func request(members string) []byte {
	return []byte(`{"action":"announce","info_hash":"aaaabbbbccccddddeeee","peer_id":"-WW0100-123456789012"` + members + `}`)
}

func mustRequest(t *testing.T, data []byte) Request {
	t.Helper()
	r, err := ParseRequest(data)
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return r
}

func TestBinaryStringsCarryAll256Values(t *testing.T) {
	for first := 0; first < 256; first += 16 {
		want := Request{
			Kind: KindOffer, InfoHash: ascending[bt.InfoHash](first), PeerID: ascending[bt.PeerID](first + 1),
			To: ascending[bt.PeerID](first + 2), OfferID: ascending[OfferID](first + 3), SDP: "v=0\r\n",
			Left: Unknown, NumWant: Unknown, HasInfoHash: true,
		}
		data := AppendRequest(nil, &want)
		if !json.Valid(data) {
			t.Fatalf("not JSON: %q", data)
		}
		if got := mustRequest(t, data); !reflect.DeepEqual(got, want) {
			t.Fatalf("first byte %d: got %+v, want %+v", first, got, want)
		}
	}
}

func TestBinaryStringsAreReadAsOtherClientsWriteThem(t *testing.T) {
	// Escaped throughout, and raw UTF-8 throughout: the same twenty bytes.
	escaped, raw := "", ""
	want := ascending[bt.InfoHash](0x75)
	for _, b := range want {
		escaped += fmt.Sprintf(`\u%04X`, b)
		raw += string(rune(b))
	}
	for _, text := range []string{escaped, raw} {
		r := mustRequest(t, []byte(`{"peer_id":"-WW0100-123456789012","info_hash":"`+text+`","action":"announce"}`))
		if r.InfoHash != want {
			t.Errorf("%q read as %v", text, r.InfoHash)
		}
	}
}

func TestParseRequestRefusesWhatIsNotTwentyBytes(t *testing.T) {
	for _, bad := range []string{
		"", "aaaabbbbccccddddeee", "aaaabbbbccccddddeeeef", "aaaabbbbccccddddeee𝕊", "aaaabbbbccccddddeeeĀ",
		"aaaabbbbccccddddeee\uFFFD", `aaaabbbbccccddddeee\ufffd`, `aaaabbbbccccddddeee\ud800`, `aaaabbbbccccddddeee\udc00`,
		`aaaabbbbccccddddeee\ud835\udd4a`, "aaaabbbbccccddddeee\xff", `aaaabbbbccccddddee\xe9e`, `aaaabbbbccccddddeee\u00`,
	} {
		ok := "aaaabbbbccccddddeeee"
		for name, want := range map[string]error{
			"info_hash": ErrInfoHash, "peer_id": ErrPeerID, "to_peer_id": ErrToPeerID, "offer_id": ErrOfferID,
		} {
			values := map[string]string{"info_hash": ok, "peer_id": ok, "to_peer_id": ok, "offer_id": ok}
			values[name] = bad
			data := fmt.Sprintf(`{"action":"announce","info_hash":"%s","peer_id":"%s","to_peer_id":"%s","offer_id":"%s","answer":{"type":"answer","sdp":"v=0"}}`,
				values["info_hash"], values["peer_id"], values["to_peer_id"], values["offer_id"])
			r, err := ParseRequest([]byte(data))
			if !errors.Is(err, want) && !errors.Is(err, ErrSyntax) {
				t.Errorf("%s %q: %v, want %v", name, bad, err, want)
			}
			if !reflect.DeepEqual(r, Request{InfoHash: r.InfoHash, HasInfoHash: r.HasInfoHash}) {
				t.Errorf("%s %q: a refused request keeps %+v", name, bad, r)
			}
		}
		offers := `,"offers":[{"offer":{"type":"offer","sdp":"v=0"},"offer_id":"` + bad + `"}]`
		if _, err := ParseRequest(request(offers)); !errors.Is(err, ErrOfferID) && !errors.Is(err, ErrOffer) && !errors.Is(err, ErrSyntax) {
			t.Errorf("offers with offer_id %q: %v", bad, err)
		}
	}
}

func TestParseRequestReadsWhatWebTorrentSends(t *testing.T) {
	r := mustRequest(t, request(`,"numwant":5,"uploaded":0,"downloaded":1048576,"left":null,"event":"started",`+
		`"offers":[{"offer":{"type":"offer","sdp":"v=0\r\n"},"offer_id":"oooooooooooooooooooo"}],"trackerid":"x","key":{"a":[1,2,{}]}`))
	if r.Kind != KindAnnounce || r.Left != Unknown || r.NumWant != 5 || r.Downloaded != 1<<20 || r.Event != EventStarted {
		t.Errorf("got %+v", r)
	}
	if len(r.Offers) != 1 || r.Offers[0].SDP != "v=0\r\n" || string(r.Offers[0].ID[:]) != "oooooooooooooooooooo" {
		t.Errorf("offers %+v", r.Offers)
	}
	if r.Viewer != nil {
		t.Errorf("a plain client has our extension: %+v", r.Viewer)
	}
}

func TestParseRequestIsLenientAboutEvents(t *testing.T) {
	for event, want := range map[string]Event{
		`"started"`: EventStarted, `"stopped"`: EventStopped, `"completed"`: EventCompleted, `"paused"`: EventPaused,
		`"update"`: EventUpdate, `"empty"`: EventUpdate, `"<regular>"`: EventUpdate, `""`: EventUpdate, `null`: EventUpdate,
		`7`: EventUpdate, `{"a":1}`: EventUpdate, `"` + strings.Repeat("x", 99) + `"`: EventUpdate, `["started"]`: EventUpdate,
	} {
		if r := mustRequest(t, request(`,"event":`+event)); r.Event != want {
			t.Errorf("event %s read as %d, want %d", event, r.Event, want)
		}
	}
}

func TestParseRequestBoundsNumbers(t *testing.T) {
	for _, number := range []string{"-1", "1e400", "-1e400", "9007199254740993", "99999999999999999999", `"5"`, "true"} {
		if _, err := ParseRequest(request(`,"left":` + number)); !errors.Is(err, ErrNumber) {
			t.Errorf("left %s: %v, want %v", number, err, ErrNumber)
		}
	}
	for number, want := range map[string]int64{"0": 0, "9007199254740992": 1 << 53, "1e3": 1000, "2.5": 2, "null": Unknown} {
		if r := mustRequest(t, request(`,"left":`+number)); r.Left != want {
			t.Errorf("left %s read as %d, want %d", number, r.Left, want)
		}
	}
	for _, broken := range []string{"01", "+1", ".5", "1.", "1e", "NaN", "Infinity", "0x10", "-"} {
		if _, err := ParseRequest(request(`,"left":` + broken)); !errors.Is(err, ErrSyntax) {
			t.Errorf("left %s: %v, want %v", broken, err, ErrSyntax)
		}
	}
	if r := mustRequest(t, request(`,"numwant":-1`)); r.NumWant != Unknown {
		t.Errorf("numwant -1 read as %d", r.NumWant)
	}
}

func TestParseRequestBoundsSizes(t *testing.T) {
	offer := `{"offer":{"type":"offer","sdp":"v"},"offer_id":"oooooooooooooooooooo"}`
	many := func(n int) string { return `,"offers":[` + strings.TrimSuffix(strings.Repeat(offer+",", n), ",") + `]` }
	sdp := func(n int) string {
		return `,"to_peer_id":"aaaabbbbccccddddeeee","offer_id":"aaaabbbbccccddddeeee","answer":{"type":"answer","sdp":"` + strings.Repeat("v", n) + `"}`
	}
	for _, c := range []struct {
		name    string
		members string
		want    error
	}{
		{"as many offers as allowed", many(OffersMax), nil},
		{"an offer too many", many(OffersMax + 1), ErrOffers},
		{"the longest SDP", sdp(SDPMax), nil},
		{"an SDP too long", sdp(SDPMax + 1), ErrAnswer},
		{"a message too long", `,"pad":"` + strings.Repeat("x", MessageMax) + `"`, ErrTooLarge},
		{"values nested as deep as allowed", `,"pad":` + strings.Repeat("[", depthMax-1) + strings.Repeat("]", depthMax-1), nil},
		{"values nested too deep", `,"pad":` + strings.Repeat("[", depthMax) + strings.Repeat("]", depthMax), ErrSyntax},
		{"ten thousand brackets", `,"pad":` + strings.Repeat("[", 10_000), ErrSyntax},
		{"ten thousand objects", `,"pad":` + strings.Repeat(`{"a":`, 10_000), ErrSyntax},
		{"a name twice", `,"peer_id":"aaaabbbbccccddddeeee"`, ErrSyntax},
		{"thousands of unknown names", strings.Repeat(`,"":0`, 12_000), nil},
	} {
		if _, err := ParseRequest(request(c.members)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestParseRequestTellsTheFormsApart(t *testing.T) {
	to, id := `,"to_peer_id":"aaaabbbbccccddddeeee"`, `,"offer_id":"oooooooooooooooooooo"`
	offer, answer := `,"offer":{"type":"offer","sdp":"v=0"}`, `,"answer":{"sdp":"v=0","type":"answer"}`
	for members, want := range map[string]error{
		to + id + offer:                       nil,
		to + id + answer:                      nil,
		to + id + offer + answer:              ErrAnswer,
		to + offer:                            ErrOfferID,
		id + answer:                           ErrToPeerID,
		to:                                    ErrIncomplete,
		to + id + `,"offer":null`:             ErrIncomplete,
		to + id + `,"answer":7`:               ErrAnswer,
		to + id + `,"answer":{"type":"offer"`: ErrSyntax,
		to + id + `,"answer":{"type":"offer","sdp":"v=0"}`: ErrAnswer,
		to + id + `,"offer":{"type":"offer","sdp":""}`:     ErrOffer,
		`,"offers":[{"offer_id":"oooooooooooooooooooo"}]`:  ErrOffer,
		`,"offers":[{"offer":{"type":"offer","sdp":"v"}}]`: ErrOfferID,
		`,"offers":[7]`:  ErrOffer,
		`,"offers":null`: nil,
	} {
		if _, err := ParseRequest(request(members)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", members, err, want)
		}
	}
	for data, want := range map[string]error{
		``: ErrSyntax, `null`: ErrSyntax, `[]`: ErrSyntax, `{}`: ErrAction, `{"action":"x"}`: ErrAction, `{"action":7}`: ErrAction,
		`{"action":"announce"}`: ErrInfoHash, `{"action":"announce","info_hash":["aaaabbbbccccddddeeee"]}`: ErrInfoHash,
		`{"action":"announce","info_hash":"aaaabbbbccccddddeeee"}`: ErrPeerID, `{"action":"scrape"}`: ErrScrape,
		`{"action":"scrape","info_hash":[]}`: ErrScrape, `{"action":"announce"}{}`: ErrSyntax, `{"action":"announce",}`: ErrSyntax,
		`{"ACTION":"announce"}`: ErrAction, `{'action':1}`: ErrSyntax,
	} {
		if _, err := ParseRequest([]byte(data)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", data, err, want)
		}
	}
}

func TestRefusedRequestStillNamesItsSwarm(t *testing.T) {
	r, err := ParseRequest([]byte(`{"action":"announce","peer_id":"short","left":-5,"info_hash":"aaaabbbbccccddddeeee"}`))
	if !errors.Is(err, ErrPeerID) || !r.HasInfoHash || string(r.InfoHash[:]) != "aaaabbbbccccddddeeee" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestScrapeIsBounded(t *testing.T) {
	want := Request{Kind: KindScrape, Left: Unknown, NumWant: Unknown}
	for i := range ScrapeMax {
		want.InfoHashes = append(want.InfoHashes, ascending[bt.InfoHash](i*3))
	}
	if got := mustRequest(t, AppendRequest(nil, &want)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want.InfoHashes = append(want.InfoHashes, bt.InfoHash{})
	if _, err := ParseRequest(AppendRequest(nil, &want)); !errors.Is(err, ErrScrape) {
		t.Errorf("%d hashes: %v, want %v", ScrapeMax+1, err, ErrScrape)
	}
	one := mustRequest(t, []byte(`{"action":"scrape","info_hash":"aaaabbbbccccddddeeee"}`))
	if len(one.InfoHashes) != 1 || !one.HasInfoHash {
		t.Errorf("a single hash read as %+v", one)
	}
}

func TestExtensionOfAnotherVersionIsNoExtension(t *testing.T) {
	for members, want := range map[string]bool{
		`,"essaim":{"v":1}`: true, `,"essaim":{"v":2,"pos_ms":1}`: false, `,"essaim":{}`: false, `,"essaim":null`: false, ``: false,
	} {
		if r := mustRequest(t, request(members)); (r.Viewer != nil) != want {
			t.Errorf("%s: extension %+v", members, r.Viewer)
		}
	}
	for _, bad := range []string{`7`, `{"v":"1"}`, `{"v":1,"pos_ms":-1}`, `{"v":1,"rendition":65536}`, `{"v":1,"ticket":7}`, `{"v":1,"up_kbps":1e400}`, `{"v":1,"ticket":"` + strings.Repeat("x", TicketMax+1) + `"}`} {
		if _, err := ParseRequest(request(`,"essaim":` + bad)); !errors.Is(err, ErrExtension) {
			t.Errorf("essaim %.40s: %v, want %v", bad, err, ErrExtension)
		}
	}
}

func TestOutcomesAreBoundedAndUnknownWordsPassedOver(t *testing.T) {
	const one = `{"peer_id":"aaaabbbbccccddddeeee","fate":"ice"}`
	r := mustRequest(t, request(`,"essaim":{"v":1,"met":[{"fate":"eaten","peer_id":"aaaabbbbccccddddeeee"},`+one+`,{"peer_id":"aaaabbbbccccddddeeee"}]}`))
	if want := []Outcome{{bt.PeerID([]byte("aaaabbbbccccddddeeee")), FateICE}}; !reflect.DeepEqual(r.Viewer.Outcomes, want) {
		t.Errorf("got %+v, want %+v", r.Viewer.Outcomes, want)
	}
	many := one + strings.Repeat(","+one, OutcomesMax-1)
	if r := mustRequest(t, request(`,"essaim":{"v":1,"met":[`+many+`]}`)); len(r.Viewer.Outcomes) != OutcomesMax {
		t.Errorf("%d outcomes are read of %d", len(r.Viewer.Outcomes), OutcomesMax)
	}
	for _, bad := range []string{many + "," + one, `7`, `{}`, `{"peer_id":"short","fate":"ice"}`, `{"fate":"ice"}`, `{"peer_id":"aaaabbbbccccddddeeee","fate":7}`} {
		if _, err := ParseRequest(request(`,"essaim":{"v":1,"met":[` + bad + `]}`)); !errors.Is(err, ErrExtension) {
			t.Errorf("met %.40s: %v, want %v", bad, err, ErrExtension)
		}
	}
}

func TestRequestsAndMessagesSurviveTheRoundTrip(t *testing.T) {
	for _, want := range sampleRequests() {
		data := AppendRequest(nil, &want)
		if got := mustRequest(t, data); !json.Valid(data) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v\nwant %+v", data, got, want)
		}
	}
	for _, want := range sampleMessages() {
		data := appendMessage(want)
		got, err := ParseMessage(data)
		if err != nil || !json.Valid(data) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", data, err, got, want)
		}
	}
}

// A message of KindStill says nothing else, whatever it brings along; one of another version is an announce like any other.
func TestWhoIsStillThereSaysNothingElse(t *testing.T) {
	r := mustRequest(t, request(`,"left":0,"event":"completed","numwant":3,"essaim":{"v":1,"ticket":"t","still":true,"pos_ms":7}`))
	if want := (Request{Kind: KindStill, InfoHash: r.InfoHash, PeerID: r.PeerID, Left: Unknown, NumWant: Unknown, HasInfoHash: true}); !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v, want %+v", r, want)
	}
	for _, extension := range []string{`{"v":1,"still":false}`, `{"v":2,"still":true}`, `{"v":1,"still":1}`} {
		if r := mustRequest(t, request(`,"essaim":`+extension)); r.Kind != KindAnnounce {
			t.Errorf("%s is taken for %d", extension, r.Kind)
		}
	}
}

func TestParseMessageReadsTheReferenceTracker(t *testing.T) {
	m, err := ParseMessage([]byte(`{"complete":1,"incomplete":2,"action":"announce","interval":120,"info_hash":"aaaabbbbccccddddeeee","tracker id":"x","min interval":null}`))
	if err != nil || m.Reply == nil || m.Reply.Interval != 120 || m.Reply.Complete != 1 || m.Reply.Incomplete != 2 || m.Reply.Viewer != nil {
		t.Errorf("got %+v, %v", m.Reply, err)
	}
	m, err = ParseMessage([]byte(`{"failure reason":"no"}`))
	if err != nil || m.Failure == nil || m.Failure.Reason != "no" || m.Failure.HasInfoHash {
		t.Errorf("got %+v, %v", m.Failure, err)
	}
	for data, want := range map[string]error{
		`{"action":"x","info_hash":"aaaabbbbccccddddeeee"}`: ErrAction,
		`{"action":"announce"}`:                             ErrInfoHash,
		`{"action":"announce","info_hash":"aaaabbbbccccddddeeee","offer":{"type":"offer","sdp":"v"},"offer_id":"oooooooooooooooooooo"}`: ErrPeerID,
		`{"action":"announce","info_hash":"aaaabbbbccccddddeeee","offer":{"type":"offer","sdp":"v"},"peer_id":"oooooooooooooooooooo"}`:  ErrOfferID,
		`{"action":"announce","info_hash":"aaaabbbbccccddddeeee","essaim":{"meet":[{"offer":true}]}}`:                                   ErrExtension,
		`{"action":"announce","info_hash":"aaaabbbbccccddddeeee","essaim":{"meet":[{"peer_id":"short"}]}}`:                              ErrExtension,
		`{"action":"scrape","files":{"short":{}}}`:                               ErrInfoHash,
		`{"action":"announce","info_hash":"aaaabbbbccccddddeeee","interval":-1}`: ErrNumber,
		strings.Repeat(" ", MessageMax+1):                                        ErrTooLarge,
	} {
		if _, err := ParseMessage([]byte(data)); !errors.Is(err, want) {
			t.Errorf("%.120s: %v, want %v", data, err, want)
		}
	}
}

func sampleRequests() []Request {
	hash, peer, to := ascending[bt.InfoHash](0), ascending[bt.PeerID](100), ascending[bt.PeerID](200)
	id := ascending[OfferID](236)
	sdp := "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=\"\\é\t\r\n"
	return []Request{
		{InfoHash: hash, PeerID: peer, Left: Unknown, NumWant: Unknown, HasInfoHash: true},
		{
			InfoHash: hash, PeerID: peer, Event: EventCompleted, Uploaded: 1, Downloaded: 2, NumWant: 3, HasInfoHash: true,
			Offers: []Offer{{ID: id, SDP: sdp}, {ID: OfferID(peer), SDP: "v=0"}},
		},
		{
			InfoHash: hash, PeerID: peer, Event: EventStarted, Left: 5, NumWant: Unknown, HasInfoHash: true,
			Viewer: &Viewer{
				Ticket: "a.b.c", PositionMs: 90_000, Rendition: 1, UplinkKbps: 4000,
				Outcomes: []Outcome{
					{to, FateConnected}, {peer, FateAnswer}, {to, FateICE}, {to, FateDTLS}, {to, FateChannel}, {to, FateBudget},
				},
			},
		},
		{Kind: KindOffer, InfoHash: hash, PeerID: peer, To: to, OfferID: id, SDP: sdp, Left: Unknown, NumWant: Unknown, HasInfoHash: true},
		{Kind: KindAnswer, InfoHash: hash, PeerID: peer, To: to, OfferID: id, SDP: sdp, Left: Unknown, NumWant: Unknown, HasInfoHash: true},
		{Kind: KindStill, InfoHash: hash, PeerID: peer, Left: Unknown, NumWant: Unknown, HasInfoHash: true},
		{Kind: KindScrape, InfoHashes: []bt.InfoHash{hash, bt.InfoHash(peer)}, Left: Unknown, NumWant: Unknown},
	}
}

func sampleMessages() []Message {
	hash, peer := ascending[bt.InfoHash](0), ascending[bt.PeerID](100)
	return []Message{
		{Reply: &Reply{InfoHash: hash, Interval: 120, Complete: 1, Incomplete: 2, Warning: "slow \"down\""}},
		{Reply: &Reply{InfoHash: hash, Interval: 30, Viewer: &Introductions{}}},
		{Reply: &Reply{InfoHash: hash, Interval: 30, Viewer: &Introductions{
			Meet: []Meet{{PeerID: peer, Offer: true}, {PeerID: bt.PeerID(hash)}}, Revoked: []bt.PeerID{peer, bt.PeerID(hash)},
			PeersOff: true, Still: 100,
		}}},
		{Relayed: &Relayed{InfoHash: hash, From: peer, OfferID: OfferID(hash), SDP: "v=0\r\n"}},
		{Relayed: &Relayed{InfoHash: hash, From: peer, OfferID: OfferID(hash), SDP: "v=0\r\n", Answer: true}},
		{Scrape: &Scrape{Files: []ScrapeFile{{InfoHash: hash, Complete: 1, Incomplete: 2, Downloaded: 3}, {InfoHash: bt.InfoHash(peer)}}, MinInterval: 60}},
		{Scrape: &Scrape{}},
		{Failure: &Failure{Reason: "invalid JSON"}},
		{Failure: &Failure{Scrape: true, Reason: "name 1 to 64 info hashes to scrape"}},
		{Failure: &Failure{Reason: "unknown swarm", InfoHash: hash, HasInfoHash: true}},
	}
}

func appendMessage(m Message) []byte {
	switch {
	case m.Reply != nil:
		return AppendReply(nil, m.Reply)
	case m.Relayed != nil:
		return AppendRelayed(nil, m.Relayed)
	case m.Scrape != nil:
		return AppendScrape(nil, m.Scrape)
	}
	return AppendFailure(nil, m.Failure)
}

// FuzzParse holds both parsers against encoding/json and against their own appenders: what they accept is JSON, and
// writing it and reading it again changes nothing.
// sameAgain holds ParseRequestInto against ParseRequest: it differs in what it leaves to be unquoted, and in nothing else.
func sameAgain(t *testing.T, used *Request, data []byte) {
	t.Helper()
	want, wrong := ParseRequest(data)
	err := ParseRequestInto(used, data)
	got := *used
	got.viewer = nil
	got.Offers = slices.Clone(used.Offers)
	unquote := func(sdp *string, text *Text) {
		if *text == nil {
			return
		}
		plain, broken := Unquote(nil, *text, SDPMax)
		if broken == nil && len(plain) == 0 {
			broken = ErrOffer
		}
		if err == nil {
			err = broken
		}
		*sdp, *text = string(plain), nil
	}
	unquote(&got.SDP, &got.Text)
	for i := range got.Offers {
		unquote(&got.Offers[i].SDP, &got.Offers[i].Text)
	}
	if (err == nil) != (wrong == nil) {
		t.Fatalf("%q: %v, into a used request %v", data, wrong, err)
	}
	if err != nil {
		return
	}
	if got.Viewer != nil {
		v := *got.Viewer
		v.Ticket, v.Text = string(v.Text), nil
		got.Viewer = &v
	}
	if len(want.Offers) == 0 {
		want.Offers = nil
	}
	if len(got.Offers) == 0 {
		got.Offers = nil
	}
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("%q\nwant %+v\ngot %+v", data, want, got)
	}
}

func FuzzParse(f *testing.F) {
	for _, r := range sampleRequests() {
		f.Add(AppendRequest(nil, &r))
	}
	for _, m := range sampleMessages() {
		f.Add(appendMessage(m))
	}
	f.Add(request(`,"event":"\ud83d\ude00","left":1.5e3,"offers":[]`))
	f.Add([]byte(`{"action":"announce","info_hash":"` + strings.Repeat(`\u00ff`, 20) + `","peer_id":"` + strings.Repeat("é", 20) + `","x":[[[{}]]]}`))
	var used Request // by one message after the other, as a tracker uses it
	f.Fuzz(func(t *testing.T, data []byte) {
		sameAgain(t, &used, data)
		if r, err := ParseRequest(data); err == nil {
			if !json.Valid(data) {
				t.Fatalf("accepted what is no JSON: %q", data)
			}
			again, err := ParseRequest(AppendRequest(nil, &r))
			r.HasInfoHash, again.HasInfoHash = false, false
			if r.Kind == KindScrape {
				r.InfoHash, again.InfoHash = bt.InfoHash{}, bt.InfoHash{}
			}
			if len(r.Offers) == 0 {
				r.Offers = nil
			}
			if r.Kind != KindAnnounce { // an offer and an answer carry no statistics
				r = Request{Kind: r.Kind, InfoHash: r.InfoHash, PeerID: r.PeerID, To: r.To, OfferID: r.OfferID, SDP: r.SDP, InfoHashes: r.InfoHashes, Left: Unknown, NumWant: Unknown}
			} else {
				r.To, r.OfferID, r.SDP = bt.PeerID{}, OfferID{}, ""
			}
			if err != nil || !reflect.DeepEqual(r, again) {
				t.Fatalf("%v\nfirst %+v\nagain %+v", err, r, again)
			}
		}
		if m, err := ParseMessage(data); err == nil {
			if !json.Valid(data) {
				t.Fatalf("accepted what is no JSON: %q", data)
			}
			again, err := ParseMessage(appendMessage(m))
			if errors.Is(err, ErrTooLarge) {
				return // escapes may be longer than what they were read from
			}
			if err != nil || (m.Failure == nil) != (again.Failure == nil) {
				t.Fatalf("%v\nfirst %+v\nagain %+v", err, m, again)
			}
			if m.Failure == nil && !reflect.DeepEqual(m, again) {
				t.Fatalf("first %+v\nagain %+v", m, again)
			}
		}
	})
}

func TestFarIsToldOfIntroductionsAndOffers(t *testing.T) {
	reply := Reply{Interval: 120, Viewer: &Introductions{Meet: []Meet{{PeerID: bt.PeerID{1}, Offer: true, Far: true}, {PeerID: bt.PeerID{2}, Offer: true}}}}
	m, err := ParseMessage(AppendReply(nil, &reply))
	if err != nil || m.Reply == nil || m.Reply.Viewer == nil || !slices.Equal(m.Reply.Viewer.Meet, reply.Viewer.Meet) {
		t.Errorf("%+v, %v", m, err)
	}
	for _, far := range []bool{false, true} {
		want := Relayed{From: bt.PeerID{3}, OfferID: OfferID{4}, SDP: "v=0\r\n", Far: far}
		m, err := ParseMessage(AppendRelayed(nil, &want))
		if err != nil || m.Relayed == nil || *m.Relayed != want {
			t.Errorf("%+v, %v; want %+v", m.Relayed, err, want)
		}
	}
}
