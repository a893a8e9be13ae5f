/**
 * Decides what is said to the tracker whenever the engine would announce, which it does every half minute: all of it when something is
 * asked for, has to be told or is not as we said, and else, once in the tracker's interval, only that we are still there, if the tracker
 * knows what that means. The native host does the same; internal/host/hosttest/renewals holds both to it.
 */

/** What an announce says of us that stays true for a while. */
export interface Self {
  /** Play head, in ms of film. */
  positionMs: number;
  rendition: number;
  upKbps: number;
  ticket?: string;
}

/** What to say: nothing, that we are still there and all is as we said, or all of it. */
export type Word = "nothing" | "still" | "all";

/** Between announces until the tracker says, and the bounds of what it may say, in ms. */
const intervalFirst = 30_000;
const intervalMin = 10_000;
const intervalMax = 30 * 60_000;
/** The least that counts of the tracker's promise to say something, in ms. */
const stillMin = 1_000;
/** By how much the play head may be elsewhere than the tracker must think, in ms: half of what keeps a viewer in step with its cohort. */
const driftMax = 1_000;

/** What was said on one connection, and is answered. Times are ms on a clock that never falls. */
export class Renewal {
  private said: Self | undefined;
  private all = 0; // when it was said
  private any = 0; // when anything was said
  private asked = false; // and is not answered yet
  private interval = intervalFirst;
  private promise = 0; // within which the tracker says something to who is not answered; 0: it answers everything

  /** What to say now; `pressing`: there is an event, an outcome, or the wish to meet somebody. */
  next(now: number, self: Self, pressing: boolean): Word {
    if (pressing || this.asked || !this.isTrue(now, self)) return "all";
    if (now - this.any < this.interval * 0.9) return "nothing"; // the engine is not that punctual
    return this.promise > 0 ? "still" : "all";
  }

  /** Notes what is said now. */
  tell(now: number, word: Word, self: Self): void {
    this.any = now;
    if (word !== "all") return;
    this.said = self;
    this.all = now;
    this.asked = true;
  }

  /** Notes what the tracker says of the swarm: until when it wants to hear nothing, and its promise, in seconds; 0: it does not say. */
  answered(interval: number, still: number): void {
    this.asked = false;
    this.interval = interval > 0 ? within(intervalMin, interval * 1000) : intervalFirst;
    this.promise = still > 0 ? within(stillMin, still * 1000) : 0;
  }

  /** Notes that what was said went for nothing. */
  refused(): void {
    this.said = undefined;
    this.asked = false;
    this.promise = 0;
  }

  /** How long the tracker may say nothing at all, in ms; 0: for good, but it answers what it is asked. */
  get patience(): number {
    return this.promise * 1.5;
  }

  private isTrue(now: number, self: Self): boolean {
    const then = this.said;
    return (
      then !== undefined &&
      Math.abs(self.positionMs - then.positionMs - (now - this.all)) <= driftMax &&
      self.rendition === then.rendition &&
      self.upKbps === then.upKbps &&
      self.ticket === then.ticket
    );
  }
}

function within(least: number, ms: number): number {
  return Math.max(least, Math.min(ms, intervalMax));
}
