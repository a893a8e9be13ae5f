/** The vectors are the Go packager's (`internal/drm/testdata/vectors`), which its own decryptor is held against too. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { DecryptError, importKey, openInit, openSegment } from "./decrypt";

interface Vector {
  file: string;
  scheme: "cbcs" | "cenc";
  kid: string;
  key: string;
  mdat_sha256: string;
}

const folder = "../internal/drm/testdata/vectors/";
const vectors = JSON.parse(readFileSync(`${folder}vectors.json`, "utf8")) as Vector[];
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

/** The file's boxes, from byte to byte. */
function boxes(bytes: Uint8Array): { kind: string; from: number; to: number }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const list = [];
  for (let at = 0; at < bytes.length;) {
    const to = at + view.getUint32(at);
    list.push({ kind: Buffer.from(bytes.subarray(at + 4, at + 8)).toString(), from: at, to });
    at = to;
  }
  return list;
}

/** The file as a player asks for it: its initialization segment, and each fragment with its data. */
function cut(name: string): { init: Uint8Array<ArrayBuffer>; segments: Uint8Array<ArrayBuffer>[] } {
  const file = new Uint8Array(readFileSync(folder + name));
  const all = boxes(file);
  const init = file.slice(0, all.find(({ kind }) => kind === "sidx")!.from);
  const starts = all.filter(({ kind }) => kind === "moof").map(({ from }) => from);
  return { init, segments: starts.map((from, i) => file.slice(from, starts[i + 1] ?? file.length)) };
}

const mdat = (segment: Uint8Array) =>
  boxes(segment)
    .filter(({ kind }) => kind === "mdat")
    .map(({ from, to }) => segment.subarray(from + 8, to));

const digest = (parts: Uint8Array[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
};

describe.each(vectors)("$file", ({ file, scheme, kid, key, mdat_sha256 }) => {
  test("comes back as it was, in whatever order its segments are opened", async () => {
    const { init, segments } = cut(file);
    expect(Buffer.from(init).includes(Buffer.from(kid, "hex"))).toBe(true);
    const size = init.length;
    const lock = openInit(init)!;
    expect(lock.scheme).toBe(scheme);
    expect(init.length).toBe(size);
    const text = Buffer.from(init).toString("latin1");
    for (const gone of ["encv", "enca", "sinf", "pssh"]) expect(text).not.toContain(gone);
    expect(text).toMatch(file.startsWith("video") ? /avc1/ : /mp4a/);

    const imported = await importKey(unhex(key), scheme);
    expect(segments.length).toBeGreaterThan(1);
    for (const segment of segments.toReversed()) await openSegment(segment, lock, imported);
    expect(digest(segments.flatMap(mdat))).toBe(mdat_sha256);
    for (const segment of segments) expect(Buffer.from(segment).toString("latin1")).not.toMatch(/senc|saiz|saio/);
  });

  test("stays closed to another key", async () => {
    const { init, segments } = cut(file);
    const lock = openInit(init)!;
    const other = unhex(key);
    other[3] ^= 1;
    const imported = await importKey(other, scheme);
    for (const segment of segments) await openSegment(segment, lock, imported);
    expect(digest(segments.flatMap(mdat))).not.toBe(mdat_sha256);
  });

  test("cut or changed anywhere, it ends in an error or in bytes, never outside of them", async () => {
    const { init, segments } = cut(file);
    const lock = openInit(init.slice())!;
    const imported = await importKey(unhex(key), scheme);
    const tame = async (what: () => unknown) => {
      try {
        await what();
      } catch (error) {
        expect([DecryptError.name, "RangeError"]).toContain((error as Error).name);
      }
    };
    const head = boxes(segments[0])[0].to;
    for (let at = 0; at < head; at += 3) {
      await tame(() => openSegment(segments[0].slice(0, at), lock, imported));
      const changed = segments[0].slice();
      changed[at] ^= 0xff;
      await tame(() => openSegment(changed, lock, imported));
    }
    for (let at = 0; at < init.length; at++) {
      await tame(() => openInit(init.slice(0, at)));
      const changed = init.slice();
      changed[at] ^= 0xff;
      await tame(() => openInit(changed));
    }
  });
});

test("a track in the clear is left as it is", () => {
  const { init } = cut(vectors[0].file);
  openInit(init);
  const before = init.slice();
  expect(openInit(init)).toBeUndefined();
  expect(init).toEqual(before);
});
