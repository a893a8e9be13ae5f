package vod

import (
	"context"
	"net/netip"
	"time"
)

// Visit is whence somebody signs in.
type Visit struct {
	Device  string       // what it is, in words, for its owner's list of devices
	Network netip.Prefix // the zero value where addresses say nothing
}

// Device is one of a member's device sessions, as its owner sees it.
type Device struct {
	ID      string // the device session's
	Name    string // such as "Firefox · Linux"; empty where it is not known
	Opened  time.Time
	Seen    time.Time // to about a minute
	Expires time.Time
}

// Accounts is what people do with their own accounts.
type Accounts interface {
	// Devices lists a member's device sessions, the one seen last first.
	Devices(ctx context.Context, member string) ([]Device, error)
	// EndDevice ends one of the device sessions of s's member; ErrNotFound for anybody else's.
	EndDevice(ctx context.Context, s DeviceSession, id string) error
	// EndDevices ends all of them, s too, and says how many there were.
	EndDevices(ctx context.Context, s DeviceSession) (int, error)
	// SetPassword changes the password, which ends all sessions but s. ErrUnauthorized where current is not the present one;
	// a LaterError after too many such tries.
	SetPassword(ctx context.Context, s DeviceSession, current, password string) error
	// Confirm reports by ErrUnauthorized that the password is not s's member's; a LaterError after too many such tries.
	Confirm(ctx context.Context, s DeviceSession, password string) error
	// SignUp makes an account on PlanStandard and signs it in. ErrConflict for a name that is taken; a LaterError for a
	// network whence too many come.
	SignUp(ctx context.Context, name, password string, from Visit) (token string, s DeviceSession, err error)
	// Link is what a one-time link is for; ErrNotFound for one that was used, has expired, or never was.
	Link(ctx context.Context, token string) (Link, error)
	// UseLink sets the password, of a new account of that name or of the one that the link is for, and signs it in. Of
	// several who use a link at once one succeeds; ErrNotFound for the others.
	UseLink(ctx context.Context, token, name, password string, from Visit) (session string, s DeviceSession, err error)
}

// LinkKind is what a one-time link is for.
type LinkKind string

// The kinds of one-time link.
const (
	LinkInvitation LinkKind = "invitation" // a new account
	LinkOperator   LinkKind = "operator"   // a new account with the role operator
	LinkReset      LinkKind = "reset"      // a new password for an account
)

// Link is a one-time link. Its token is told once, to who made it.
type Link struct {
	ID      string
	Kind    LinkKind
	Role    Role   // of the new account
	Plan    string // of the new account
	Member  string // ID of the account whose password is reset
	Name    string // its name
	Note    string // whom it is for, in the words of who made it
	Expires time.Time
}

// Links makes one-time links.
type Links interface {
	// Invite makes one for a new account; of the link Role, Plan, Note and Expires are read. ErrInvalid.
	Invite(ctx context.Context, by Actor, l Link) (token string, made Link, err error)
	// Reset makes one for a new password of the member of that ID; those made before are good no more. ErrNotFound.
	Reset(ctx context.Context, by Actor, member string) (token string, made Link, err error)
	// List returns those that can still be used, the newest first.
	List(ctx context.Context) ([]Link, error)
	// Withdraw ends one; ErrNotFound.
	Withdraw(ctx context.Context, by Actor, id string) error
}

// MemberEntry is a member as operators see them.
type MemberEntry struct {
	Member
	Subscription
	Created time.Time
	Devices int // signed in
}

// Directory is the operators' view of the members.
type Directory interface {
	// List returns up to most members whose name contains like, in the order of names, after the name after.
	List(ctx context.Context, like, after string, most int) ([]MemberEntry, error)
	// SetRole gives a role; ErrNotFound, and ErrConflict for taking it from the last operator.
	SetRole(ctx context.Context, by Actor, member string, role Role) error
	// SignOut ends all device sessions of the member of that ID and says how many there were; ErrNotFound.
	SignOut(ctx context.Context, by Actor, member string) (int, error)
	// Remove deletes an account with all that is known of it, the audit log aside; ErrNotFound, and ErrConflict for the last
	// operator.
	Remove(ctx context.Context, by Actor, member string) error
}

// AuditEntry says who changed what.
type AuditEntry struct {
	Number  int64 // grows from entry to entry
	At      time.Time
	By      Actor
	Action  string // such as "member.role"
	Subject string // whom or what it was done to
	Detail  string
}

// AuditLog keeps who changed what. It holds no secrets, and as many entries as its room has.
type AuditLog interface {
	// Record writes an entry. What the members' room does itself is recorded by it, in the same transaction.
	Record(ctx context.Context, by Actor, action, subject, detail string) error
	// Entries returns up to most entries with numbers below before, the latest first; before 0 is from the end.
	Entries(ctx context.Context, before int64, most int) ([]AuditEntry, error)
}
