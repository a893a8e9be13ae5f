package sim

import (
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Scene is a crowd, its films, its links and its faults. The zero value is none; start from Lookup. Every setting can be
// changed by name with Set; its documentation is the field's tag.
type Scene struct {
	name, doc string

	Viewers  int           `set:"viewers" doc:"how many press play"`
	Arrival  string        `set:"arrival" doc:"flash (within spread), stagger (one every spread), uniform (at random within spread)"`
	Spread   time.Duration `set:"spread" doc:"see arrival"`
	Film     time.Duration `set:"film" doc:"length of each film"`
	Played   time.Duration `set:"seconds" doc:"film that each viewer plays; 0: all of it"`
	Bitrate  Rate          `set:"bitrate" doc:"of the films, constant"`
	Piece    int           `set:"piece" doc:"piece length in KiB"`
	Unit     string        `set:"unit" doc:"what viewers ask one another for at a time: block (16 KiB) or piece, for very large crowds"`
	Titles   int           `set:"titles" doc:"number of films"`
	Zipf     float64       `set:"zipf" doc:"exponent of their popularity"`
	Cache    float64       `set:"cache" doc:"gigabytes of film watched before, held at arrival"`
	Linger   time.Duration `set:"linger" doc:"how long the page stays open when the film has ended"`
	Down     Rate          `set:"down" doc:"each viewer's downlink"`
	Up       Rate          `set:"up" doc:"each viewer's uplink"`
	Limit    Rate          `set:"limit" doc:"limit of the uplink that the engine is told; 0: none"`
	Delay    time.Duration `set:"delay" doc:"one way between any two"`
	Jitter   time.Duration `set:"jitter" doc:"more of it, at random, per message"`
	Loss     float64       `set:"loss" doc:"share of packets lost; each costs a round trip more"`
	Setup    time.Duration `set:"setup" doc:"work of setting up a connection, beside its sixteen one-way delays"`
	NAT      float64       `set:"nat" doc:"share of viewers whose NAT keeps them from meeting each other"`
	Consent  float64       `set:"consent" doc:"share of viewers who share; the others use HTTP alone"`
	Origin   Rate          `set:"origin" doc:"origin's limit for all together; 0: none"`
	FallAt   time.Duration `set:"fall_at" doc:"when the origin's limit changes; 0: never"`
	FallTo   Rate          `set:"fall_to" doc:"to what"`
	Freeze   time.Duration `set:"freeze" doc:"how long the origin sends nothing"`
	FreezeIn time.Duration `set:"freeze_in" doc:"how often, the first time after half of it; 0: never"`
	Seeks    float64       `set:"seeks" doc:"jumps of each viewer per hour, to a place at random"`
	Pauses   float64       `set:"pauses" doc:"pauses of each viewer per hour, of 30 s on average"`
	Switches float64       `set:"switches" doc:"changes of rendition of each viewer per hour; above 0 films have a second one, of half the bit rate"`
	Leave    float64       `set:"leave" doc:"share of viewers who leave before the end, half of them without a word"`

	Polluters  float64 `set:"polluters" doc:"share of viewers whose blocks are wrong"`
	FreeRiders float64 `set:"freeriders" doc:"share who serve nobody"`
	Stalled    float64 `set:"stalled" doc:"share who take requests and never answer"`
	Claimers   float64 `set:"claimers" doc:"share who say that they fetch, and never do"`
	Silent     float64 `set:"silent" doc:"share who connect and say nothing"`

	Policy string `set:"policy" doc:"essaim; urgent: the origin is asked only for what is urgent; http: no peers at all"`
}

// Rate is in bits per second; Set takes 4M, 800k or a number.
type Rate int64

// Bytes is the rate in bytes per second.
func (r Rate) Bytes() int64 { return int64(r) / 8 }

// String is how Set takes it.
func (r Rate) String() string {
	switch {
	case r != 0 && r%1_000_000 == 0:
		return strconv.FormatInt(int64(r)/1_000_000, 10) + "M"
	case r != 0 && r%1_000 == 0:
		return strconv.FormatInt(int64(r)/1_000, 10) + "k"
	}
	return strconv.FormatInt(int64(r), 10)
}

func parseRate(s string) (Rate, error) {
	unit := float64(1)
	switch {
	case strings.HasSuffix(s, "M"):
		unit, s = 1e6, s[:len(s)-1]
	case strings.HasSuffix(s, "k"):
		unit, s = 1e3, s[:len(s)-1]
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v*unit <= 1e12) {
		return 0, fmt.Errorf("want bits per second, for instance 4M or 800k")
	}
	return Rate(v * unit), nil
}

// Setting is one of a scene's settings.
type Setting struct{ Name, Value, Doc string }

// Name is the scene's.
func (s *Scene) Name() string { return s.name }

// Doc says in a line what happens in it.
func (s *Scene) Doc() string { return s.doc }

// Settings lists all settings with their values, in the order of their declaration.
func (s *Scene) Settings() []Setting {
	var list []Setting
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name := f.Tag.Get("set"); name != "" {
			list = append(list, Setting{name, fmt.Sprint(v.Field(i).Interface()), f.Tag.Get("doc")})
		}
	}
	return list
}

