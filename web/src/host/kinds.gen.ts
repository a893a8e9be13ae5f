// Written by internal/host/browser/gen from internal/engine/step.go. Do not edit.

/** What happened: the kinds of engine inputs. */
export const InputKind = {
  TitleOpened: 1,
  IndexLoaded: 2,
  StoreRestored: 3,
  RangeWanted: 4,
  RangeCancelled: 5,
  Introduced: 6,
  PeerConnected: 7,
  PeerClosed: 8,
  Revoked: 9,
  MessageReceived: 10,
  SendQueue: 11,
  FetchProgress: 12,
  FetchDone: 13,
  FetchFailed: 14,
  Hashed: 15,
  HashesReceived: 16,
  Stored: 17,
  Evicted: 18,
  PlaybackMoved: 19,
  Seeked: 20,
  RenditionChosen: 21,
  PolicyChanged: 22,
  Tick: 23,
  SwarmCounted: 24,
  PathMeasured: 25,
  StoreFound: 26,
  Checked: 27,
  StoreBounded: 28,
  PieceHashed: 29,
  InfoLoaded: 30,
} as const;

/** What the host must do: the kinds of engine outputs. */
export const OutputKind = {
  RangeReady: 1,
  RangeFailed: 2,
  FetchRange: 3,
  CancelFetch: 4,
  Dial: 5,
  ClosePeer: 6,
  Announce: 7,
  SendMessage: 8,
  SendBlock: 9,
  Discard: 10,
  Hash: 11,
  RequestHashes: 12,
  Store: 13,
  Evict: 14,
  Note: 15,
  Check: 16,
  EvictFile: 17,
  Mark: 18,
  HashPiece: 19,
} as const;

/** What a Note output tells. */
export const NoteKind = {
  Block: 1,
  Piece: 2,
  Restored: 3,
  Evicted: 4,
  Sent: 5,
  BadBlock: 6,
  Banned: 7,
  PeerUp: 8,
  PeerDown: 9,
  Urgent: 10,
  Wasted: 11,
} as const;

/** Why something ended. */
export const Reason = {
  None: 0,
  Protocol: 1,
  BadData: 2,
  WrongSwarm: 3,
  WrongPeer: 4,
  Timeout: 5,
  Flood: 6,
  Policy: 7,
  Revoked: 8,
  Useless: 9,
  Duplicate: 10,
  Unavailable: 11,
  BadRange: 12,
  Suspect: 13,
} as const;

/** Qualifiers of an input or an output; they are or-ed. */
export const Flags = {
  Initiator: 1,
  Handshake: 2,
  Paused: 4,
  Peers: 8,
  Upload: 16,
  Started: 32,
  Completed: 64,
  Stopped: 128,
  V2: 256,
  Far: 512,
} as const;

/** The record's head before an input's data, in bytes. */
export const inputHead = 96;
/** The record's head before an output's data, in bytes. */
export const outputHead = 64;
/** The largest record, in bytes. */
export const sizeMax = 4194304;
