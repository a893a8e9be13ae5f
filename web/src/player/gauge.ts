/**
 * How playback goes, read off a video element: start-up time, stalls, and where the play head and the buffer stand. A
 * stall is playback that has run out of film: seeks and the start itself are none, nor is a decoder that cannot keep up
 * with a full buffer.
 */

import type { PlaybackState } from "./source";

/** Less film than this ahead of a play head that waits is a buffer run dry. */
const dryMs = 500;

/** A play head may creep on so far after its buffer was found dry, without being on its way again. */
const slackSeconds = 0.3;

/** What a gauge has measured. Milliseconds. */
export interface Gauged {
  /** From the gauge's start to the first frame; 0 until then. */
  startupMs: number;
  stalls: number;
  stalledMs: number;
}

/** Watches one video element from the moment it is made until `stop`. */
export class Gauge {
  #video: HTMLVideoElement;
  #now: () => number;
  #began: number;
  #startupMs = 0;
  #stalls = 0;
  #stalledMs = 0;
  #stall: { at: number; position: number } | undefined;
  #seeking = false;
  #begun = false;
  #startAt = 0;
  #polled = -1;
  #listening = new AbortController();

  constructor(video: HTMLVideoElement, now: () => number = () => performance.now()) {
    this.#video = video;
    this.#now = now;
    this.#began = now();
    const on = (type: string, listener: () => void) =>
      video.addEventListener(type, listener, { signal: this.#listening.signal });
    on("loadeddata", () => {
      this.#startupMs ||= Math.max(1, now() - this.#began);
      this.#startAt = video.currentTime;
    });
    on("waiting", () => this.starving());
    on("seeking", () => {
      this.#seeking = true;
      this.#resume();
    });
    on("seeked", () => {
      this.#startAt = video.currentTime;
    });
    for (const type of ["playing", "canplay"]) on(type, () => (this.#seeking = video.seeking));
    on("timeupdate", () => {
      // A play head that moved by itself: what came before was the start.
      this.#begun ||= this.#startupMs > 0 && !this.#seeking && !video.seeking && video.currentTime > this.#startAt;
      if (this.#stall && video.currentTime > this.#stall.position + slackSeconds) this.#resume();
    });
    for (const type of ["pause", "ended"]) on(type, () => this.#resume());
  }

  /** Tells that the player has run out of film; a video element does not always notice by itself. */
  starving(): void {
    const video = this.#video;
    if (this.#stall || !this.#begun || this.#seeking || video.seeking || video.paused || video.ended) return;
    const { position_ms, buffered_end_ms } = this.playback();
    // The film's last half second is no buffer run dry (audio and video may end a quarter of a second apart).
    if (buffered_end_ms - position_ms >= dryMs || buffered_end_ms >= video.duration * 1_000 - 250) return;
    this.#stall = { at: this.#now(), position: video.currentTime };
    this.#stalls++;
  }

  /** Call about once a second: finds a play head that stopped without any event, as one whose rate was set to 0 does. */
  poll(): void {
    const { currentTime } = this.#video;
    if (currentTime === this.#polled) this.starving();
    this.#polled = currentTime;
  }

  #resume(): void {
    if (!this.#stall) return;
    this.#stalledMs += this.#now() - this.#stall.at;
    this.#stall = undefined;
  }

  /** What has been measured so far, a stall that still lasts included. */
  read(): Gauged {
    const lasting = this.#stall ? this.#now() - this.#stall.at : 0;
    return {
      startupMs: Math.round(this.#startupMs),
      stalls: this.#stalls,
      stalledMs: Math.round(this.#stalledMs + lasting),
    };
  }

  /** Whether it stalls now. */
  get stalling(): boolean {
    return this.#stall !== undefined;
  }

  /** Where the play head and the end of the buffer around it stand. */
  playback(): PlaybackState {
    const { currentTime, buffered, playbackRate, paused } = this.#video;
    let end = currentTime;
    for (let i = 0; i < buffered.length; i++) {
      // A tenth of a second: the largest gap that playback steps over without a stop.
      if (buffered.start(i) <= end + 0.1 && buffered.end(i) > end) end = buffered.end(i);
    }
    return {
      position_ms: Math.round(currentTime * 1_000),
      buffered_end_ms: Math.round(end * 1_000),
      rate: playbackRate,
      paused,
    };
  }

  /** Stops watching. What was measured stays readable. */
  stop(): void {
    this.#resume();
    this.#listening.abort();
  }
}
