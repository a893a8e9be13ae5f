package vod

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// OperatorPolicy is what the operator allows viewers to do for one another: the switch, and everything short of it. Its
// zero value allows nothing; DefaultPolicy is where a service begins.
type OperatorPolicy struct {
	P2P         bool      `json:"p2p" doc:"Viewers may use peers at all."`
	UplinkKbps  int       `json:"uplink_kbps" minimum:"0" maximum:"10000000" doc:"Each viewer's upload limit; 0 is none."`
	SharePPM    int       `json:"share_ppm" minimum:"0" maximum:"1000000" doc:"How many in a million viewers may use peers, drawn once and for all."`
	HoldOutPPM  int       `json:"hold_out_ppm" minimum:"0" maximum:"500000" doc:"How many in a million of these play by HTTP alone all the same, for comparison."`
	NetworksOff []string  `json:"networks_off" maxItems:"1000" nullable:"false" doc:"Networks without peers: AS64500, or prefixes such as 192.0.2.0/24."`
	TitlesOff   []TitleID `json:"titles_off" maxItems:"1000" nullable:"false" doc:"Titles without peers."`
	AutoOff     bool      `json:"auto_off" doc:"Peers are switched off by themselves where viewers who share fare worse than the hold-out group."`
	PricePerGB  float64   `json:"price_per_gb" minimum:"0" maximum:"1000000" doc:"What 10^9 bytes of egress cost."`
	Currency    string    `json:"currency" maxLength:"8" pattern:"^[A-Za-z€$£¥]*$" doc:"In which, for instance EUR."`
}

// DefaultPolicy allows everybody peers but one viewer in twenty.
func DefaultPolicy() OperatorPolicy {
	return OperatorPolicy{P2P: true, SharePPM: 1_000_000, HoldOutPPM: 50_000, AutoOff: true, NetworksOff: []string{}, TitlesOff: []TitleID{}}
}

// policyListMax bounds each of a policy's lists.
const policyListMax = 1000

// Check brings a policy into its normal form, and returns ErrInvalid with what is wrong with it.
func (p *OperatorPolicy) Check() error {
	switch {
	case p.UplinkKbps < 0 || p.UplinkKbps > 10_000_000:
		return fmt.Errorf("%w: an uplink of %d kbit/s", ErrInvalid, p.UplinkKbps)
	case p.SharePPM < 0 || p.SharePPM > drawn:
		return fmt.Errorf("%w: a share of %d in a million", ErrInvalid, p.SharePPM)
	case p.HoldOutPPM < 0 || p.HoldOutPPM > drawn/2:
		return fmt.Errorf("%w: a hold-out of %d in a million: the most is half", ErrInvalid, p.HoldOutPPM)
	case !(p.PricePerGB >= 0 && p.PricePerGB <= 1e6): // nor not a number
		return fmt.Errorf("%w: a price of %v", ErrInvalid, p.PricePerGB)
	case len(p.Currency) > 8:
		return fmt.Errorf("%w: the currency %q", ErrInvalid, p.Currency)
	case len(p.NetworksOff) > policyListMax || len(p.TitlesOff) > policyListMax:
		return fmt.Errorf("%w: more than %d networks or titles", ErrInvalid, policyListMax)
	}
	networks, titles := make([]string, 0, len(p.NetworksOff)), make([]TitleID, 0, len(p.TitlesOff))
	for _, s := range p.NetworksOff {
		n, err := parseNetwork(s)
		if err != nil {
			return err
		}
		networks = append(networks, n.String())
	}
	for _, t := range p.TitlesOff {
		if !t.Valid() {
			return fmt.Errorf("%w: %q is no title", ErrInvalid, t)
		}
		titles = append(titles, t)
	}
	slices.Sort(networks)
	slices.Sort(titles)
	p.NetworksOff, p.TitlesOff = slices.Compact(networks), slices.Compact(titles)
	return nil
}

// network is one entry of a list of networks.
type network struct {
	number uint32
	prefix netip.Prefix
}

