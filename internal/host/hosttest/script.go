package hosttest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"essaim/internal/engine"
)

// script is one JSON file; README.md defines it.
type script struct {
	Claim string      `json:"claim"`
	Title titleSpec   `json:"title"`
	Steps []stepEntry `json:"steps"`
}

type titleSpec struct {
	PieceLength uint32   `json:"piece_length"`
	InfoHash    hexBytes `json:"info_hash"`
	InfoHashV2  hexBytes `json:"info_hash_v2"`
	PeerID      hexBytes `json:"peer_id"`
	Files       []struct {
		Size       uint64           `json:"size"`
		Root       hexBytes         `json:"root"`
		FirstPiece uint32           `json:"first_piece"`
		Track      engine.TrackKind `json:"track"`
	} `json:"files"`
	Found []struct {
		Piece uint32 `json:"piece"`
		Data  parts  `json:"data"`
	} `json:"found"`
}

func (s *titleSpec) found() map[uint32][]byte {
	m := map[uint32][]byte{}
	for _, f := range s.Found {
		m[f.Piece] = f.Data
	}
	return m
}

func (s *titleSpec) title() engine.Title {
	t := engine.Title{PieceLength: s.PieceLength, Seed: 1}
	copy(t.InfoHash[:], s.InfoHash)
	copy(t.InfoHashV2[:], s.InfoHashV2)
	copy(t.PeerID[:], s.PeerID)
	for _, f := range s.Files {
		tf := engine.TitleFile{Size: f.Size, FirstPiece: f.FirstPiece, Track: f.Track}
		copy(tf.Root[:], f.Root)
		t.Files = append(t.Files, tf)
	}
	return t
}

type stepEntry struct {
	Event   eventEntry    `json:"event"`
	Inputs  []inputEntry  `json:"inputs"`
	Effects []effectEntry `json:"effects"`
}

type eventEntry struct {
	Type      EventType         `json:"type"`
	Peer      engine.PeerRef    `json:"peer"`
	PeerID    hexBytes          `json:"peer_id"`
	Initiator bool              `json:"initiator"`
	Data      parts             `json:"data"`
	Every     int               `json:"every"`
	Cuts      []int             `json:"cuts"`
	To        int64             `json:"to"`
	From      int64             `json:"from"`
	Fetch     string            `json:"fetch"`
	Status    int               `json:"status"`
	Headers   map[string]string `json:"headers"`
	Read      string            `json:"read"`
	File      uint32            `json:"file"`
	Ms        int64             `json:"ms"`
	Us        int64             `json:"us"`

	Complete   int `json:"complete"`
	Incomplete int `json:"incomplete"`

	Cohort uint32 `json:"cohort"`
	Place  uint32 `json:"place"`
	Size   uint32 `json:"size"`
}

// chunks cuts the event's data as it says.
func (e *eventEntry) chunks() [][]byte {
	b := []byte(e.Data)
	var out [][]byte
	for _, n := range e.Cuts {
		n = min(n, len(b))
		out, b = append(out, b[:n]), b[n:]
	}
	for e.Every > 0 && len(b) > e.Every {
		out, b = append(out, b[:e.Every]), b[e.Every:]
	}
	if len(b) > 0 {
		out = append(out, b)
	}
	return out
}

// fields are those that inputs and outputs share; a nil one is not compared, and zero in an output.
type fields struct {
	Flags  *flagList       `json:"flags"`
	Reason *engine.Reason  `json:"reason"`
	Peer   *engine.PeerRef `json:"peer"`
	Ref    *refName        `json:"ref"`
	File   *uint32         `json:"file"`
	Piece  *uint32         `json:"piece"`
	Begin  *uint32         `json:"begin"`
	Length *uint32         `json:"length"`
	From   *int64          `json:"from"`
	To     *int64          `json:"to"`
	Data   *parts          `json:"data"`
}

type inputEntry struct {
	Kind inputKind `json:"kind"`
	fields
	Digest     *digest       `json:"digest"`
	DeadlineMs *int64        `json:"deadline_ms"`
	Outputs    []outputEntry `json:"outputs"`
}

type outputEntry struct {
	Kind outputKind `json:"kind"`
	fields
	Source uint16 `json:"source"`
	Index  uint32 `json:"index"`
	Base   uint32 `json:"base"`
	Proof  uint32 `json:"proof"`
}

type effectEntry struct {
	Type       EffectType        `json:"type"`
	Peer       engine.PeerRef    `json:"peer"`
	Data       parts             `json:"data"`
	Piece      uint32            `json:"piece"`
	As         string            `json:"as"`
	Fetch      string            `json:"fetch"`
	URL        string            `json:"url"`
	Headers    map[string]string `json:"headers"`
	Read       string            `json:"read"`
	Failed     bool              `json:"failed"`
	PositionMs int64             `json:"position_ms"`
	Rendition  uint32            `json:"rendition"`
	Want       uint32            `json:"want"`
	Event      string            `json:"event"`
}

func parse(b []byte) (*script, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	s := new(script)
	if err := d.Decode(s); err != nil {
		return nil, err
	}
	if len(s.Steps) == 0 || s.Steps[0].Event.Type != EventOpen {
		return nil, errors.New("the first event must be open")
	}
	return s, nil
}

type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) (err error) {
	var s string
	if err = json.Unmarshal(b, &s); err == nil {
		*h, err = hex.DecodeString(s)
	}
	return err
}

