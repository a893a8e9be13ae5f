package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The household and its call.
const (
	householdUp    = 2_000                  // kbit/s
	householdQueue = 500 * time.Millisecond // in front of its uplink: a router that buffers too much
	callEvery      = 20 * time.Millisecond
	callBytes      = 172 // 20 ms of G.711 with its RTP header (RFC 3550, 3551)
	callPort       = 7007
	callAlone      = 10 * time.Second
	neighbours     = 6
	householdTimes = 3 // times the film's rate is left of the service's link, for all of them
)

// trip is what the call tells of one packet, as a line of JSON: when it was sent, in ms of Unix time, and how long it was under way;
// negative: it never came back.
type trip struct {
	AtMs  int64   `json:"at_ms"`
	RTTMs float64 `json:"rtt_ms"`
}

// echoMain sends back whatever comes.
func echoMain(ctx context.Context, args []string, _ io.Writer) error {
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	at := flags.String("at", "", "address to answer at")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(*at), Port: callPort}) // answers come from where questions went
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFromUDP(buf)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		_, _ = c.WriteToUDP(buf[:n], from) // a lost packet is a lost packet
	}
}

// callMain speaks with the echo, fifty packets a second, and tells of each.
func callMain(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("call", flag.ContinueOnError)
	to := flags.String("to", "", "address of the echo")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := net.Dial("udp4", net.JoinHostPort(*to, strconv.Itoa(callPort)))
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	var mu sync.Mutex
	lines := json.NewEncoder(out)
	open := map[string]time.Time{}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			now := time.Now()
			key := string(buf[:min(n, 8)])
			mu.Lock()
			if at, ok := open[key]; ok {
				delete(open, key)
				_ = lines.Encode(trip{at.UnixMilli(), float64(now.Sub(at).Microseconds()) / 1000})
			}
			mu.Unlock()
		}
	}()
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	packet := make([]byte, callBytes)
	for n := 10_000_000; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		copy(packet, strconv.Itoa(n))
		now := time.Now()
		mu.Lock()
		open[string(packet[:8])] = now
		for key, at := range open {
			if now.Sub(at) > 3*time.Second {
				delete(open, key)
				_ = lines.Encode(trip{at.UnixMilli(), -1})
			}
		}
		mu.Unlock()
		_, _ = c.Write(packet) // a full queue loses it
	}
}

// trips are the times of a call's packets between two moments.
type trips struct {
	times []float64 // ms, in order
	lost  int
}

func between(list []trip, from, to time.Time) (t trips) {
	for _, x := range list {
		if x.AtMs < from.UnixMilli() || x.AtMs >= to.UnixMilli() {
			continue
		}
		if x.RTTMs < 0 {
			t.lost++
		} else {
			t.times = append(t.times, x.RTTMs)
		}
	}
	slices.Sort(t.times)
	return t
}

// quantile is the time that a share of the packets did not exceed, in ms; 0 if there are none.
func (t *trips) quantile(q float64) float64 {
	if len(t.times) == 0 {
		return 0
	}
	return t.times[min(int(q*float64(len(t.times))), len(t.times)-1)]
}

// householdScene: a home with a narrow uplink and a deep queue in front of it is on the phone while it watches, and is the one of whom
// its neighbours can have the film. What the call's packets take, there and back, alone and meanwhile.
func householdScene(ctx context.Context, l *lab) (fields, error) {
	l.plan.direct = true // the call does not pass the link that becomes narrow
	narrow := l.plan.add(0, home{hosts: 2, upKbps: householdUp, queue: householdQueue})
	first := seat{home: narrow, host: 0}
	var others []seat
	for range neighbours {
		others = append(others, seat{home: l.plan.add(0, home{})})
	}
	if err := l.build(ctx); err != nil {
		return nil, err
	}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	if _, err := l.start(l.plan.core(), "echo", nil, nil, l.self, "echo", "-at", coreAddress); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var list []trip
	if _, err := l.start(narrow.host(1), "call", nil, func(line []byte) {
		var t trip
		if json.Unmarshal(line, &t) == nil {
			mu.Lock()
			list = append(list, t)
			mu.Unlock()
		}
	}, l.self, "call", "-to", coreAddress); err != nil {
		return nil, err
	}
	begun := time.Now().Add(time.Second)
	if err := pause(ctx, time.Until(begun)+callAlone); err != nil {
		return nil, err
	}
	calm := time.Now()
	c, err := l.arrive(ctx, []seat{first}, true, 0, 0)
	if err != nil {
		return nil, err
	}
	defer c.leave()
	// The household is well ahead when the provider's link becomes too narrow for its neighbours to have all from the service.
	if err := c.wait(ctx, 30*time.Second, func() bool { return c.all(0, func(r report) bool { return r.PositionMs > 12_000 }) }); err != nil {
		return nil, err
	}
	link := l.film.kbps * householdTimes
	if err := l.throttle(ctx, link); err != nil {
		return nil, err
	}
	came := time.Now()
	rest, err := l.arrive(ctx, others, true, 0, 500*time.Millisecond)
	if err != nil {
		return nil, err
	}
	defer rest.leave()
	film := time.Duration(l.film.seconds * float64(time.Second))
	if err := rest.wait(ctx, film+patience, func() bool { return rest.all(0, finished) }); err != nil {
		return nil, err
	}
	over := time.Now()
	if err := pause(ctx, 4*time.Second); err != nil { // for the last packets
		return nil, err
	}
	mu.Lock()
	alone, meanwhile := between(list, begun, calm), between(list, came, over)
	mu.Unlock()
	r := c.viewers[0].at(over)
	end := rest.lived(0, over)
	var f fields
	l.common(&f, link)
	f.add("uplink_kbps", householdUp)
	f.add("queue_ms", householdQueue.Milliseconds())
	f.add("viewers", end.viewers)
	f.add("finished", end.finished)
	f.add("stalls_per_viewer", end.stallsPerViewer())
	f.add("household_stalls", r.Stalls)
	f.add("shared_bytes", r.Sent)
	f.add("shared_kbps", round(float64(r.Sent)*8/1000/over.Sub(came).Seconds(), 0))
	for _, x := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}} {
		f.add("call_alone_"+x.name+"_ms", round(alone.quantile(x.q), 1))
		f.add("call_sharing_"+x.name+"_ms", round(meanwhile.quantile(x.q), 1))
		f.add("added_"+x.name+"_ms", round(meanwhile.quantile(x.q)-alone.quantile(x.q), 1))
	}
	f.add("call_packets", len(meanwhile.times)+meanwhile.lost)
	f.add("call_lost", meanwhile.lost)
	return f, nil
}
