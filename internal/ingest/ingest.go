// Package ingest turns a film file into a published title: probe, plan, package with ffmpeg, check, hash, store, publish.
// It must get right that nothing half-made is ever visible or left behind, that what is not open to all leaves it encrypted, that the film's own bytes are kept wherever
// browsers can play them as they are, and that no file, however strange, does more than be refused in one line.
package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"essaim/internal/blob"
	"essaim/internal/vod"
)

// Request says what to ingest, and as what.
type Request struct {
	File    string      // path of the film
	ID      vod.TitleID // empty: made from Name
	Name    string      // empty: the file's name without its extension
	Summary string
	Open    bool // anyone may watch and join its swarm
	// Scheme is how a title that is not open is encrypted; empty: vod.CBCS. Open titles stay in the clear, whatever it says.
	Scheme    vod.Scheme
	Preset    string     // x264's, for what must be encoded; empty: "fast"
	Codec     Codec      // what a picture that must be encoded becomes; empty: H264
	Subtitles []SideFile // beside those in the film
	Ladder    bool       // smaller renditions beside a picture that is kept as it is, too
	// NoSandbox runs ffmpeg with this user's rights where a sandbox cannot be had: for films of one's own alone.
	NoSandbox bool
}

// same reports whether two requests ask for the very same.
func (r *Request) same(o *Request) bool {
	a, err1 := json.Marshal(r)
	b, err2 := json.Marshal(o)
	return err1 == nil && err2 == nil && string(a) == string(b)
}

// Result is what became of a request.
type Result struct {
	Title     vod.Title
	Reencoded bool   // some track was encoded anew
	Reason    string // why, in words for the operator; empty when nothing was
}

// Progress is told how far a step is: 0 ≤ done ≤ 1. It is called often, from one goroutine at a time.
type Progress func(step string, done float64)

// Stores are where a title goes.
type Stores struct {
	Objects   blob.Store
	Titles    vod.Titles // to refuse a taken ID before hours of work; may be nil
	Publisher vod.Publisher
	Keys      vod.ContentKeys // of titles that are not open, which are refused without; open ones need none
	Jobs      *Jobs           // keeps the job, so that it can be resumed; nil: it ends with its process, and leaves nothing
	Temp      string          // folder for work in progress, on the same disk as the data; made if missing
}

// What vod.Title.Validate allows.
const (
	nameMax    = 500
	summaryMax = 20_000
)

var idForm = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// A Job is a film that was probed and can be ingested.
type Job struct {
	req  Request
	plan plan
	film *film
	id   string // as Jobs keeps it; empty: not kept
	keys string // under which it draws its keys
}

// Prepare looks at the film and decides what to do, and touches nothing else. Its error is a sentence for the operator.
func Prepare(ctx context.Context, r Request, p Progress) (*Job, error) {
	if p == nil {
		p = func(string, float64) {}
	}
	if r.Name = strings.TrimSpace(r.Name); r.Name == "" {
		base := filepath.Base(r.File)
		r.Name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	switch { // what would be refused in the end is refused before the work
	case len(r.Name) > nameMax || len(r.Summary) > summaryMax:
		return nil, fmt.Errorf("a title has at most %d bytes, and a summary %d", nameMax, summaryMax)
	case !utf8.ValidString(r.Name) || !utf8.ValidString(r.Summary):
		return nil, errors.New("title and summary must be UTF-8; name the film with --title")
	}
	if r.ID == "" {
		r.ID = Slug(r.Name)
	}
	if !idForm.MatchString(string(r.ID)) || len(r.ID) > 64 {
		return nil, fmt.Errorf("%q cannot be a title's ID: 1 to 64 lower-case letters and digits, joined by single hyphens (--id)", r.ID)
	}
	r.Subtitles = slices.Clone(r.Subtitles)
	if err := checkSides(r.Subtitles); err != nil {
		return nil, err
	}
	if r.Codec == "" {
		r.Codec = H264
	}
	if !r.Codec.Valid() {
		return nil, fmt.Errorf("pictures are encoded as %s, %s or %s, not %q (--codec)", H264, VP9, AV1, r.Codec)
	}
	switch r.Scheme {
	case vod.CBCS, vod.CENC:
	case vod.Clear:
		r.Scheme = vod.CBCS
	default:
		return nil, fmt.Errorf("encryption is %s or %s, not %q (--scheme)", vod.CBCS, vod.CENC, r.Scheme)
	}
	tools, err := findTools(ctx, r.NoSandbox)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(r.File)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot read the film: %w", err)
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a file", r.File)
	case st.Size() == 0:
		return nil, fmt.Errorf("%s is empty", r.File)
	}
	f, err := tools.probe(ctx, r.File, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(r.File), err)
	}
	r.File, f.size, f.changed = f.path, st.Size(), st.ModTime()
	plan, err := decide(f, &r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(r.File), err)
	}
	return &Job{req: r, plan: plan, film: f}, nil
}

// Reencodes says whether tracks will be encoded anew, and why.
func (j *Job) Reencodes() (bool, string) { return j.plan.reason != "", j.plan.reason }

// ID is the title's ID, as asked for or as made from its name.
func (j *Job) ID() vod.TitleID { return j.req.ID }

// folded maps the letters of western European names to what stands for them in an ID.
var folded = strings.NewReplacer(
	"à", "a", "á", "a", "â", "a", "ã", "a", "ä", "a", "å", "a", "æ", "ae", "ç", "c", "è", "e", "é", "e", "ê", "e", "ë", "e",
	"ì", "i", "í", "i", "î", "i", "ï", "i", "ñ", "n", "ò", "o", "ó", "o", "ô", "o", "õ", "o", "ö", "o", "ø", "o", "œ", "oe",
	"ù", "u", "ú", "u", "û", "u", "ü", "u", "ý", "y", "ÿ", "y", "ß", "ss", "'", "", "’", "",
)

// Slug makes an ID of a name: its letters and digits in lower case, everything else as single hyphens. It is empty for a name
// without any letter that an ID may have.
func Slug(name string) vod.TitleID {
	var b strings.Builder
	gap := false
	for _, r := range folded.Replace(strings.ToLower(name)) {
		if r < 'a' || r > 'z' {
			if r < '0' || r > '9' {
				gap = b.Len() > 0
				continue
			}
		}
		if b.Len() >= 63 {
			break
		}
		if gap {
			b.WriteByte('-')
			gap = false
		}
		b.WriteRune(r)
	}
	return vod.TitleID(b.String())
}
