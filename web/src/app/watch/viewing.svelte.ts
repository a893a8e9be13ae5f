/**
 * What the viewer may choose of the film that plays, and has chosen: picture, sound, subtitles, and how this browser's viewer
 * watches. A choice is kept for the films to come.
 */

import type { EssaimPlayer, PlayStoryboard, PlaySubtitle, Sound } from "../../player";
import { memory } from "../state.svelte";
import { bestOf, type Habits, habitsKey, readHabits } from "./habits";
import type { Screen } from "./screen.svelte";

/** The choices on one watch page. */
export class Viewing {
  heights: number[] = $state.raw([]);
  /** The one that the viewer keeps to; undefined: the player chooses. */
  height: number | undefined = $state();
  sounds: Sound[] = $state.raw([]);
  texts: PlaySubtitle[] = $state.raw([]);
  /** The index of the subtitles that are shown; -1: none. */
  text = $state(-1);
  board: PlayStoryboard | undefined = $state.raw();
  #player: EssaimPlayer | undefined;
  #habits: Habits = readHabits(memory.get(habitsKey));
  #listening: AbortController | undefined;

  /** The subtitles that are shown. */
  get shown(): PlaySubtitle | undefined {
    return this.texts[this.text];
  }

  /** The language of sound that the viewer heard last, for the player to begin with. */
  get audio(): string | undefined {
    return this.#habits.audio || undefined;
  }

  /** The language of the subtitles that are shown; undefined: none are, or that is not known. */
  get reads(): string | undefined {
    return this.shown?.lang || undefined;
  }

  /** The language of the sound that plays; undefined: not known. */
  get hears(): string | undefined {
    return this.sounds.find(({ active }) => active)?.language || undefined;
  }

  /** What this viewer heard and read on another device: it holds where nothing was chosen in this browser. Call it before the film is loaded. */
  suggest(audio = "", subtitles = ""): void {
    if (this.#habits.audio || this.#habits.lastSubtitles) return;
    this.#habits = readHabits(JSON.stringify({ ...this.#habits, audio, subtitles }));
    if (audio) this.#player?.prefer(audio);
    if (this.texts.length > 0) this.text = bestOf(this.texts, subtitles);
  }

  /** Goes by that player from now on. */
  follow(player: EssaimPlayer): void {
    this.#player = player;
    const read = () => {
      if (this.#player !== player) return;
      this.heights = player.heights;
      this.height = player.height;
      this.sounds = player.sounds;
      const { subtitles = [], storyboard } = player.session ?? {};
      this.board = storyboard;
      if (subtitles.map(({ url }) => url).join() === this.texts.map(({ url }) => url).join()) return;
      this.texts = subtitles;
      this.text = bestOf(subtitles, this.#habits.subtitles);
    };
    player.events.on("policy", read);
    player.events.on("tracks", read);
  }

  /** Has the screen as this viewer likes it, and keeps what is changed there. */
  fit(screen: Screen): void {
    const { video } = screen;
    const { volume, muted, rate } = this.#habits;
    video.volume = volume;
    video.muted = muted;
    screen.setRate(rate);
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    video.addEventListener("volumechange", () => this.#keep({ volume: video.volume, muted: video.muted }), { signal });
  }

  /** Keeps to a height of picture; undefined: the player chooses. */
  keepHeight(height: number | undefined): void {
    this.#player?.keepHeight(height);
    this.height = this.#player?.height;
  }

  /** Plays another sound. */
  hear(sound: Sound): void {
    this.#player?.hear(sound);
    this.#keep({ audio: sound.language });
  }

  /** Shows these subtitles; -1: none. */
  read(index: number): void {
    this.text = index;
    const lang = this.shown?.lang ?? "";
    this.#keep({ subtitles: lang, ...(lang && { lastSubtitles: lang }) });
  }

  /** Turns subtitles off, or on in the language in which they were shown last; false: there are none. */
  toggleText(): boolean {
    if (this.texts.length === 0) return false;
    if (this.text >= 0) this.read(-1);
    else this.read(Math.max(0, bestOf(this.texts, this.#habits.lastSubtitles)));
    return true;
  }

  /** Has every film play at that speed. */
  keepRate(rate: number): void {
    this.#keep({ rate });
  }

  /** Keeps nothing any more. */
  stop(): void {
    this.#player = undefined;
    this.#listening?.abort();
  }

  #keep(change: Partial<Habits>): void {
    this.#habits = { ...this.#habits, ...change };
    memory.set(habitsKey, JSON.stringify(this.#habits));
  }
}