// parts are bytes written as a list of parts.
type parts []byte

func (p *parts) UnmarshalJSON(b []byte) error {
	var list []struct {
		Hex    hexBytes `json:"hex"`
		Text   string   `json:"text"`
		U32    *uint32  `json:"u32"`
		Fill   string   `json:"fill"`
		Length int      `json:"length"`
		Seed   int      `json:"seed"`
		Offset int      `json:"offset"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return err
	}
	out := []byte{}
	for _, x := range list {
		switch {
		case x.U32 != nil:
			out = binary.BigEndian.AppendUint32(out, *x.U32)
		case x.Fill == "zero":
			out = append(out, make([]byte, x.Length)...)
		case x.Fill == "pattern":
			out = append(out, pattern(x.Length, x.Seed, x.Offset)...)
		case x.Fill != "":
			return fmt.Errorf("unknown fill %q", x.Fill)
		default:
			out = append(append(out, x.Hex...), x.Text...)
		}
	}
	*p = out
	return nil
}

// pattern is the scripts' film: see README.md.
func pattern(length, seed, offset int) []byte {
	b := make([]byte, length)
	for i := range b {
		j := offset + i
		b[i] = byte(7*j + 13*(j/256) + 31*seed)
	}
	return b
}

type digest [32]byte

func (d *digest) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var h hexBytes
		if err := json.Unmarshal(b, &h); err != nil {
			return err
		}
		if copy(d[:], h) != len(d) {
			return errors.New("short digest")
		}
		return nil
	}
	var s struct {
		Sha256 parts `json:"sha256"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*d = sha256.Sum256(s.Sha256)
	return nil
}

// refName is a number, or the name of a read.
type refName struct {
	num  engine.Ref
	name string
}

func (r *refName) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &r.name)
	}
	return json.Unmarshal(b, &r.num)
}

type flagList engine.Flags

var flagNames = map[string]engine.Flags{
	"initiator": engine.FlagInitiator, "handshake": engine.FlagHandshake, "paused": engine.FlagPaused, "peers": engine.FlagPeers,
	"upload": engine.FlagUpload, "started": engine.FlagStarted, "completed": engine.FlagCompleted, "stopped": engine.FlagStopped, "v2": engine.FlagV2, "far": engine.FlagFar,
}

func (f *flagList) UnmarshalJSON(b []byte) error {
	var names []string
	if err := json.Unmarshal(b, &names); err != nil {
		return err
	}
	for _, n := range names {
		v, ok := flagNames[n]
		if !ok {
			return fmt.Errorf("unknown flag %q", n)
		}
		*f |= flagList(v)
	}
	return nil
}

type inputKind engine.InputKind

var inputNames = map[string]engine.InputKind{
	"TitleOpened": engine.TitleOpened, "IndexLoaded": engine.IndexLoaded, "StoreRestored": engine.StoreRestored,
	"StoreFound": engine.StoreFound, "StoreBounded": engine.StoreBounded, "Checked": engine.Checked,
	"RangeWanted": engine.RangeWanted, "RangeCancelled": engine.RangeCancelled, "Introduced": engine.Introduced,
	"PeerConnected": engine.PeerConnected, "PeerClosed": engine.PeerClosed, "Revoked": engine.Revoked,
	"MessageReceived": engine.MessageReceived, "SendQueue": engine.SendQueue, "FetchProgress": engine.FetchProgress,
	"FetchDone": engine.FetchDone, "FetchFailed": engine.FetchFailed, "Hashed": engine.Hashed,
	"HashesReceived": engine.HashesReceived, "Stored": engine.Stored, "Evicted": engine.Evicted,
	"PlaybackMoved": engine.PlaybackMoved, "Seeked": engine.Seeked, "RenditionChosen": engine.RenditionChosen,
	"PolicyChanged": engine.PolicyChanged, "Tick": engine.Tick, "PathMeasured": engine.PathMeasured,
	"SwarmCounted": engine.SwarmCounted, "PieceHashed": engine.PieceHashed, "InfoLoaded": engine.InfoLoaded,
}

func (k *inputKind) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, ok := inputNames[s]
	if !ok {
		return fmt.Errorf("unknown input %q", s)
	}
	*k = inputKind(v)
	return nil
}

// String is the kind's name in the scripts.
func (k inputKind) String() string {
	for n, v := range inputNames {
		if v == engine.InputKind(k) {
			return n
		}
	}
	return fmt.Sprintf("input %d", uint8(k))
}

type outputKind engine.OutputKind

var outputNames = map[string]engine.OutputKind{
	"RangeReady": engine.RangeReady, "RangeFailed": engine.RangeFailed, "FetchRange": engine.FetchRange,
	"CancelFetch": engine.CancelFetch, "Dial": engine.Dial, "ClosePeer": engine.ClosePeer, "Announce": engine.Announce,
	"SendMessage": engine.SendMessage, "SendBlock": engine.SendBlock, "Discard": engine.Discard, "Hash": engine.Hash,
	"RequestHashes": engine.RequestHashes, "Store": engine.Store, "Evict": engine.Evict, "Note": engine.Note,
	"HashPiece": engine.HashPiece,
	"Check":     engine.Check, "EvictFile": engine.EvictFile, "Mark": engine.Mark,
}

func (k *outputKind) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, ok := outputNames[s]
	if !ok {
		return fmt.Errorf("unknown output %q", s)
	}
	*k = outputKind(v)
	return nil
}
