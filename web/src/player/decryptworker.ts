/**
 * The worker that decrypts, for browsers without ClearKey. It gets the session's keys, then ranges of files, in any order but each
 * file's beginning first, and hands them back in the clear.
 */

import { importKey, openInit, openSegment, type TrackLock } from "./decrypt";

/** What the page says: the keys by name, or a range of a file that one of them opens. */
export type ToDecrypt =
  | { keys: Record<string, Uint8Array<ArrayBuffer>> }
  | { id: number; file: number; kid: string; from: number; data: ArrayBuffer };

/** The answer: the range as it was before it was encrypted, or why not. */
export type Decrypted = { id: number; data: ArrayBuffer } | { id: number; error: string };

let keys: Record<string, Uint8Array<ArrayBuffer>> = {};
const tracks = new Map<number, { lock: TrackLock; key: CryptoKey } | undefined>();

async function open(file: number, kid: string, from: number, data: ArrayBuffer): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(data);
  if (from === 0) {
    const lock = openInit(bytes);
    tracks.set(file, lock && { lock, key: await importKey(keys[kid], lock.scheme) });
    return data;
  }
  const track = tracks.get(file);
  if (track) await openSegment(bytes, track.lock, track.key);
  return data;
}

addEventListener("message", ({ data: message }: MessageEvent<ToDecrypt>) => {
  if ("keys" in message) {
    keys = message.keys;
    return;
  }
  const { id, file, kid, from, data } = message;
  open(file, kid, from, data).then(
    (data) => postMessage({ id, data } satisfies Decrypted, { transfer: [data] }),
    (error: unknown) => postMessage({ id, error: String(error) } satisfies Decrypted),
  );
});
