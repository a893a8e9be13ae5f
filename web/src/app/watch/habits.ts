/**
 * How this browser's viewer watches: volume, speed, the languages of sound and subtitles. Kept by language, for tracks have
 * other numbers in every film. Whatever is found there is read as if a stranger had written it.
 */

import { canonical, sameLanguage } from "./clock";

/** The speeds to choose from. */
export const rates = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];

/** What is remembered. */
export interface Habits {
  /** 0 to 1. */
  volume: number;
  muted: boolean;
  /** One of `rates`. */
  rate: number;
  /** The language of the sound (BCP 47); empty: the film's first. */
  audio: string;
  /** The language of the subtitles; empty: none. */
  subtitles: string;
  /** The language that subtitles were last shown in, for whoever turns them on again. */
  lastSubtitles: string;
}

/** Where they are kept. */
export const habitsKey = "essaim.player";

/** Those of a viewer who has chosen nothing. */
export const noHabits: Habits = { volume: 1, muted: false, rate: 1, audio: "", subtitles: "", lastSubtitles: "" };

/** A language tag (BCP 47), or none. */
const tagForm = /^[A-Za-z0-9-]{0,35}$/;

/** readHabits reads what was kept; where it makes no sense, it is as if nothing had been chosen. */
export function readHabits(kept: string | null): Habits {
  let found: Partial<Record<keyof Habits, unknown>> = {};
  try {
    const value: unknown = JSON.parse(kept ?? "{}");
    if (value && typeof value === "object") found = value;
  } catch {
    // Not ours.
  }
  const tag = (value: unknown) => (typeof value === "string" && tagForm.test(value) ? value : "");
  const { volume, rate } = found;
  return {
    volume: typeof volume === "number" && volume >= 0 && volume <= 1 ? volume : noHabits.volume,
    muted: found.muted === true,
    rate: typeof rate === "number" && rates.includes(rate) ? rate : noHabits.rate,
    audio: tag(found.audio),
    subtitles: tag(found.subtitles),
    lastSubtitles: tag(found.lastSubtitles),
  };
}

/** bestOf is the index of the track in that language: the very tag, else the same language; -1: there is none. */
export function bestOf(tracks: readonly { lang: string }[], language: string): number {
  if (language === "") return -1;
  const exact = tracks.findIndex(({ lang }) => canonical(lang) === canonical(language));
  return exact >= 0 ? exact : tracks.findIndex(({ lang }) => sameLanguage(lang, language));
}
