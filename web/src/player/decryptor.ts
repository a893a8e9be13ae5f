/**
 * The page's end of the worker that decrypts: ranges go there encrypted and come back in the clear. Loaded only by browsers that
 * have no ClearKey.
 */

import { ApiError, type Licence } from "./api";
import type { Decrypted, ToDecrypt } from "./decryptworker";
import type { Lock } from "./scheme";
import type { PlaySession } from "./session";

/** What answers a range that waits. */
interface Waiting {
  resolve(data: ArrayBuffer): void;
  reject(error: unknown): void;
}

/** decryptor opens a session's files with the keys of a licence that may still be on its way. */
export function decryptor(
  session: PlaySession,
  licence: Promise<Licence>,
  signal: AbortSignal,
): Required<Pick<Lock, "open">> {
  const worker = new Worker(new URL("./decryptworker.ts", import.meta.url), { type: "module" });
  const say = (message: ToDecrypt, transfer: Transferable[] = []) => worker.postMessage(message, transfer);
  const waiting = new Map<number, Waiting>();
  signal.addEventListener("abort", () => {
    worker.terminate();
    for (const { reject } of waiting.values()) reject(new DOMException("the player was destroyed", "AbortError"));
    waiting.clear();
  });
  worker.addEventListener("message", ({ data: answer }: MessageEvent<Decrypted>) => {
    const { resolve, reject } = waiting.get(answer.id)!;
    waiting.delete(answer.id);
    if ("data" in answer) resolve(answer.data);
    else reject(new Error(answer.error));
  });
  worker.addEventListener("error", (event) => {
    for (const { reject } of waiting.values()) reject(new Error(`the decrypting worker failed: ${event.message}`));
    waiting.clear();
  });
  const known = licence.then(({ keys }) => {
    const bytes = Object.fromEntries(keys.map(({ kid, k }) => [hex(fromBase64Url(kid)), fromBase64Url(k)]));
    say({ keys: bytes });
    return new Set(Object.keys(bytes));
  });
  known.catch(() => undefined); // who waits for it tells
  let number = 0;
  return {
    async open(file, from, data) {
      const { kid } = session.files[file];
      if (!kid) return data;
      if (!(await known).has(kid)) throw new ApiError("forbidden", 403);
      return new Promise((resolve, reject) => {
        const id = number++;
        waiting.set(id, { resolve, reject });
        say({ id, file, kid, from, data }, [data]);
      });
    },
  };
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}