// Set changes a setting. Errors name what is known, or what the value should be.
func (s *Scene) Set(name, value string) error {
	v := reflect.ValueOf(s).Elem()
	var known []string
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag.Get("set")
		if tag == "" {
			continue
		}
		known = append(known, tag)
		if tag != name {
			continue
		}
		if err := set(v.Field(i), value); err != nil {
			return fmt.Errorf("setting %s=%s: %w", name, value, err)
		}
		return nil
	}
	return fmt.Errorf("no setting %q; there are %s", name, strings.Join(known, ", "))
}

func set(f reflect.Value, value string) error {
	switch f.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 || d > 1000*time.Hour {
			return fmt.Errorf("want a duration, for instance 40ms or 10s")
		}
		f.SetInt(int64(d))
	case Rate:
		r, err := parseRate(value)
		if err != nil {
			return err
		}
		f.SetInt(int64(r))
	case int:
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > 1_000_000 {
			return fmt.Errorf("want a whole number up to a million")
		}
		f.SetInt(int64(n))
	case float64:
		x, err := strconv.ParseFloat(value, 64)
		if err != nil || !(x >= 0 && x <= 1e6) {
			return fmt.Errorf("want a number, 0 or more")
		}
		f.SetFloat(x)
	default:
		f.SetString(value)
	}
	return nil
}

// check refuses what cannot be played.
func (s *Scene) check() error {
	oneOf := func(name, value string, of ...string) error {
		for _, x := range of {
			if x == value {
				return nil
			}
		}
		return fmt.Errorf("setting %s=%s: want %s", name, value, strings.Join(of, ", "))
	}
	if err := oneOf("arrival", s.Arrival, "flash", "stagger", "uniform"); err != nil {
		return err
	}
	if err := oneOf("policy", s.Policy, "essaim", "urgent", "http"); err != nil {
		return err
	}
	if err := oneOf("unit", s.Unit, "block", "piece"); err != nil {
		return err
	}
	for _, share := range []struct {
		name string
		of   float64
	}{
		{"loss", s.Loss},
		{"nat", s.NAT},
		{"consent", s.Consent},
		{"leave", s.Leave},
		{"polluters", s.Polluters},
		{"freeriders", s.FreeRiders},
		{"stalled", s.Stalled},
		{"claimers", s.Claimers},
		{"silent", s.Silent},
	} {
		if share.of > 1 {
			return fmt.Errorf("setting %s=%v: want a share from 0 to 1", share.name, share.of)
		}
	}
	switch bytes := int64(s.Film/time.Second) * s.Bitrate.Bytes(); {
	case s.Viewers < 1 || s.Viewers > 200_000:
		return fmt.Errorf("setting viewers=%d: want 1 to 200000", s.Viewers)
	case s.Titles < 1 || s.Titles > 10_000:
		return fmt.Errorf("setting titles=%d: want 1 to 10000", s.Titles)
	case s.Film < segment || s.Film%segment != 0:
		return fmt.Errorf("setting film=%v: want whole segments of %v", s.Film, segment)
	case s.Piece < 16 || s.Piece > 4096 || s.Piece&(s.Piece-1) != 0:
		return fmt.Errorf("setting piece=%d: want a power of two from 16 to 4096", s.Piece)
	case s.Bitrate < 8_000 || bytes > 1<<36:
		return fmt.Errorf("setting bitrate=%v: want 8k or more, and films below 64 GiB", s.Bitrate)
	case s.Down < 8_000 || s.Up < 8_000:
		return fmt.Errorf("settings down=%v, up=%v: want 8k or more", s.Down, s.Up)
	case s.Delay < time.Millisecond || s.Delay > 10*time.Second:
		return fmt.Errorf("setting delay=%v: want 1ms to 10s", s.Delay)
	case s.FreezeIn > 0 && s.Freeze >= s.FreezeIn:
		return fmt.Errorf("setting freeze=%v: want less than freeze_in=%v", s.Freeze, s.FreezeIn)
	case s.FallAt > 0 && s.FallTo == 0:
		return fmt.Errorf("setting fall_to=0: want a rate, as fall_at is set")
	}
	return nil
}

// Names lists the scenes, sorted.
func Names() []string {
	var names []string
	for i := range scenes {
		names = append(names, scenes[i].name)
	}
	sort.Strings(names)
	return names
}

// Lookup returns a copy of the scene of that name.
func Lookup(name string) (Scene, bool) {
	for i := range scenes {
		if scenes[i].name == name {
			return scenes[i], true
		}
	}
	return Scene{}, false
}
