/**
 * The video element as the controls see it: what it does, kept in step by its own events, and what may be asked of it. It must
 * never claim what the element has not done, but for the place that a seek goes to.
 */

import { rates } from "./habits";

/** A stretch of film that is held, in seconds. */
export type Stretch = readonly [from: number, to: number];

/** What of the vendors' older words is needed: iPhones know full screen for the video itself only. */
interface OlderVideo {
  webkitEnterFullscreen?(): void;
}

/** One video element and the frame that is shown in full. Call `stop` when the page is left. */
export class Screen {
  paused = $state(true);
  ended = $state(false);
  /** Seconds. */
  time = $state(0);
  /** Seconds; 0 until it is known. */
  duration = $state(0);
  held: Stretch[] = $state.raw([]);
  volume = $state(1);
  muted = $state(false);
  rate = $state(1);
  /** In full screen. */
  full = $state(false);
  /** In a window of its own. */
  apart = $state(false);
  /** The browser can do these two. */
  readonly canFull: boolean;
  readonly canApart: boolean;
  readonly video: HTMLVideoElement;
  #frame: HTMLElement;
  #listening = new AbortController();

  constructor(video: HTMLVideoElement, frame: HTMLElement) {
    this.video = video;
    this.#frame = frame;
    this.canFull = document.fullscreenEnabled || "webkitEnterFullscreen" in video;
    this.canApart = document.pictureInPictureEnabled && !video.disablePictureInPicture;
    const { signal } = this.#listening;
    const on = (types: string, read: () => void) => {
      for (const type of types.split(" ")) video.addEventListener(type, read, { signal });
      read();
    };
    on("play pause ended emptied seeking", () => ({ paused: this.paused, ended: this.ended } = video));
    on("timeupdate seeking seeked emptied", () => (this.time = video.currentTime));
    on("durationchange emptied", () => (this.duration = Number.isFinite(video.duration) ? video.duration : 0));
    on("progress timeupdate seeking emptied", () => (this.held = stretches(video.buffered)));
    on("volumechange", () => ({ volume: this.volume, muted: this.muted } = video));
    on("ratechange", () => (this.rate = video.playbackRate || this.rate)); // Shaka stops a dry picture by a rate of 0
    on("enterpictureinpicture leavepictureinpicture", () => (this.apart = document.pictureInPictureElement === video));
    const inFull = () => (this.full = document.fullscreenElement === frame);
    document.addEventListener("fullscreenchange", inFull, { signal });
  }

  /** Plays; false where the browser wants a gesture of the viewer first. */
  async play(): Promise<boolean> {
    try {
      await this.video.play();
      return true;
    } catch {
      return false;
    }
  }

  /** Pauses. */
  pause(): void {
    this.video.pause();
  }

  /** Plays or pauses. */
  toggle(): void {
    if (this.video.paused) void this.play();
    else this.pause();
  }

  /** Goes to that second of film, or as near as there is film. */
  go(second: number): void {
    if (this.duration <= 0) return;
    // The very end would end the film at once: what is asked for there is its last moment.
    const to = Math.min(Math.max(0, second), Math.max(0, this.duration - 0.1));
    this.video.currentTime = to;
    this.time = to;
  }

  /** Goes on or back by so many seconds. */
  jump(seconds: number): void {
    this.go(this.video.currentTime + seconds);
  }

  /** Sets the volume, from 0 to 1; that ends a silence. */
  setVolume(volume: number): void {
    this.video.volume = Math.min(1, Math.max(0, Math.round(volume * 100) / 100));
    this.video.muted = this.video.volume === 0;
  }

  /** Turns the sound off, or on again. */
  toggleMute(): void {
    this.video.muted = !this.video.muted;
    if (!this.video.muted && this.video.volume === 0) this.video.volume = 0.5;
  }

  /** Plays at that speed, also what is loaded next. */
  setRate(rate: number): void {
    this.video.defaultPlaybackRate = rate;
    this.video.playbackRate = rate;
  }

  /** Takes the next of the speeds, up or down. */
  faster(by: 1 | -1): void {
    const at = rates.findIndex((rate) => rate >= this.rate);
    this.setRate(rates[Math.min(rates.length - 1, Math.max(0, (at < 0 ? rates.length - 1 : at) + by))]);
  }

  /** Shows the frame in full, or no longer. */
  async toggleFull(): Promise<void> {
    try {
      if (document.fullscreenElement) await document.exitFullscreen();
      else if (document.fullscreenEnabled) await this.#frame.requestFullscreen({ navigationUI: "hide" });
      else (this.video as OlderVideo).webkitEnterFullscreen?.();
    } catch {
      // The browser refused: the picture stays as it is.
    }
  }

  /** Shows the picture in a window of its own, or no longer. */
  async toggleApart(): Promise<void> {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await this.video.requestPictureInPicture();
    } catch {
      // The browser refused: the picture stays where it is.
    }
  }

  /** Listens no more. */
  stop(): void {
    this.#listening.abort();
  }
}

function stretches(ranges: TimeRanges): Stretch[] {
  return Array.from({ length: ranges.length }, (_, i) => [ranges.start(i), ranges.end(i)] as const);
}
