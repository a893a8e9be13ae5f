package native

import (
	"context"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// iceServers are the STUN servers that connections ask. They belong to the host's goroutine.
type iceServers struct {
	urls  []string
	asked bool // it is being found out which of them answer
}

// configuration is what a connection is made with.
func (r *rtc) configuration() (c webrtc.Configuration) {
	r.host.do(func() {
		if len(r.ice.urls) > 0 {
			c.ICEServers = []webrtc.ICEServer{{URLs: slices.Clone(r.ice.urls)}}
		}
	})
	return c
}

// doubt is called when candidates did not come in time: it asks every STUN server once, and drops those that do not answer
// within gatherTimeout for the rest of the session, so that no other connection waits for them.
func (r *rtc) doubt() {
	var urls []string
	r.host.do(func() {
		if !r.ice.asked && r.host.ctx.Err() == nil {
			r.ice.asked = true
			urls = slices.Clone(r.ice.urls)
			r.host.workers.Add(1)
		}
	})
	if urls == nil {
		return
	}
	go func() {
		defer r.host.workers.Done()
		r.sift(urls)
	}()
}

// sift asks STUN servers, all at once, and drops those that do not answer in time.
func (r *rtc) sift(urls []string) {
	ctx, cancel := context.WithTimeout(r.host.ctx, gatherTimeout)
	defer cancel()
	alive := make([]bool, len(urls))
	var all sync.WaitGroup
	for i := range urls {
		all.Go(func() { alive[i] = answers(ctx, urls[i]) })
	}
	all.Wait()
	r.host.do(func() {
		r.ice.asked = false
		if r.host.ctx.Err() != nil {
			return // the host ends: silence means nothing
		}
		r.ice.urls = slices.DeleteFunc(r.ice.urls, func(u string) bool {
			i := slices.Index(urls, u)
			return i >= 0 && !alive[i]
		})
	})
}

// answers says whether a STUN server answers a binding request (RFC 8489) before ctx ends.
func answers(ctx context.Context, url string) bool {
	u, err := stun.ParseURI(url)
	if err != nil || u.Proto != stun.ProtoTypeUDP {
		return false
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", net.JoinHostPort(u.Host, strconv.Itoa(u.Port)))
	if err != nil {
		return false
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return false
	}
	if _, err := c.Write(request.Raw); err != nil {
		return false
	}
	buf := make([]byte, 1500)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return false
		}
		answer := stun.Message{Raw: buf[:n]}
		if answer.Decode() == nil && answer.TransactionID == request.TransactionID && answer.Type == stun.BindingSuccess {
			return true
		}
	}
}
