/**
 * What the player's tests share: trees built by node:crypto, independently of `merkle.ts`, and a play session with an
 * origin that answers from memory and can be told to misbehave. Not part of any page.
 */

import { createHash } from "node:crypto";
import type { Bytes, HashRequest } from "./merkle";
import type { PlayFile, PlaySession } from "./session";

const block = 16 * 1024;

const sha = (...parts: Uint8Array[]): Bytes => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
};

/** A file's whole hash tree, padding written out. */
export interface TestTree {
  root: Bytes;
  /** Leaves, padding included. */
  width: number;
  /** The true answer to a hash request. */
  answer(request: HashRequest): Bytes;
}

/** makeTree builds the BEP 52 tree of a file. */
export function makeTree(data: Bytes, pieceLength: number): TestTree {
  const leaves: Bytes[] = [];
  for (let at = 0; at < data.length; at += block) leaves.push(sha(data.subarray(at, at + block)));
  let width = 1;
  while (width < leaves.length) width *= 2;
  // A file of several pieces has a tree of whole pieces; the two rules agree, which this spells out.
  if (data.length > pieceLength && width % (pieceLength / block) !== 0) throw new Error("uneven tree");
  while (leaves.length < width) leaves.push(new Uint8Array(32));
  const layers = [leaves];
  while (layers[layers.length - 1].length > 1) {
    const below = layers[layers.length - 1];
    layers.push(Array.from({ length: below.length / 2 }, (_, i) => sha(below[2 * i], below[2 * i + 1])));
  }
  return {
    root: layers[layers.length - 1][0],
    width,
    answer({ base, index, length, proof }) {
      const out = layers[base].slice(index, index + length);
      let layer = base + Math.log2(length);
      let at = index / length;
      const uncles = Math.max(0, proof - (Math.log2(length) - 1));
      for (let i = 0; i < uncles; i++, layer++, at >>= 1) out.push(layers[layer][at ^ 1]);
      return Uint8Array.from(out.flatMap((digest) => [...digest]));
    },
  };
}

/** A film in memory. */
export interface TestFilm {
  session: PlaySession;
  files: { data: Bytes; tree: TestTree }[];
}

/** makeFilm makes a play session over these files, with `first` of so many pieces. */
export function makeFilm(contents: Bytes[], pieceLength = 2 * block, firstPieces = 2): TestFilm {
  const base = Math.log2(pieceLength / block);
  let nextPiece = 0;
  const files = contents.map((data) => ({ data, tree: makeTree(data, pieceLength) }));
  const playFiles = files.map(({ data, tree }, i): PlayFile => {
    const first_piece = nextPiece;
    nextPiece += Math.ceil(data.length / pieceLength);
    const height = Math.log2(tree.width);
    const length = Math.min(firstPieces, 2 ** (height - base));
    const proof = length === 2 ** (height - base) ? 0 : height - base - 1;
    const first = { base, index: 0, length, proof };
    return {
      path: `file-${i}.mp4`,
      size: data.length,
      root: Buffer.from(tree.root).toString("hex"),
      first_piece,
      kind: i === 0 ? "video" : "audio",
      codec: "avc1.64001f",
      bandwidth: 1_000_000,
      segments: [[0, data.length, 0, 10_000]],
      ...(data.length > pieceLength
        ? { first: { ...first, hashes: Buffer.from(tree.answer(first)).toString("base64") } }
        : {}),
    };
  });
  return {
    files,
    session: {
      id: "s1",
      title: "film",
      name: "A film",
      duration_ms: 10_000,
      info_hash: "00".repeat(20),
      info_hash_v2: "00".repeat(32),
      piece_length: pieceLength,
      files: playFiles,
      manifest: "<MPD/>",
      nodes: { origins: ["/"], trackers: [], ice: [] },
      tickets: { media: "ticket", expires_ms: 600_000 },
      policy: { p2p: false, upload: false, lan: false, uplink_kbps: 0 },
      heartbeat_ms: 30_000,
    },
  };
}

/** A request as the test origin saw it. */
export interface SeenRequest {
  path: string;
  range: string | null;
  authorization: string | null;
}

/** What a test may do to an answer before it is sent; undefined leaves it as it is. */
export type Meddle = (request: SeenRequest, number: number) => Response | Promise<Response> | undefined;

/** makeOrigin answers media and hash requests truly, except where `meddle` interferes. It keeps what it saw. */
export function makeOrigin(film: TestFilm, meddle: Meddle = () => undefined) {
  const seen: SeenRequest[] = [];
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const url = new URL(input as string, "http://test");
    const headers = new Headers(init?.headers);
    const request = {
      path: url.pathname + url.search,
      range: headers.get("range"),
      authorization: headers.get("authorization"),
    };
    const number = seen.push(request) - 1;
    init?.signal?.throwIfAborted();
    return (await meddle(request, number)) ?? truth(film, url, request.range);
  };
  return { fetch, seen };
}

/** truth is the honest answer to a media or hash request. */
export function truth(film: TestFilm, url: URL, range: string | null): Response {
  const [, kind, root] = url.pathname.split("/");
  const index = film.session.files.findIndex((file) => file.root === root);
  if (index < 0) return new Response(null, { status: 404 });
  const { data, tree } = film.files[index];
  if (kind === "hashes") {
    const number = (name: string) => Number(url.searchParams.get(name));
    const request = { base: number("base"), index: number("index"), length: number("length"), proof: number("proof") };
    return new Response(tree.answer(request));
  }
  const [from, last] = (range ?? "").replace("bytes=", "").split("-").map(Number);
  return partial(data.slice(from, last + 1), from, last, data.length);
}

/** partial is a 206 answer that claims to carry bytes from `from` to `last` of `size`. */
export function partial(body: BodyInit, from: number, last: number, size: number): Response {
  return new Response(body, { status: 206, headers: { "Content-Range": `bytes ${from}-${last}/${size}` } });
}
