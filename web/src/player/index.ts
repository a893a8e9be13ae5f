/**
 * The player, to embed in any page: `new EssaimPlayer({ video, title, share }).load()`. Free of any framework.
 */

export {
  Api,
  ApiError,
  type ApiErrorKind,
  type Me,
  type PositionChange,
  type TitleDetail,
  type TitleFile,
  type TitleSummary,
} from "./api";
export type { components } from "./api.gen";
export { type EssaimDebug, exposeDebug } from "./debug";
export { freeLimits, SentLedger, type SharingLimits } from "./allowance";
export { DirectSource, type DirectOptions } from "./direct";
export {
  EssaimPlayer,
  type DeliveredRange,
  type Phase,
  type PlayerEvents,
  type PlayerOptions,
  type PlayerStats,
} from "./player";
export { type PlayerFailure, tooManyStreams } from "./failure";
export { playEnds } from "./session";
export type { Sound } from "./tracks";
export type * from "./session";
export * from "./source";
export { SwitchingSource, type SwitchingOptions, type Via } from "./switching";
