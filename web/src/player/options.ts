/** What a page says of the player that it wants. */

import type { SharingLimits } from "./allowance";
import type { Api } from "./api";
import type { OpenEngine } from "./source";

/** How a player is made. */
export interface PlayerOptions {
  video: HTMLVideoElement;
  /** The title's id. */
  title: string;
  /** The viewer's consent to give bytes to other viewers. Unanswered is no, unless the server presumes a yes (a demonstration). */
  share?: boolean;
  /** How much a viewer who shares is willing to give; by default no limits, but nothing where bytes may be paid for. */
  limits?: SharingLimits;
  api?: Api;
  /** Where the engine keeps pieces: "memory"; a folder's name; or "scratch:" and the name of a folder that is emptied first. */
  storage?: string;
  /** Gets the engine's opener; by default `web/src/host`. */
  loadEngine?: () => Promise<OpenEngine>;
  /** For demonstrations: begin with the rendition that a good network deserves, however small the picture, and keep it. */
  steady?: boolean;
  /** For tests: keep the SHA-256 of every range given to Shaka, see `delivered`. */
  record?: boolean;
}
