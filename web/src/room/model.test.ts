import { describe, expect, test } from "vitest";
import { frameMessage, type NoteMessage, type StatsMessage } from "./messages";
import { cameFrom, elsewhere, Origin, Room, server, type RoomEvent } from "./model";
import type { Film, ServerState } from "./server";

const film: Film = {
  title_id: "film",
  name: "A film",
  duration_ms: 8_000,
  piece_length: 32_768,
  files: [
    {
      path: "video.mp4",
      kind: "video",
      height: 720,
      size: 4 * 32_768,
      first_piece: 0,
      starts_ms: [0, 2_000, 4_000, 6_000],
    },
    { path: "audio.mp4", kind: "audio", height: 0, size: 1_000, first_piece: 4, starts_ms: [0] },
  ],
};

const id = (n: number) => String(n).repeat(40);

function note(n: number, kind: NoteMessage["note"], more: Partial<NoteMessage> = {}): NoteMessage {
  return { essaim: "note", n, note: kind, peer: 0, piece: 0, begin: 0, length: 0, reason: 0, ...more };
}

function stats(n: number, more: Partial<StatsMessage> = {}): StatsMessage {
  const counts = {
    originBytes: 0,
    peerBytes: 0,
    cachedBytes: 0,
    sentBytes: 0,
    badBlocks: 0,
    peers: 0,
    downloadKbps: 0,
  };
  const playback = { positionMs: 0, bufferedEndMs: 0, paused: false, ended: false, stalls: 0, lying: false };
  return { essaim: "stats", n, peerId: id(n), ...counts, ...playback, ...more };
}

const told = (origin_bytes: number) => ({ origin_bytes, time_ms: 0 }) as ServerState;

/** A room of two who have met: viewer 2 knows viewer 1 as its connection 7. */
function two(): { room: Room; events: RoomEvent[] } {
  const room = new Room(film);
  const events: RoomEvent[] = [];
  room.onEvent = (event) => events.push(event);
  room.open(1, 0);
  room.open(2, 0);
  room.take(stats(1), 0);
  room.take(stats(2), 0);
  room.take(note(2, "peer_up", { peer: 7, peerId: id(1) }), 0);
  return { room, events };
}

