package sim

import "time"

// plain is what all scenes begin with: a film of 180 s at 2 Mbit/s, viewers with 20 Mbit/s down and 4 Mbit/s up, 40 ms one way.
func plain(name, doc string, viewers int, change func(*Scene)) Scene {
	s := Scene{
		name: name, doc: doc, Viewers: viewers, Arrival: "flash", Spread: 500 * time.Millisecond,
		Film: 180 * time.Second, Bitrate: 2_000_000, Piece: 32, Unit: "block", Titles: 1, Zipf: 0.8,
		Down: 20_000_000, Up: 4_000_000, Limit: 4_000_000, Delay: 40 * time.Millisecond, Setup: 100 * time.Millisecond, Consent: 1,
		Policy: "essaim",
	}
	if change != nil {
		change(&s)
	}
	return s
}

func stagger(s *Scene) { s.Arrival, s.Spread = "stagger", 10*time.Second }

// capped: 1.3 times one film's bit rate, for all.
func capped(s *Scene) { s.Origin = 2_600_000 }

func evening(consent float64) func(*Scene) {
	return func(s *Scene) {
		s.Arrival, s.Spread, s.Film, s.Titles, s.Piece = "uniform", time.Hour, 30*time.Minute, 200, 64
		s.Cache, s.Consent = 1, consent
	}
}

// rehearsal: what `essaim rehearse` meets on one machine: no delay to speak of, 60 s of film.
func rehearsal(s *Scene) {
	s.Delay, s.Setup, s.Played = time.Millisecond, 150*time.Millisecond, 60*time.Second
}

var scenes = []Scene{
	plain("flash-8", "8 viewers within half a second", 8, nil),
	plain("flash-128", "128 viewers within half a second", 128, nil),
	plain("flash-512", "512 viewers within half a second", 512, nil),
	plain("stagger-8", "8 viewers, one every 10 s", 8, stagger),
	plain("capped-8", "8 viewers at once, the origin limited to 1.3 times the bit rate in all", 8, capped),
	plain("capped-stagger-8", "8 viewers, one every 10 s, the origin limited to 1.3 times the bit rate in all", 8, func(s *Scene) { stagger(s); capped(s) }),
	plain("throttled-10", "10 viewers playing when the origin falls to 1.2 times the bit rate at 30 s", 10, func(s *Scene) {
		s.Arrival, s.Spread, s.FallAt, s.FallTo = "uniform", 20*time.Second, 30*time.Second, 2_400_000
	}),
	plain("evening-30", "2,000 viewers within an hour, 200 films of 30 min, caches of 1 GB, 30 % share", 2000, evening(0.3)),
	plain("evening-60", "the same, 60 % share", 2000, evening(0.6)),
	plain("evening-100", "the same, all share", 2000, evening(1)),
	plain("crowd-10000", "10,000 viewers within 10 minutes, 50 films of 10 min, Zipf 0.8, all share; requests of whole pieces", 10_000, func(s *Scene) {
		s.Arrival, s.Spread, s.Film, s.Titles, s.Piece, s.Unit = "uniform", 10*time.Minute, 10*time.Minute, 50, 128, "piece"
	}),
	plain("hiccup", "16 viewers within a minute, the origin frozen 4 s a minute, peers silent", 16, func(s *Scene) {
		s.Arrival, s.Spread, s.Freeze, s.FreezeIn, s.Silent = "uniform", time.Minute, 4*time.Second, time.Minute, 1
	}),
	plain("hostile", "64 viewers within 30 s: 10 % send wrong bytes, 20 % serve nobody, 30 % never answer, 10 % claim and do not fetch", 64, func(s *Scene) {
		s.Arrival, s.Spread = "uniform", 30*time.Second
		s.Polluters, s.FreeRiders, s.Stalled, s.Claimers = 0.1, 0.2, 0.3, 0.1
	}),
	plain("restless", "40 viewers within a minute who seek, pause and leave, some behind NATs, with loss", 40, func(s *Scene) {
		s.Arrival, s.Spread, s.Seeks, s.Pauses, s.Leave, s.NAT, s.Loss, s.Jitter = "uniform", time.Minute, 40, 20, 0.3, 0.2, 0.002, 5*time.Millisecond
	}),
	plain("rehearsal-8", "the rehearsal's 8 at once: no delay, 60 s of film", 8, rehearsal),
	plain("rehearsal-stagger-8", "the rehearsal's 8, one every 5 s: no delay, 60 s of film", 8, func(s *Scene) {
		rehearsal(s)
		s.Arrival, s.Spread = "stagger", 5*time.Second
	}),
}
