package vod

// RehearsalsMax bounds the rehearsals' play sessions that are open at once on a node, and their connections to its
// tracker: a rehearsal is exempt from what bounds one visitor, and not from what the machine can bear.
const RehearsalsMax = 1024

// RehearsalLabel says which rehearsal a play session belongs to: 1 to 64 letters, digits and hyphens, chosen by whoever
// rehearses. Sessions of one label share with one another and with nobody else.
type RehearsalLabel string

// Valid reports whether l has the form that RehearsalLabel describes.
func (l RehearsalLabel) Valid() bool {
	if len(l) < 1 || len(l) > 64 {
		return false
	}
	for i := range len(l) {
		if c := l[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// SyntheticCodec is what a synthetic video's file says of itself: H.264 of a profile and level that do not exist
// (ITU-T H.264, annex A), so that no player takes its random bytes for a film.
const SyntheticCodec = "avc1.000000"

// Synthetic reports whether the title only has the form of a film: boxes around random bytes, made to be rehearsed with.
func (t *Title) Synthetic() bool {
	for i := range t.Version.Files {
		if t.Version.Files[i].Codec == SyntheticCodec {
			return true
		}
	}
	return false
}