func (n network) String() string {
	if n.number != 0 {
		return "AS" + strconv.FormatUint(uint64(n.number), 10)
	}
	return n.prefix.String()
}

func parseNetwork(s string) (n network, err error) {
	if digits, ok := strings.CutPrefix(strings.ToUpper(s), "AS"); ok {
		number, err := strconv.ParseUint(digits, 10, 32)
		if err == nil && number != 0 {
			return network{number: uint32(number)}, nil
		}
	} else if p, err := netip.ParsePrefix(s); err == nil && (p.Addr().Is4() && p.Bits() <= 24 || p.Addr().Is6() && p.Bits() <= 48) {
		return network{prefix: p.Masked()}, nil // nobody's address is kept more exactly
	}
	return n, fmt.Errorf("%w: %q: want a network such as AS64500, or a prefix such as 192.0.2.0/24, at most /24 (IPv6: /48)", ErrInvalid, s)
}

// Networks is a list of networks, ready to be asked.
type Networks []network

// Off is the networks without peers. Entries that Check refuses are left out.
func (p *OperatorPolicy) Off() (list Networks) {
	for _, s := range p.NetworksOff {
		if n, err := parseNetwork(s); err == nil {
			list = append(list, n)
		}
	}
	return list
}

// Has says whether an address, of that autonomous system where it is known, is in one of the networks.
func (l Networks) Has(ip netip.Addr, number uint32) bool {
	ip = ip.Unmap().WithZone("")
	for _, n := range l {
		if n.number != 0 && n.number == number || n.prefix.IsValid() && ip.IsValid() && n.prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// Buckets is into how many buckets the viewers of a group are dealt: the units of which comparisons take the variance, so
// that one viewer's many sessions never count as many viewers.
const Buckets = 64

// drawn is out of how many a viewer's lots are drawn.
const drawn = 1_000_000

// Draw is a viewer's lots: the same for ever, independent of one another, and not to be foreseen without the salt.
type Draw struct {
	Share   int // below drawn: may use peers where it is below SharePPM
	HoldOut int // below drawn: plays by HTTP alone where it is below HoldOutPPM
	Bucket  int // below Buckets
}

// DrawOf draws for a viewer: a member's ID, or a stranger's play session.
func DrawOf(salt []byte, viewer string) Draw {
	m := hmac.New(sha256.New, salt)
	m.Write([]byte(viewer))
	sum := m.Sum(nil)
	return Draw{
		Share:   int(binary.BigEndian.Uint64(sum) % drawn),
		HoldOut: int(binary.BigEndian.Uint64(sum[8:]) % drawn),
		Bucket:  int(binary.BigEndian.Uint64(sum[16:]) % Buckets),
	}
}

// GroupOf is the group of a viewer for whom nothing else speaks against peers.
func (p *OperatorPolicy) GroupOf(d Draw) Group {
	switch {
	case !p.P2P || d.Share >= p.SharePPM:
		return GroupNone
	case d.HoldOut < p.HoldOutPPM:
		return GroupHoldOut
	}
	return GroupSharing
}

// PolicyVersion is a policy as it was put into force.
type PolicyVersion struct {
	Version int64          `json:"version" doc:"Counts from 1; 0 where nobody has changed anything yet."`
	At      time.Time      `json:"at"`
	Who     string         `json:"who" doc:"The operator, or essaim itself."`
	Why     string         `json:"why"`
	Policy  OperatorPolicy `json:"policy"`
}

// PolicyBook keeps the operator's policy and every version of it, for all nodes.
type PolicyBook interface {
	// Policy is the version in force.
	Policy(ctx context.Context) (PolicyVersion, error)
	// ChangePolicy applies change to the version in force, and puts the result into force as the next, unless it changes
	// nothing. The error of change is returned as it is; ErrInvalid for a result that Check refuses.
	ChangePolicy(ctx context.Context, who, why string, change func(*OperatorPolicy) error) (PolicyVersion, error)
	// PolicyVersions lists versions, the last first, at most so many, all of them before that version; 0 is no bound.
	PolicyVersions(ctx context.Context, before int64, most int) ([]PolicyVersion, error)
}
