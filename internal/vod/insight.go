package vod

import (
	"context"
	"time"
)

// Group is the part that a play session has in comparisons, settled when it begins, whatever becomes of it.
type Group string

// The groups.
const (
	GroupNone    Group = "none"    // peers were out of the question: no swarm, no consent, or a policy that forbids them
	GroupSharing Group = "sharing" // peers are allowed
	GroupHoldOut Group = "holdout" // peers would be allowed, but its viewer was drawn to play by HTTP alone
)

// PlayOpened is a play session that begins. It names neither a member nor an address.
type PlayOpened struct {
	Session   string
	Title     TitleID
	Group     Group
	Bucket    int    // of its viewer, below Buckets
	Network   uint32 // autonomous system, 0 for not known
	FilmBytes int64  // of all files of the version
	At        time.Time
}

// PlayReported is a player's report.
type PlayReported struct {
	Session    string
	Title      TitleID
	Group      Group // of the moment; it counts for a session that had none, whose viewer agreed to share meanwhile
	Bucket     int
	Network    uint32
	FilmBytes  int64
	DurationMs int64 // of the film
	Report     Heartbeat
	At         time.Time
}

// PlayReports takes what players report. Neither method waits for a disk, and neither fails: what cannot be kept is told
// in the log, and made up for by the session's next report, since all counts are totals.
type PlayReports interface {
	Opened(PlayOpened)
	Reported(PlayReported)
}

// Savings answers what viewers carried for the operator.
type Savings interface {
	// Savings sums up the days from..to, both included, in UTC, in rows by day or by title.
	Savings(ctx context.Context, from, to time.Time, by SavingsBy) (SavingsReport, error)
}

// SavingsBy says what the rows of a report are.
type SavingsBy string

// The kinds of rows.
const (
	ByDay   SavingsBy = "day"
	ByTitle SavingsBy = "title"
)

// SavingsReport is what viewers carried in some days.
type SavingsReport struct {
	From       string       `json:"from" doc:"The first day, in UTC."`
	To         string       `json:"to" doc:"The last day."`
	Price      float64      `json:"price_per_gb" doc:"Of a gigabyte (10^9 bytes) of egress, as the policy has it."`
	Currency   string       `json:"currency"`
	Total      SavingsRow   `json:"total"`
	Rows       []SavingsRow `json:"rows"`
	Comparison []Comparison `json:"comparison" doc:"The sharing group against the hold-out group, which plays by HTTP alone."`
}

// SavingsRow is what viewers carried of one title, on one day, or in all. Sessions that claimed what cannot be are left
// out of everything but Quarantined.
type SavingsRow struct {
	Key           string   `json:"key" doc:"The day or the title; empty for the total."`
	Sessions      int64    `json:"sessions" doc:"Play sessions that began."`
	PlayedMs      int64    `json:"played_ms" doc:"Film that was played, in milliseconds."`
	OriginBytes   int64    `json:"origin_bytes" doc:"Media bytes from the origin, as players counted them."`
	CountedBytes  int64    `json:"counted_bytes" doc:"Media bytes that the origin counted itself, whoever took them; rehearsals left out."`
	PeerBytes     int64    `json:"peer_bytes" doc:"Media bytes from other viewers, relayed ones included."`
	RelayedBytes  int64    `json:"relayed_bytes" doc:"Those of them that went through the operator's relays: they count as the origin's."`
	WastedBytes   int64    `json:"wasted_bytes" doc:"Bytes that came twice, from wherever: they avoided nothing."`
	CachedBytes   int64    `json:"cached_bytes" doc:"Bytes that viewers still held from an earlier visit; not part of the offload."`
	SentBytes     int64    `json:"sent_bytes" doc:"Media bytes that viewers say they sent to one another."`
	Discrepancy   float64  `json:"discrepancy" doc:"What is said to have been received from viewers and nobody says to have sent, as a share of it; below 0 where more was sent."`
	Quarantined   int64    `json:"quarantined" doc:"Sessions left out because what they claimed cannot be."`
	Offload       float64  `json:"offload" doc:"The share of the received media bytes that cost the operator nothing."`
	Bound         float64  `json:"bound" doc:"What that share could be at most with the viewers there were, had nobody kept anything."`
	Crowd         float64  `json:"crowd" doc:"Viewers of the same rendition at once, as the average viewer met them."`
	OriginCopies  *float64 `json:"origin_copies" doc:"How often the operator sent what was watched; null where the title is gone."`
	AvoidedBytes  int64    `json:"avoided_bytes" doc:"Egress that was avoided."`
	AvoidedAmount float64  `json:"avoided_amount" doc:"Its price."`
	Introductions int64    `json:"introductions" doc:"Pairs of viewers that were to meet, as both sides tell."`
	Connected     int64    `json:"connected" doc:"Those that met."`
}

// Comparison holds one measure of the sharing group against the hold-out group's.
type Comparison struct {
	Measure         string  `json:"measure" enum:"stalls_per_hour,startup_ms,failed_share" doc:"Of start-up times, the geometric mean."`
	Sharing         float64 `json:"sharing"`
	HoldOut         float64 `json:"hold_out"`
	SharingSessions int64   `json:"sharing_sessions"`
	HoldOutSessions int64   `json:"hold_out_sessions"`
	Difference      float64 `json:"difference" doc:"Sharing less hold-out; of start-up times, sharing over hold-out. Less is better."`
	Low             float64 `json:"low" doc:"The lower end of its 95 % confidence interval."`
	High            float64 `json:"high" doc:"The upper end."`
	Known           bool    `json:"known" doc:"There are viewers enough in both groups for an interval; otherwise low, high and difference are 0."`
}
