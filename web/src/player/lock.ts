/**
 * How an encrypted session is opened: the licence is asked for as soon as there is a play session, beside the first bytes of
 * film, and goes to the browser's own ClearKey; where the browser has none, to a worker that decrypts before Shaka sees a
 * byte. ClearKey shows keys to the page: that is access control, and no protection from the viewer's own machine.
 */

import { type Api, ApiError, type Licence } from "./api";
import type { Lock } from "./scheme";
import type { PlaySession } from "./session";

/** W3C's name for the key system that every browser could have. */
export const clearKey = "org.w3.clearkey";

/** How often an answer that did not come is asked for again, and after how many milliseconds. */
const patience = [500, 1_000, 2_000, 4_000];

/** An opened lock. */
export interface OpenLock extends Lock {
  /** The browser itself decrypts. */
  native: boolean;
}

/** openLock begins to open a session; what runs for it ends with the signal. */
export async function openLock(api: Api, session: PlaySession, signal: AbortSignal): Promise<OpenLock> {
  const licence = fetchLicence(api, session, signal);
  licence.catch(() => undefined); // who waits for it tells
  if (await hasClearKey(session)) {
    const encoded = licence.then((keys) => new TextEncoder().encode(JSON.stringify(keys)).buffer);
    encoded.catch(() => undefined);
    return { native: true, licence: () => encoded };
  }
  const { decryptor } = await import("./decryptor");
  return { native: false, manifest: withoutProtection(session.manifest), ...decryptor(session, licence, signal) };
}

/** Whether the browser's own ClearKey opens files like the session's. */
export async function hasClearKey({ files, protection }: PlaySession): Promise<boolean> {
  const capable = (wanted: string) =>
    files
      .filter(({ kind, kid }) => kind === wanted && kid)
      .slice(0, 1)
      .map(({ codec }) => ({
        contentType: `${wanted}/mp4; codecs="${codec}"`,
        encryptionScheme: protection?.scheme,
      }));
  const videoCapabilities = capable("video");
  const audioCapabilities = capable("audio");
  const all = {
    initDataTypes: ["cenc"],
    ...(videoCapabilities.length && { videoCapabilities }),
    ...(audioCapabilities.length && { audioCapabilities }),
  };
  try {
    await navigator.requestMediaKeySystemAccess(clearKey, [all]);
    return true;
  } catch {
    return false; // there is none, or not where the page came in the clear
  }
}

async function fetchLicence(api: Api, session: PlaySession, signal: AbortSignal): Promise<Licence> {
  const { protection, tickets } = session;
  const kids = [...new Set(session.files.flatMap(({ kid }) => kid ?? []))].map(toBase64Url);
  for (const wait of [...patience, undefined]) {
    try {
      return await api.license(protection!.clearkey, tickets.license ?? "", kids);
    } catch (error) {
      const passing = error instanceof ApiError && ["busy", "offline", "server"].includes(error.kind);
      if (!passing || wait === undefined) throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
      signal.throwIfAborted();
    }
  }
  throw new ApiError("server", 0);
}

/** A manifest that does not say that anything is encrypted. */
export function withoutProtection(manifest: string): string {
  return manifest.replace(/<ContentProtection\b[^>]*(\/>|>[^]*?<\/ContentProtection>)/g, "");
}

function toBase64Url(hex: string): string {
  const text = String.fromCharCode(...(hex.match(/../g) ?? []).map((pair) => parseInt(pair, 16)));
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
