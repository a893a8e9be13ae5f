package vod

import (
	"context"
	"time"
)

// Age is a number of years, or none: the zero Age.
type Age struct {
	Set   bool
	Years int // 0 to AgeMax
}

// AgeMax bounds an Age.
const AgeMax = 21

// Admits reports whether a profile with the limit a is shown what is rated for that age. Where there is a limit, what nobody
// has rated is not.
func (a Age) Admits(rating Age) bool { return !a.Set || rating.Set && rating.Years <= a.Years }

// Profile is one of the people of a household, who share an account.
type Profile struct {
	ID       string
	Name     string // 1 to 40 characters
	Limit    Age    // the kids' limit: what is rated for more years, or not at all, is not there
	Language string // of the pages, BCP 47; empty: the browser's
}

// The bounds of what is kept for a household.
const (
	ProfilesMax  = 8   // of a member
	ListMax      = 500 // titles on a profile's list
	PositionsMax = 500 // of a profile; the oldest goes first
)

// Position is where a profile has come to in a title.
type Position struct {
	Title      TitleID
	PositionMs uint32
	DurationMs uint32 // of the title as it was played; above 0
	Audio      string // language of the sound, BCP 47; empty: not known
	Subtitles  string // language, BCP 47; empty: none were shown
	At         time.Time
}

// Watched reports whether so much of the title is over, 95 %, that it counts as seen.
func (p *Position) Watched() bool { return uint64(p.PositionMs)*100 > uint64(p.DurationMs)*95 }

// Profiles keeps who watches in a household, and for each of them a list of titles and where they have come to.
type Profiles interface {
	// Of lists the member's profiles, the first made first; there is always one.
	Of(ctx context.Context, m Member) ([]Profile, error)
	// Current is who watches on the device: whom it chose, else the first, and then chosen is false.
	Current(ctx context.Context, d DeviceSession) (p Profile, chosen bool, err error)
	// Choose says who watches on the device from now on; ErrNotFound for another member's profile.
	Choose(ctx context.Context, d DeviceSession, id string) error
	// Add makes a profile, whose ID it draws. ErrInvalid; ErrConflict where there are ProfilesMax.
	Add(ctx context.Context, m Member, p Profile) (Profile, error)
	// Change changes the profile of that ID; ErrInvalid, ErrNotFound.
	Change(ctx context.Context, m Member, p Profile) error
	// Remove takes a profile away with what was kept for it; ErrNotFound, and ErrConflict for the last.
	Remove(ctx context.Context, m Member, id string) error

	// List is what the profile keeps for later, the title added last first.
	List(ctx context.Context, profile string) ([]TitleID, error)
	// Keep adds a title to the list of one of m's profiles, once; ErrConflict where there are ListMax.
	Keep(ctx context.Context, m Member, profile string, title TitleID) error
	// Drop takes a title off the list, whether it is there or not.
	Drop(ctx context.Context, profile string, title TitleID) error

	// Positions are the profile's, the newest first, at most so many.
	Positions(ctx context.Context, profile string, most int) ([]Position, error)
	// Position is where the profile is in a title; ErrNotFound where it has not begun.
	Position(ctx context.Context, profile string, title TitleID) (Position, error)
	// Save keeps where one of m's profiles is, dated now: of several devices the last to speak is right. ErrInvalid for a
	// duration of 0 or a language that cannot be; a position beyond the end is the end.
	Save(ctx context.Context, m Member, profile string, p Position) error
	// Forget takes a position away, whether it is there or not.
	Forget(ctx context.Context, profile string, title TitleID) error
}
