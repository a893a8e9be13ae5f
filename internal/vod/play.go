package vod

import (
	"net/netip"
	"strings"
)

// PlaySession is what pressing play returns: all that a player needs to fetch, verify and share one title version.
// It is the JSON body of POST /api/v1/titles/{id}/play; web/src reads the same shape.
type PlaySession struct {
	ID          string          `json:"id" doc:"This play session."`
	Title       TitleID         `json:"title"`
	Name        string          `json:"name"`
	DurationMs  uint32          `json:"duration_ms"`
	InfoHash    string          `json:"info_hash" doc:"The swarm: lower-case v1 info hash."`
	InfoHashV2  string          `json:"info_hash_v2" doc:"Lower-case v2 info hash, 64 characters."`
	PieceLength uint32          `json:"piece_length"`
	Files       []PlayFile      `json:"files" doc:"In torrent order."`
	Manifest    string          `json:"manifest" doc:"DASH on-demand manifest; its BaseURLs are the files' paths."`
	Protection  *Protection     `json:"protection,omitempty" doc:"How to open the files; absent where they are in the clear."`
	Subtitles   []PlaySubtitle  `json:"subtitles,omitempty" doc:"Text tracks that the viewer may choose from."`
	Storyboard  *PlayStoryboard `json:"storyboard,omitempty" doc:"Small pictures for whoever seeks; absent where there are none."`
	Nodes       PlayNodes       `json:"nodes"`
	Tickets     PlayTickets     `json:"tickets"`
	Policy      PlayPolicy      `json:"policy"`
	HeartbeatMs int64           `json:"heartbeat_ms" doc:"How often to send a heartbeat."`
}

// Protection is how a session's files are encrypted, and where their keys are had.
type Protection struct {
	Scheme    Scheme `json:"scheme" enum:"cbcs,cenc"`
	MaxHeight int    `json:"max_height,omitempty" doc:"The viewer's plan includes no pictures of more lines than these: there are no keys to others. Absent: it includes all."`
	ClearKey  string `json:"clearkey" doc:"Where W3C ClearKey licence requests are POSTed, with the licence ticket as bearer; a URL or a path on the server that answered."`
}

// PlayFile is one file of the session.
type PlayFile struct {
	Path       string      `json:"path"`
	Size       int64       `json:"size"`
	Root       string      `json:"root" doc:"v2 pieces root, lower-case hexadecimal."`
	FirstPiece uint32      `json:"first_piece"`
	Kind       Kind        `json:"kind" enum:"video,audio"`
	Codec      string      `json:"codec"`
	Bandwidth  int         `json:"bandwidth" doc:"Bits per second."`
	Height     int         `json:"height,omitempty"`
	KID        string      `json:"kid,omitempty" doc:"The key that opens it, in lower-case hexadecimal; absent where it is in the clear."`
	Segments   [][4]uint64 `json:"segments" doc:"From byte, to byte (exclusive), start in ms, duration in ms."`
	First      *PlayHashes `json:"first,omitempty" doc:"The hashes of the first pieces, with their proof; absent for a file of one piece."`
}

// PlaySubtitle is a text track.
type PlaySubtitle struct {
	Lang  string `json:"lang" doc:"BCP 47; empty where it is not known."`
	Label string `json:"label" doc:"Plain text; may be empty."`
	URL   string `json:"url" doc:"Of a WebVTT file: a path on the server that answered. What belongs to a title for members wants the session's cookie, or the media ticket."`
}

// PlayStoryboard is one JPEG with pictures of the film, row by row.
type PlayStoryboard struct {
	URL        string `json:"url" doc:"A path on the server that answered. What belongs to a title for members wants the session's cookie, or the media ticket."`
	IntervalMs uint32 `json:"interval_ms" doc:"Of film from one picture to the next; the first is of the beginning."`
	Pictures   int    `json:"pictures"`
	Across     int    `json:"across" doc:"Pictures in a row."`
	Width      int    `json:"width" doc:"Of each picture, in pixels."`
	Height     int    `json:"height"`
}

// PlayHashes is an answered hash request of BEP 52 for a file's piece layer.
type PlayHashes struct {
	Base   uint32 `json:"base"`
	Index  uint32 `json:"index"`
	Length uint32 `json:"length"`
	Proof  uint32 `json:"proof"`
	Hashes []byte `json:"hashes" doc:"Length digests and then the proof's, 32 bytes each; base64."`
}

// PlayNodes lists where to go, best first. Each is a URL or a path on the server that answered.
type PlayNodes struct {
	Origins  []string `json:"origins" doc:"Prefixes of media/{root} and hashes/{root}."`
	Trackers []string `json:"trackers" doc:"WebSocket addresses; empty when the title has no swarm."`
	ICE      []string `json:"ice" doc:"STUN addresses, possibly none. One without a host, stun::3478, is on the host that answered."`
	Announce []string `json:"announce,omitempty" doc:"HTTP addresses (BEP 3) where an open title's peers over TCP are found; only programs speak TCP."`
}

// Locate puts host, as it stands in the address of the server that answered, into the STUN addresses that have none. On a
// loopback host these are left out: whoever reaches that is on the same machine, and has nothing to ask.
func (n *PlayNodes) Locate(host string) {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	loopback := host == "localhost" || err == nil && ip.IsLoopback()
	if err == nil && ip.Is6() {
		host = "[" + ip.String() + "]"
	}
	list := make([]string, 0, len(n.ICE))
	for _, address := range n.ICE {
		if port, here := strings.CutPrefix(address, "stun::"); !here {
			list = append(list, address)
		} else if !loopback {
			list = append(list, "stun:"+host+":"+port)
		}
	}
	n.ICE = list
}

