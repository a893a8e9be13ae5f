/**
 * Shaka's way to our bytes: the scheme `essaim:`. `essaim:/SESSION/manifest.mpd` is the session's manifest, and every
 * other name under it one of the session's files, asked for by byte range. Shaka never sees an HTTP address.
 *
 * The scheme is registered without progress support: pieces arrive verified or not at all, so there is no honest
 * progress to report, and Shaka must not read silence as a dead connection. `timeMs` is the source's own measure, waiting
 * and cache hits left out; else just-in-time delivery would read as a slow network and pull the picture down.
 */

import type shaka from "shaka-player/dist/shaka-player.dash-es2021";
import { ApiError } from "./api";
import type { PlaySession } from "./session";
import { type MediaSourceBytes, SourceError } from "./source";

/** The module as Shaka exports it. */
export type Shaka = typeof shaka;

/** One piece of film handed to the player. */
export interface Delivery {
  file: number;
  from: number;
  to: number;
  data: ArrayBuffer;
}

/** Who looks on while a session is served. */
export interface Onlooker {
  /** Shaka asks for this range. */
  onRequest?(file: number, from: number, to: number): void;
  /** Shaka is about to get this range. The buffer must be neither kept nor changed. */
  onDelivery?(delivery: Delivery): void;
}

/** What opens an encrypted session. Its promises reject with what the viewer is to be told. */
export interface Lock {
  /** For the browser's own ClearKey: the licence, whatever Shaka asks for. */
  licence?(): Promise<ArrayBuffer>;
  /** Where the browser has none: the manifest of what `open` returns, and a range of a file as if it had never been encrypted. */
  manifest?: string;
  open?(file: number, from: number, data: ArrayBuffer): Promise<ArrayBuffer>;
}

interface Entry extends Onlooker, Lock {
  session: PlaySession;
  source: MediaSourceBytes;
}

const open = new Map<string, Entry>();

/** manifestUri is what to load for this session. */
export function manifestUri(session: PlaySession): string {
  return `essaim:/${encodeURIComponent(session.id)}/manifest.mpd`;
}

/** licenceUri is where Shaka asks for this session's keys. */
export function licenceUri(session: PlaySession): string {
  return `essaim:/${encodeURIComponent(session.id)}/licence`;
}

/** serve answers Shaka's requests for a session from a source, until the function returned is called. */
export function serve(
  shaka: Shaka,
  session: PlaySession,
  source: MediaSourceBytes,
  onlooker: Onlooker & Lock = {},
): () => void {
  shaka.net.NetworkingEngine.registerScheme("essaim", plugin(shaka), undefined, false);
  open.set(session.id, { ...onlooker, session, source });
  return () => open.delete(session.id);
}

/**
 * parseRange reads a Range header of one byte range into `[from, to)` within a file of `size` bytes; the whole file for
 * none. It is undefined for what cannot be satisfied (RFC 9110, section 14).
 */
export function parseRange(header: string | undefined, size: number): [from: number, to: number] | undefined {
  if (header === undefined) return [0, size];
  const match = /^bytes=(\d*)-(\d*)$/.exec(header.trim());
  if (!match || (match[1] === "" && match[2] === "")) return undefined;
  if (match[1] === "") {
    const suffix = Math.min(size, Number(match[2]));
    return suffix > 0 ? [size - suffix, size] : undefined;
  }
  const from = Number(match[1]);
  const to = match[2] === "" ? size : Math.min(size, Number(match[2]) + 1);
  return from < to ? [from, to] : undefined;
}

function plugin(shaka: Shaka): shaka.extern.SchemePlugin {
  const { Severity, Category, Code } = shaka.util.Error;
  return (uri, request, type) => {
    const controller = new AbortController();
    const fail = (code: number, ...data: unknown[]) =>
      new shaka.util.Error(Severity.CRITICAL, Category.NETWORK, code, uri, ...data);

    const answer = async (): Promise<shaka.extern.Response> => {
      const [, id, ...rest] = new URL(uri).pathname.split("/").map(decodeURIComponent);
      const entry = open.get(id);
      const path = rest.join("/");
      const base = { uri, originalUri: uri, originalRequest: request };
      if (!entry) throw fail(Code.BAD_HTTP_STATUS, 404, null, {}, type);
      if (path === "manifest.mpd") {
        const data = new TextEncoder().encode(entry.manifest ?? entry.session.manifest);
        return {
          ...base,
          data,
          status: 200,
          headers: { "content-type": "application/dash+xml" },
          timeMs: 0,
          fromCache: true,
        };
      }
      if (path === "licence" && entry.licence) {
        try {
          return { ...base, data: await entry.licence(), status: 200, headers: {}, timeMs: 0, fromCache: true };
        } catch (error) {
          throw fail(Code.HTTP_ERROR, error, type);
        }
      }
      const file = entry.session.files.findIndex((each) => each.path === path);
      if (file < 0) throw fail(Code.BAD_HTTP_STATUS, 404, null, {}, type);
      const { size } = entry.session.files[file];
      const header = Object.entries(request.headers).find(([name]) => name.toLowerCase() === "range")?.[1];
      const range = parseRange(header, size);
      if (!range) throw fail(Code.BAD_HTTP_STATUS, 416, null, {}, type);
      const [from, to] = range;
      entry.onRequest?.(file, from, to);
      try {
        const { data: read, cached, timeMs } = await entry.source.read(file, from, to, controller.signal);
        entry.onDelivery?.({ file, from, to, data: read });
        const data = entry.open ? await entry.open(file, from, read) : read;
        const headers = { "content-range": `bytes ${from}-${to - 1}/${size}`, "content-length": String(to - from) };
        return { ...base, data, status: header ? 206 : 200, headers, timeMs, fromCache: cached };
      } catch (error) {
        if (controller.signal.aborted) throw fail(Code.OPERATION_ABORTED);
        throw fail(
          Code.HTTP_ERROR,
          error instanceof SourceError || error instanceof ApiError ? error : new SourceError("network", String(error)),
          type,
        );
      }
    };

    return new shaka.util.AbortableOperation(answer(), () => {
      controller.abort();
      return Promise.resolve();
    });
  };
}
