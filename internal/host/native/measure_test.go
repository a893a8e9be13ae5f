package native

import (
	"testing"
	"time"

	"essaim/internal/engine"
)

// overheard is an engine whose inputs of one kind are told.
type overheard struct {
	Stepper
	kind engine.InputKind
	told chan engine.Input // has room for one
}

func (o *overheard) Step(now engine.Instant, in engine.Input, out []engine.Output) []engine.Output {
	if in.Kind == o.kind {
		select {
		case o.told <- in:
		default:
		}
	}
	return o.Stepper.Step(now, in, out)
}

func TestRoundTripIsMeasuredWhileBlocksGoOut(t *testing.T) {
	f := newFilm(t, 1<<20)
	p := newPlace(t, f)
	ctx := deadline(t)
	cfg := p.config()
	ear := &overheard{Stepper: engine.New(), kind: engine.PathMeasured, told: make(chan engine.Input, 1)}
	cfg.Engine = ear
	a := open(t, cfg)
	if err := watch(ctx, a, f, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case in := <-ear.told:
		t.Fatalf("%+v before anything was sent", in)
	default:
	}
	cfg = p.config()
	note, up := awaitNote(engine.NotePeerUp)
	cfg.Note = note
	b := open(t, cfg)
	b.Moved(inNoHurry)
	await(t, ctx, up, "a peer")
	if err := watch(ctx, b, f, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case in := <-ear.told:
		if in.Peer == 0 || in.Length == 0 || in.Length > 5_000_000 {
			t.Errorf("peer %d, %d µs", in.Peer, in.Length)
		}
	case <-ctx.Done():
		t.Error("no round trip was measured")
	}
}

func TestRoundTripIsTheMeanOfNewAnswers(t *testing.T) {
	var trips roundTrips
	for i, x := range []struct {
		answers uint64
		total   float64
		want    time.Duration
	}{
		{0, 0, 0},
		{2, 0.0625, 31_250 * time.Microsecond},
		{2, 0.0625, 0}, // none came
		{3, 0.1875, 125 * time.Millisecond},
		{1, 0.03125, 0}, // another pair: where it stood before is not known
		{2, 0.0625, 31_250 * time.Microsecond},
	} {
		if got := trips.since(x.answers, x.total); got != x.want {
			t.Errorf("step %d: %v, want %v", i, got, x.want)
		}
	}
}
