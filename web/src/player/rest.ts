/**
 * When a player rests, and when it wakes. A page that nobody sees and that plays nothing gives nothing to others after five
 * minutes; and after the machine has slept, or the network has gone and come back, nothing that was on its way can be trusted
 * to arrive. It must leave neither timer nor listener behind, and must not mistake a busy moment, or a hidden page's slowed
 * timers, for sleep.
 */

/** A page that is hidden and paused for so long rests, in ms. */
export const restAfterMs = 5 * 60_000;

/** How often the clock is looked at, in ms. Browsers slow that down to once a minute in hidden pages. */
const lookEveryMs = 5_000;

/** A gap between two looks that nothing but sleep explains, in ms: in a page that is seen, and in a hidden one. */
const sleptMs = { seen: 20_000, hidden: 150_000 };

/** What is done about it. */
export interface RestHooks {
  /** It rests from now on, or no more. */
  changed(): void;
  /** Connections are to be looked at anew: the machine has slept, the network was away, or the page had rested. */
  woke(): void;
}

/** One player's rest. Everything ends with the signal. */
export class Rest {
  #video: HTMLVideoElement;
  #hooks: RestHooks;
  #resting = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(video: HTMLVideoElement, hooks: RestHooks, signal: AbortSignal) {
    this.#video = video;
    this.#hooks = hooks;
    const look = () => this.#look();
    document.addEventListener("visibilitychange", look, { signal });
    for (const type of ["play", "pause", "ended"]) video.addEventListener(type, look, { signal });
    addEventListener("online", () => hooks.woke(), { signal });
    // A page that is left may be kept by the browser for a while: it gives nothing there either.
    addEventListener("pagehide", () => this.#set(true), { signal });
    addEventListener("pageshow", () => this.#set(false), { signal });
    let last = Date.now();
    const clock = setInterval(() => {
      const gap = Date.now() - last;
      last = Date.now();
      if (gap > (document.hidden ? sleptMs.hidden : sleptMs.seen)) hooks.woke();
    }, lookEveryMs);
    signal.addEventListener("abort", () => {
      clearInterval(clock);
      clearTimeout(this.#timer);
    });
    look();
  }

  /** Whether nothing is to be given to others, nor listened for. */
  get resting(): boolean {
    return this.#resting;
  }

  #look(): void {
    const idle = document.hidden && (this.#video.paused || this.#video.ended);
    if (!idle) this.#set(false);
    else if (!this.#resting) this.#timer ??= setTimeout(() => this.#set(true), restAfterMs);
  }

  #set(resting: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (resting === this.#resting) return;
    this.#resting = resting;
    this.#hooks.changed();
    if (!resting) this.#hooks.woke();
  }
}
