package native

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/webrtc/v4"
)

// TestEndOfALinkEndsItsHandshake stops ICE just after the handshake began and before it has its endpoint; pion then neither
// closes that endpoint nor gives it packets, and the handshake would wait for ever.
func TestEndOfALinkEndsItsHandshake(t *testing.T) {
	h := open(t, newPlace(t, newFilm(t, 100_000)).config())
	newLink := func() *link {
		l := &link{rtc: h.rtc}
		l.ctx, l.cancel = context.WithCancel(h.ctx)
		t.Cleanup(l.cancel)
		return l
	}
	connection := func(l *link) *webrtc.PeerConnection {
		pc, err := l.api().NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			t.Fatal(err)
		}
		return pc
	}
	la, lb := newLink(), newLink()
	a, b := connection(la), connection(lb)
	if _, err := a.CreateDataChannel("essaim", nil); err != nil {
		t.Fatal(err)
	}
	stopped, failed := make(chan struct{}), make(chan struct{})
	dtls := a.SCTP().Transport() // who offers waits for the other side's first flight
	ice := dtls.ICETransport()
	dtls.OnStateChange(func(s webrtc.DTLSTransportState) {
		switch s {
		case webrtc.DTLSTransportStateConnecting:
			_ = ice.Stop()
			close(stopped)
		case webrtc.DTLSTransportStateFailed:
			close(failed)
		}
	})
	settled := func(l *link, pc *webrtc.PeerConnection, d webrtc.SessionDescription, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		sdp, err := l.local(deadline(t), pc, d)
		if err != nil {
			t.Fatal(err)
		}
		return sdp
	}
	d, err := a.CreateOffer(nil)
	sdp := settled(la, a, d, err)
	if err := b.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}); err != nil {
		t.Fatal(err)
	}
	d, err = b.CreateAnswer(nil)
	sdp = settled(lb, b, d, err)
	if err := a.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		t.Fatal(err)
	}
	await(t, deadline(t), stopped, "the handshake")
	la.cancel()
	await(t, deadline(t), failed, "the handshake's end")
	for _, x := range []struct {
		link *link
		pc   *webrtc.PeerConnection
	}{{la, a}, {lb, b}} {
		closed := make(chan struct{})
		go x.link.end(func() {
			_ = x.pc.GracefulClose()
			close(closed)
		})
		await(t, deadline(t), closed, "the end of the connection")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if left := ours(); left != "" {
		t.Error("still running:\n", left)
	}
}

func TestConnectionThatNeverClosesDoesNotHoldUpTheHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		l := &link{}
		l.ctx, l.cancel = context.WithCancel(t.Context())
		began := time.Now()
		gone := l.end(func() { <-never })
		if took := time.Since(began); gone || took != closeTimeout || l.ctx.Err() == nil {
			t.Errorf("gone %v, waited %v, want %v; link %v", gone, took, closeTimeout, l.ctx.Err())
		}
		close(never)
	})
}
