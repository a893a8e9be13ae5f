/** What ends playback, and how a page is told. */

import { ApiError, type ApiErrorKind } from "./api";
import { type PlayEnd, playEndOf } from "./session";
import { SourceError, type SourceErrorCode } from "./source";

/** Why a player failed, for the page to say in its reader's language. */
export interface PlayerFailure {
  code: SourceErrorCode | "media" | "full" | "unsupported" | "unloaded" | "api" | "ended";
  /** A plain English sentence. */
  message: string;
  /** With the code ended: why the service ended the play session. */
  end?: PlayEnd;
  /** Where the API failed. */
  api?: ApiError;
  cause: unknown;
}

/** The browser cannot play streamed films. */
export class Unsupported extends Error {}

/** A part of the player cannot be had: it is behind a network that is away, or the service has newer ones. */
export class Unloaded extends Error {}

/** Throws Unsupported in a browser that has no Media Source, or in which Shaka, once it is there, cannot play. */
export function checkBrowser(shaka?: { isBrowserSupported(): boolean }): void {
  const able = shaka?.isBrowserSupported() ?? ("MediaSource" in globalThis || "ManagedMediaSource" in globalThis);
  if (!able) throw new Unsupported();
}

/** The service has said that the session has ended. */
export class Ended extends Error {
  constructor(readonly end: PlayEnd) {
    super("The service has ended this play session.");
  }
}

/** Refusals that no patience changes. */
export const final: ApiErrorKind[] = ["unauthorized", "forbidden", "missing"];

/** The code of the refusal to play on one screen more. */
export const tooManyStreams = "too_many_streams";

/** Shaka's error categories (shaka.util.Error.Category) that blame the film or the browser. */
const mediaCategories = [3, 4, 5];

/** Says why a player failed, whatever was thrown. */
export function explain(error: unknown): PlayerFailure {
  const end = error instanceof Ended ? error.end : playEndOf((error as ApiError | undefined)?.code);
  if (end) return { code: "ended", message: (error as Error).message, end, cause: error };
  if (error instanceof ApiError) {
    return { code: "api", message: error.message, api: error, cause: error };
  }
  if (error instanceof Unsupported) {
    return {
      code: "unsupported",
      message: "This browser cannot play streamed films. Try a current one.",
      cause: error,
    };
  }
  if (error instanceof Unloaded) {
    return { code: "unloaded", message: "The player did not load. Reload the page.", cause: error };
  }
  const { data, category, code } = (error ?? {}) as { data?: unknown[]; category?: number; code?: number };
  // Shaka's RESTRICTIONS_CANNOT_BE_MET: the plan includes none of the film's pictures.
  if (code === 4012) return explain(new ApiError("forbidden", 403, {}, { cause: error }));
  // QUOTA_EXCEEDED_ERROR: the browser has no room for a few seconds of film.
  if (code === 3017) return { code: "full", message: "This device has no room for the film.", cause: error };
  for (const item of data ?? []) {
    if (item instanceof SourceError) return { code: item.code, message: item.message, cause: error };
    if (item instanceof ApiError) return explain(item);
    // A licence that was not had is wrapped once more.
    const { data: inner } = (item ?? {}) as { data?: unknown[] };
    const api = Array.isArray(inner) && inner.find((each) => each instanceof ApiError);
    if (api) return explain(api);
  }
  if (category !== undefined && mediaCategories.includes(category)) {
    return { code: "media", message: "This browser cannot play this film. Try another one.", cause: error };
  }
  return { code: "network", message: "Playback stopped. Try again.", cause: error };
}
