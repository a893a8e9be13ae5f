/**
 * What there is to say and to do about a failure: a plain sentence and one way on, which does what the sentence says. Every
 * failure has both. It decides nothing that needs the network: it must be ready when that is away.
 */

import type { ApiErrorKind, PlayerFailure } from "../../player";
import { tooManyStreams } from "../../player/failure";
import type { FailureWords } from "./failurewords";

/**
 * The way on:
 * - `again`: the same player, else a new one; `begin`, `here`: a new one, where the film stood;
 * - `sign-in`, `plan`, `films`: a page of the app;
 * - `copy`: the page's address, for another browser; `secure`: the page over HTTPS; `reload`: the page;
 * - `streams`: stop one of what the account is watching, and go on.
 */
export type Way = "again" | "begin" | "here" | "sign-in" | "plan" | "films" | "copy" | "secure" | "reload" | "streams";

/** What is said of a failure, and offered. */
export interface Remedy {
  text: string;
  way: Way;
  /** It may pass by itself: the page asks now and then whether the server is back, and goes on if it is. */
  passes: boolean;
}

/** What a page knows of itself. */
export interface Circumstances {
  words: FailureWords;
  /** A sentence for each kind of refusal. */
  api: Record<ApiErrorKind, string>;
  /** The browser says that there is a network. */
  online: boolean;
}

const ofSource: Record<Exclude<PlayerFailure["code"], "api" | "ended">, Way> = {
  network: "again",
  corrupt: "again",
  missing: "begin",
  refused: "begin",
  closed: "begin",
  range: "films",
  insecure: "secure",
  media: "copy",
  full: "again",
  unsupported: "copy",
  unloaded: "reload",
};

const ofEnd: Record<NonNullable<PlayerFailure["end"]>, Way> = {
  revoked: "begin",
  signed_out: "sign-in",
  plan_ended: "plan",
  not_included: "films",
  not_available: "films",
  withdrawn: "films",
  taken_over: "here",
};

const ofApi: Record<ApiErrorKind, Way> = {
  offline: "again",
  unauthorized: "sign-in",
  forbidden: "films",
  missing: "films",
  invalid: "reload",
  busy: "again",
  server: "again",
};

/** What is to be said and done; undefined stands for a wait that nothing ends. */
export function remedy(failure: PlayerFailure | undefined, { words, api, online }: Circumstances): Remedy {
  if (!failure) return { text: online ? words.silent : words.offline, way: "again", passes: false };
  const { code, end, api: refusal } = failure;
  if (end) return { text: words.ends[end], way: ofEnd[end], passes: false };
  if (code === "api" || code === "ended") {
    if (refusal?.code === tooManyStreams) return { text: words.streams.tooMany, way: "streams", passes: false };
    if (refusal?.code === "limited") return { text: words.limited, way: "films", passes: false };
    const kind = refusal?.kind ?? "server";
    const passes = kind === "offline" || kind === "busy" || kind === "server";
    return { text: passes && !online ? words.offline : api[kind], way: ofApi[kind], passes };
  }
  const passes = code === "network";
  return { text: passes && !online ? words.offline : words.failures[code], way: ofSource[code], passes };
}
