/**
 * The play session: what `POST /api/v1/titles/{id}/play` answers, and the heartbeat that keeps it alive. The shapes are
 * those of the Go package `vod` (`play.go`); a field here means what its namesake means there.
 */

/** Everything a player needs to fetch, verify and share one version of a title. */
export interface PlaySession {
  id: string;
  title: string;
  name: string;
  duration_ms: number;
  /** Lower-case v1 info hash: the swarm. */
  info_hash: string;
  /** Lower-case v2 info hash, 64 characters. */
  info_hash_v2: string;
  /** Bytes; a power of two, at least 16 KiB. */
  piece_length: number;
  /** In torrent order. */
  files: PlayFile[];
  /** DASH on-demand manifest; its BaseURLs are the files' paths. */
  manifest: string;
  /** How to open the files; absent where they are in the clear. */
  protection?: Protection;
  /** Text tracks that the viewer may choose from. */
  subtitles?: PlaySubtitle[];
  /** Small pictures for whoever seeks; absent where there are none. */
  storyboard?: PlayStoryboard;
  nodes: PlayNodes;
  tickets: PlayTickets;
  policy: PlayPolicy;
  /** How often to send a heartbeat. */
  heartbeat_ms: number;
}

/** How a session's files are encrypted (ISO/IEC 23001-7), and where their keys are had. */
export interface Protection {
  scheme: "cbcs" | "cenc";
  /** The plan includes no pictures of more lines than these: there are no keys to others. Absent: it includes all. */
  max_height?: number;
  /** Where W3C ClearKey licence requests are POSTed, with the licence ticket as bearer. */
  clearkey: string;
}

/** A text track: WebVTT. */
export interface PlaySubtitle {
  /** BCP 47; empty where it is not known. */
  lang: string;
  /** Plain text; may be empty. */
  label: string;
  /** A path on the server that answered. */
  url: string;
}

/** One JPEG with small pictures of the film, row by row. */
export interface PlayStoryboard {
  /** A path on the server that answered. */
  url: string;
  /** Milliseconds of film from one picture to the next; the first is of the beginning. */
  interval_ms: number;
  pictures: number;
  /** Pictures in a row. */
  across: number;
  /** Of each picture, in pixels. */
  width: number;
  height: number;
}

/** What a file of a title carries. */
export type Kind = "video" | "audio";

/** A segment's place: first byte, byte after the last, start and duration in milliseconds of film. */
export type PlaySegment = [from: number, to: number, startMs: number, durationMs: number];

/** One file of the session: a rendition or an audio track. */
export interface PlayFile {
  path: string;
  /** Bytes. */
  size: number;
  /** v2 pieces root (BEP 52), lower-case hexadecimal. */
  root: string;
  /** The torrent-wide number of the file's first piece. */
  first_piece: number;
  kind: Kind;
  /** RFC 6381. */
  codec: string;
  /** Bits per second. */
  bandwidth: number;
  height?: number;
  /** The name of the key that opens it, 32 lower-case hexadecimal digits; absent where it is in the clear. */
  kid?: string;
  segments: PlaySegment[];
  /** The hashes of the first pieces with their proof; absent for a file of one piece, whose hash is the root. */
  first?: PlayHashes;
}

/** An answered hash request of BEP 52 for a file's piece layer. */
export interface PlayHashes {
  /** The layer: 0 for leaves, log2(blocks per piece) for the piece layer. */
  base: number;
  index: number;
  length: number;
  proof: number;
  /** `length` digests and then the proof's, 32 bytes each, in base64. */
  hashes: string;
}

/** Where to go, best first; each a URL or a path on the server that answered. */
export interface PlayNodes {
  /** Prefixes of `media/{root}` and `hashes/{root}`. */
  origins: string[];
  /** WebSocket addresses; empty when the title has no swarm. */
  trackers: string[];
  /** STUN addresses, possibly none. One without a host, `stun::3478`, is on the host that answered. */
  ice: string[];
  /** HTTP addresses (BEP 3) of an open title's peers over TCP, which no page can speak. */
  announce?: string[];
}

/** The session's tickets, renewed by the heartbeat at half their life. */
export interface PlayTickets {
  media: string;
  swarm?: string;
  /** Where the files are encrypted. */
  license?: string;
  /** Milliseconds from the moment of the answer. */
  expires_ms: number;
}

/** What the operator and the viewer's consent allow. */
export interface PlayPolicy {
  /** Peers may be used at all. */
  p2p: boolean;
  /** The viewer agreed to share. */
  upload: boolean;
  /** Addresses of local networks may be offered to peers. */
  lan: boolean;
  /** Upload limit in kbit/s; 0 is none. */
  uplink_kbps: number;
}

/** The player's report. Byte counts are totals of the session. */
export interface Heartbeat {
  /** The viewer's consent of the moment; absent for one who has not answered. */
  share?: boolean;
  /** The player says goodbye: its session ends. */
  last?: boolean;
  position_ms: number;
  origin_bytes: number;
  peer_bytes: number;
  sent_bytes: number;
  stalls: number;
  stalled_ms: number;
  startup_ms: number;
  bad_blocks: number;
  /** Bytes that a store kept from earlier visits supplied. */
  cached_bytes?: number;
  /** Of the rendition that plays. */
  height?: number;
  /** The session goes on where another of this player's left off: no start of its own. */
  continued?: boolean;
  /** The peers that this session's engine has banned for good, the first 32 of them. */
  banned?: BannedPeer[];
}

/** How many of them are reported. */
export const bannedMax = 32;

/** A peer that a player will not have again. */
export interface BannedPeer {
  /** 40 hexadecimal digits. */
  peer_id: string;
  /** A hash proved that it lied; otherwise it had a part in two pieces that failed. */
  proven: boolean;
}

/** What a heartbeat brings back. */
export interface HeartbeatReply {
  /** Absent while the old ones have not passed half their life. */
  tickets?: PlayTickets;
  policy: PlayPolicy;
  /** When to send the next. */
  heartbeat_ms: number;
}

/**
 * Why play sessions end although their players would have gone on. A session whose plan gives less than it did (plan_changed)
 * is no end: the player begins another in its place.
 */
export const playEnds = [
  "revoked",
  "signed_out",
  "plan_ended",
  "not_included",
  "not_available",
  "withdrawn",
  "taken_over",
] as const;

/** One of {@link playEnds}. */
export type PlayEnd = (typeof playEnds)[number];

/** Reads a code of the server's: the reason why a session ended, or undefined for any other. */
export function playEndOf(code: unknown): PlayEnd | undefined {
  return playEnds.find((end) => end === code);
}

/** A film that the member is watching somewhere. */
export interface PlayStream {
  /** The play session. */
  session: string;
  title: string;
  /** The title's name; empty where it is published no more. */
  name: string;
  /** In the browser that asks. */
  here: boolean;
  /** What it plays on calls itself, such as "Firefox · Linux"; empty where that is not known. */
  device: string;
  /** RFC 3339. */
  began: string;
}