describe("the room", () => {
  test("draws a line each way between viewers that are connected, and one from the server to each", () => {
    const { room } = two();
    expect(room.lines(0).map((l) => `${l.from}>${l.to}`)).toEqual(["0>1", "0>2", "2>1", "1>2"]);
    room.take(note(2, "peer_down", { peer: 7 }), 1);
    expect(room.lines(1).map((l) => `${l.from}>${l.to}`)).toEqual(["0>1", "0>2"]);
  });

  test("measures a line over the last three seconds", () => {
    const { room } = two();
    room.take(note(2, "block", { peer: 7, peerId: id(1), length: 16_384 }), 1_000);
    expect(room.kbps(1, 2, 1_000)).toBeCloseTo((16_384 * 8) / 3_000);
    expect(room.kbps(2, 1, 1_000)).toBe(0);
    expect(room.kbps(1, 2, 4_000)).toBe(0);
  });

  test("colours a piece by who gave it and counts its bytes once", () => {
    const { room } = two();
    const viewer = room.viewers.get(2)!;
    for (let i = 0; i < 2; i++) room.take(note(2, "piece", { peer: 7, piece: 1, length: 32_768 }), 0);
    room.take(note(2, "piece", { piece: 2, length: 32_768 }), 0);
    expect([...viewer.pieces]).toEqual([0, cameFrom(1), cameFrom(server), 0, 0]);
    expect(room.receivedBytes).toBe(2 * 32_768);
  });

  test("takes for cache only what nobody has given", () => {
    const { room } = two();
    room.take(note(1, "piece", { piece: 0, length: 32_768 }), 0);
    room.take(note(1, "restored", { piece: 0, length: 32_768 }), 0);
    room.take(note(1, "restored", { piece: 3, length: 32_768 }), 0);
    const { pieces } = room.viewers.get(1)!;
    expect([pieces[0], pieces[3]]).toEqual([cameFrom(server), Origin.cache]);
    expect(room.receivedBytes).toBe(32_768);
  });

  test("sends one bead for each block, also for pieces that the page fetched whole", () => {
    const { room, events } = two();
    room.take(note(1, "piece", { piece: 0, length: 32_768 }), 0);
    room.take(note(2, "block", { peer: 7, piece: 1, length: 16_384 }), 0);
    room.take(note(2, "piece", { peer: 7, piece: 1, length: 16_384 }), 0);
    expect(events).toEqual([
      { kind: "block", from: server, to: 1, bytes: 16_384 },
      { kind: "block", from: server, to: 1, bytes: 16_384 },
      { kind: "block", from: 1, to: 2, bytes: 16_384 },
    ]);
  });

  test("shows a liar dropped until it comes back as a new peer, and who gave the piece again", () => {
    const { room } = two();
    room.take(note(2, "bad_block", { peer: 7, piece: 3 }), 5);
    room.take(note(2, "banned", { peer: 7 }), 5);
    room.take(note(2, "peer_down", { peer: 7 }), 5);
    expect(room.viewers.get(2)!.pieces[3]).toBe(Origin.bad);
    expect(
      room
        .lines(5)
        .filter((l) => l.state === "dropped")
        .map((l) => `${l.from}>${l.to}`),
    ).toEqual(["2>1", "1>2"]);
    expect(room.bannedBy(1)).toEqual([2]);
    expect(room.incidents).toEqual([{ victim: 2, liar: 1, piece: 3, at: 5, again: undefined }]);

    room.take(note(2, "piece", { piece: 3, length: 32_768 }), 9);
    expect(room.incidents[0]!.again).toBe(server);
    expect(room.viewers.get(2)!.scars.has(3)).toBe(true);

    room.open(1, 10);
    room.take(stats(1, { peerId: id(9) }), 10);
    expect(room.bannedBy(1)).toEqual([]);
    expect(room.lines(10).map((l) => `${l.from}>${l.to}`)).toEqual(["0>1", "0>2"]);
  });

  test("names a peer that none of its frames is", () => {
    const { room } = two();
    room.take(note(1, "peer_up", { peer: 3, peerId: id(8) }), 0);
    room.take(note(1, "piece", { peer: 3, piece: 0, length: 1 }), 0);
    expect(room.viewers.get(1)!.pieces[0]).toBe(cameFrom(elsewhere));
    expect(room.lines(0).some((l) => l.from === elsewhere && l.to === 1)).toBe(true);
  });

  test("counts the server's bytes from its own counter, since the room opened", () => {
    const { room } = two();
    room.told(told(1_000), 0);
    room.take(note(1, "piece", { piece: 0, length: 32_768 }), 0);
    room.told(told(34_000), 32_768);
    room.take(note(1, "piece", { piece: 1, length: 32_768 }), 0);
    expect(room.originBytes).toBe(33_000);
    expect(room.plainBytes).toBe(32_768);
    room.told(told(500), 65_536); // the server was started again
    expect(room.originBytes).toBe(500);
  });

  test("forgets a frame that closes, but not what it received", () => {
    const { room } = two();
    room.take(note(2, "piece", { peer: 7, piece: 1, length: 32_768 }), 0);
    room.close(2);
    expect(room.lines(0).map((l) => `${l.from}>${l.to}`)).toEqual(["0>1"]);
    expect(room.receivedBytes).toBe(32_768);
  });
});

describe("messages", () => {
  test("that are no frame's are refused", () => {
    for (const data of [
      null,
      1,
      "x",
      {},
      { essaim: "note", n: 9, note: "block" },
      { essaim: "note", n: 1, note: "boast" },
    ]) {
      expect(frameMessage(data)).toBeUndefined();
    }
  });

  test("carry no figure that is none", () => {
    const m = frameMessage({ essaim: "note", n: 1, note: "block", length: -5, piece: NaN, peer: "7", peerId: "zz" });
    expect(m).toEqual({ essaim: "note", n: 1, note: "block", peer: 0, piece: 0, begin: 0, length: 0, reason: 0 });
  });
});
