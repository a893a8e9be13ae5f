package engine

import "essaim/internal/bt/wire"

// The limits of serving the info dictionary.
const (
	metadataMax    = 10 << 20 // bytes; clients take no more
	metadataCopies = 3        // of the whole, for one connection; what is asked beyond is rejected
)

// infoLoaded takes the title's info dictionary, which is served to peers from then on (BEP 9). The host has checked it against
// both info hashes.
func (e *Engine) infoLoaded(data []byte) {
	if len(data) <= metadataMax {
		e.info = append([]byte(nil), data...)
	}
}

// extensions is what we speak beside BEP 3 (BEP 10), and that we want nothing more where we have it all (BEP 21).
func (e *Engine) extensions() wire.ExtHandshake {
	h := wire.ExtHandshake{
		Extensions:   []wire.Extension{{Name: wire.ExtEssaim, ID: extEssaim}, {Name: wire.ExtDontHave, ID: extDontHave}},
		RequestQueue: servedQueueMax,
	}
	if len(e.info) > 0 {
		h.Extensions = append(h.Extensions, wire.Extension{Name: wire.ExtMetadata, ID: extMetadata})
		h.MetadataSize = uint32(len(e.info))
		h.UploadOnly = e.stock.count == uint32(len(e.stock.status))
	}
	return h
}

// metadata answers a request for a part of the info dictionary. Anything else that ut_metadata says is an answer to what we
// never ask.
func (e *Engine) metadata(p *peer, payload []byte) {
	m, err := wire.ParseMetadata(payload)
	if err != nil || m.Kind != wire.MetadataRequest || p.metadata == 0 {
		return
	}
	answer := wire.Metadata{Kind: wire.MetadataReject, Piece: m.Piece}
	if from := uint64(m.Piece) * wire.MetadataPiece; from < uint64(len(e.info)) {
		data := e.info[from:min(from+wire.MetadataPiece, uint64(len(e.info)))]
		if p.metadataSent+len(data) <= metadataCopies*len(e.info) {
			p.metadataSent += len(data)
			answer = wire.Metadata{Kind: wire.MetadataData, Piece: m.Piece, Total: uint32(len(e.info)), Data: data}
		}
	}
	at := len(e.arena)
	e.arena = wire.AppendMetadata(e.arena, p.metadata, answer)
	e.sendFrom(p, at)
}
