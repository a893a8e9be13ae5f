/** The demo's own endpoints (`internal/demo`): the server's counter, the film's shape, and the switches. */

/** The body of `GET /room/api/state`, and of what the switches answer. */
export interface ServerState {
  /** The server's clock when the figures were taken, in ms. */
  time_ms: number;
  /** Media bytes that the server has sent since it started, by its own count. */
  origin_bytes: number;
  title_id: string;
  /** Of the highest rendition and its sound. */
  bitrate_bps: number;
  /** Bytes that one viewer of these needs in all. */
  film_bytes: number;
  piece_count: number;
  pieces_per_file: number[];
  duration_ms: number;
  throttled: boolean;
  /** The bound that the throttle switch sets. */
  throttle_bps: number;
  /** The bound of the moment; 0 is none. */
  rate_bps: number;
  tracker_stopped: boolean;
  /** Viewers that the tracker knows now. */
  tracker_peers: number;
}

/** The body of `GET /room/api/film`. */
export interface Film {
  title_id: string;
  name: string;
  duration_ms: number;
  piece_length: number;
  files: FilmFile[];
}

/** One rendition or audio track. */
export interface FilmFile {
  path: string;
  kind: "video" | "audio";
  /** 0 for audio. */
  height: number;
  size: number;
  first_piece: number;
  /** For each piece, the moment of film at which its first byte is due, in ms. */
  starts_ms: number[];
}

/** How long an answer may take, in ms: the buttons promise one within two seconds. */
const patienceMs = 2_000;

async function ask<T>(path: string, body?: unknown): Promise<T> {
  const response = await fetch(`/room/api/${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? null : JSON.stringify(body),
    cache: "no-store",
    signal: AbortSignal.timeout(patienceMs),
  });
  if (!response.ok) throw new Error(`/room/api/${path}: status ${response.status}`);
  return (await response.json()) as T;
}

/** The figures of the moment. */
export const state = () => ask<ServerState>("state");
/** The film's shape, which does not change. */
export const film = () => ask<Film>("film");
/** Bounds the server to 1.2 × one bitrate, or lifts that again. */
export const throttle = (on: boolean) => ask<ServerState>("throttle", { on });
/** Stops the tracker, or starts it again. */
export const tracker = (stopped: boolean) => ask<ServerState>("tracker", { stopped });
/** Lifts both switches. */
export const reset = () => ask<ServerState>("reset", {});