// RelayTicket is what a player shows to TURN servers, as RTCIceServer has it.
type RelayTicket struct {
	Username   string `json:"username"`
	Credential string `json:"credential"`
}

// PlayTickets are the session's tickets, one for each service that it needs. Ten minutes, renewed by the heartbeat.
type PlayTickets struct {
	Media     string       `json:"media"`
	Swarm     string       `json:"swarm,omitempty" doc:"Where the title has a swarm."`
	Relay     *RelayTicket `json:"relay,omitempty" doc:"For TURN servers; where the title has a swarm."`
	License   string       `json:"license,omitempty" doc:"Where the files are encrypted."`
	ExpiresMs int64        `json:"expires_ms" doc:"Milliseconds from now."`
}

// PlayPolicy is what the operator and the viewer's consent allow.
type PlayPolicy struct {
	P2P        bool `json:"p2p" doc:"Peers may be used at all."`
	Upload     bool `json:"upload" doc:"The viewer agreed to share."`
	LAN        bool `json:"lan" doc:"Addresses of local networks may be offered to peers."`
	UplinkKbps int  `json:"uplink_kbps" doc:"Upload limit; 0 is none."`
}

// Heartbeat is the player's report, sent every PlaySession.HeartbeatMs.
type Heartbeat struct {
	Share *bool `json:"share,omitempty" doc:"The viewer's consent of the moment, as when play was pressed; absent: as it was."`
	Last  bool  `json:"last,omitempty" doc:"The player says goodbye: its session ends."`

	PositionMs  int64 `json:"position_ms"`
	OriginBytes int64 `json:"origin_bytes"`
	PeerBytes   int64 `json:"peer_bytes"`
	SentBytes   int64 `json:"sent_bytes"`
	Stalls      int   `json:"stalls"`
	StalledMs   int64 `json:"stalled_ms"`
	StartupMs   int64 `json:"startup_ms"`
	BadBlocks   int   `json:"bad_blocks"`

	RelayedBytes int64     `json:"relayed_bytes,omitempty" doc:"Of peer_bytes, those that came through a relay."`
	CachedBytes  int64     `json:"cached_bytes,omitempty" doc:"Bytes that were held from an earlier visit."`
	WastedBytes  int64     `json:"wasted_bytes,omitempty" doc:"Bytes that came twice."`
	PlayedMs     int64     `json:"played_ms,omitempty" doc:"Film that was played; where it is missing, how far the position moved."`
	Switches     int       `json:"switches,omitempty" doc:"Changes of rendition."`
	Failures     int       `json:"failures,omitempty" doc:"Times that playback failed for good."`
	Height       int       `json:"height,omitempty" doc:"Of the rendition that plays."`
	Met          *Meetings `json:"met,omitempty"`
	Continued    bool      `json:"continued,omitempty" doc:"The session goes on where another of the same player's left off: no start of its own."`

	Banned []BannedPeer `json:"banned,omitempty" maxItems:"32" doc:"The peers that this session's engine has banned for good, the first 32 of them."`
}

// Meetings counts what became of introductions to other viewers.
type Meetings struct {
	Introduced int `json:"introduced" doc:"Viewers to meet, whose outcome is known."`
	Connected  int `json:"connected"`
	Answer     int `json:"answer" doc:"Failed: no answer came."`
	ICE        int `json:"ice" doc:"Failed: no way between the two."`
	DTLS       int `json:"dtls" doc:"Failed: no secure connection."`
	Channel    int `json:"channel" doc:"Failed: no data channel."`
	Budget     int `json:"budget" doc:"Not tried: too many connections already."`
}

// Counts are all numbers of a report, so that impossible ones can be refused.
func (h *Heartbeat) Counts() []int64 {
	list := []int64{
		h.PositionMs, h.OriginBytes, h.PeerBytes, h.SentBytes, int64(h.Stalls), h.StalledMs, h.StartupMs, int64(h.BadBlocks),
		h.RelayedBytes, h.CachedBytes, h.WastedBytes, h.PlayedMs, int64(h.Switches), int64(h.Failures), int64(h.Height),
	}
	if m := h.Met; m != nil {
		for _, n := range []int{m.Introduced, m.Connected, m.Answer, m.ICE, m.DTLS, m.Channel, m.Budget} {
			list = append(list, int64(n))
		}
	}
	return list
}

// BannedMax bounds Heartbeat.Banned.
const BannedMax = 32

// BannedPeer is a peer that a player will not have again.
type BannedPeer struct {
	PeerID string `json:"peer_id" pattern:"^[0-9a-f]{40}$" doc:"Twenty bytes in hexadecimal."`
	Proven bool   `json:"proven" doc:"A hash proved that it lied; otherwise it had a part in two pieces that failed."`
}

// HeartbeatReply brings the policy of the moment, and new tickets once the old ones have passed half their life.
type HeartbeatReply struct {
	Tickets     *PlayTickets `json:"tickets,omitempty" doc:"Absent: keep the old ones."`
	Policy      PlayPolicy   `json:"policy"`
	HeartbeatMs int64        `json:"heartbeat_ms" doc:"When to send the next."`
}
