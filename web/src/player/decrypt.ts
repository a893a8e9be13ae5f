/**
 * Common Encryption (ISO/IEC 23001-7) undone in the page, for browsers without ClearKey: an encrypted track's bytes in, what they
 * were before out, of the same length and at the same places. Boxes that speak of encryption become `free`, samples become
 * plain. It must never read outside what it was given, and hand nothing on that it could not decrypt.
 *
 * The AES is WebCrypto's, which wants PKCS #7 padding with CBC and knows nothing of patterns. So the encrypted blocks of all
 * samples of a range are laid one after another and decrypted in one call, with one block behind them that decrypts to padding.
 * Where another sample's chain begins the result is off by what was chained in, which is known: the block before, instead of the
 * initialization vector.
 */

/** Bytes in memory of their own. */
type Bytes = Uint8Array<ArrayBuffer>;

/** What a track's initialization segment says about its encryption. */
export interface TrackLock {
  scheme: "cbcs" | "cenc";
  /** 16-byte blocks that are encrypted, and those that follow in the clear; 0 and 0 is no pattern. */
  crypt: number;
  skip: number;
  /** Bytes of each sample's initialization vector; 0 where `iv` is all samples'. */
  ivSize: number;
  iv: Bytes;
  /** Of a sample, where a fragment does not say. */
  defaultSize: number;
}

/** What cannot be read as encrypted film. */
export class DecryptError extends Error {
  override readonly name = "DecryptError";
}

const bad = (what: string): never => {
  throw new DecryptError(what);
};

/** A box: where it begins, where its content begins, and where it ends. */
interface Box {
  kind: string;
  at: number;
  from: number;
  to: number;
}

class Reader {
  readonly bytes: Bytes;
  readonly view: DataView;
  constructor(bytes: Bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** The boxes between two places. */
  boxes(from: number, to: number): Box[] {
    const list: Box[] = [];
    for (let at = from; at + 8 <= to;) {
      let size = this.view.getUint32(at);
      let head = 8;
      if (size === 1 && at + 16 <= to) {
        size = Number(this.view.getBigUint64(at + 8));
        head = 16;
      }
      if (size < head || size > to - at) bad(`a box of ${size} bytes`);
      list.push({ kind: this.kind(at + 4), at, from: at + head, to: at + size });
      at += size;
    }
    return list;
  }

  /** The first box along a path; undefined if there is none. */
  find(from: number, to: number, ...path: string[]): Box | undefined {
    const box = this.boxes(from, to).find(({ kind }) => kind === path[0]);
    return box && path.length > 1 ? this.find(box.from, box.to, ...path.slice(1)) : box;
  }

  kind(at: number): string {
    return String.fromCharCode(...this.bytes.subarray(at, at + 4));
  }

  /** Has a box be passed over. */
  free({ at }: Box): void {
    this.bytes.set([0x66, 0x72, 0x65, 0x65], at + 4);
  }
}

/** Bytes of a sample entry before its boxes. */
const entryHead: Record<string, number> = { encv: 78, enca: 28 };

/**
 * openInit turns an encrypted track's initialization segment, in place, into one of a track in the clear, and returns what it
 * said; undefined where nothing is encrypted, and nothing was changed.
 */
export function openInit(bytes: Bytes): TrackLock | undefined {
  const r = new Reader(bytes);
  const moov = r.find(0, bytes.length, "moov") ?? bad("no moov");
  const stsd = r.find(moov.from, moov.to, "trak", "mdia", "minf", "stbl", "stsd") ?? bad("no stsd");
  const [entry, ...others] = r.boxes(stsd.from + 8, stsd.to);
  if (!entry || others.length > 0) bad("not one sample entry");
  const head = entryHead[entry.kind];
  if (head === undefined) return undefined;
  const sinf = r.find(entry.from + head, entry.to, "sinf") ?? bad("no sinf");
  const frma = r.find(sinf.from, sinf.to, "frma") ?? bad("no frma");
  const schm = r.find(sinf.from, sinf.to, "schm") ?? bad("no schm");
  const tenc = r.find(sinf.from, sinf.to, "schi", "tenc") ?? bad("no tenc");
  const trex = r.find(moov.from, moov.to, "mvex", "trex") ?? bad("no trex");
  const scheme = r.kind(schm.from + 4);
  if (scheme !== "cbcs" && scheme !== "cenc") return bad(`encrypted as ${scheme}`);
  const version = bytes[tenc.from];
  const pattern = version > 0 ? bytes[tenc.from + 5] : 0;
  const ivSize = bytes[tenc.from + 7];
  const iv = new Uint8Array(16);
  if (ivSize === 0) {
    if (tenc.to < tenc.from + 41 || bytes[tenc.from + 24] !== 16) bad("no initialization vector");
    iv.set(bytes.subarray(tenc.from + 25, tenc.from + 41));
  } else if (ivSize !== 8 && ivSize !== 16) bad(`initialization vectors of ${ivSize} bytes`);
  const lock = { scheme, crypt: pattern >> 4, skip: pattern & 15, ivSize, iv } as const;
  const defaultSize = r.view.getUint32(trex.from + 16);

  bytes.copyWithin(entry.at + 4, frma.from, frma.from + 4);
  r.free(sinf);
  for (const box of r.boxes(moov.from, moov.to)) if (box.kind === "pssh") r.free(box);
  return { ...lock, defaultSize };
}

/** An encrypted stretch of a range: bytes `[from, to)`, a multiple of 16 with cbcs. */
interface Stretch {
  from: number;
  to: number;
}

/** A sample's encrypted stretches and its initialization vector. */
interface Sample {
  iv: Bytes;
  stretches: Stretch[];
}

/**
 * openSegment decrypts fragments, in place. The bytes must begin and end where fragments, or other boxes, do.
 */
export async function openSegment(bytes: Bytes, lock: TrackLock, key: CryptoKey): Promise<void> {
  const samples = fragments(bytes, lock);
  if (lock.scheme === "cbcs") await cbc(bytes, samples, key);
  else await Promise.all(samples.map((sample) => ctr(bytes, sample, key)));
}

/** importKey readies a content key, out of scripts' reach from now on. */
export function importKey(key: Bytes, scheme: TrackLock["scheme"]): Promise<CryptoKey> {
  const uses: KeyUsage[] = scheme === "cbcs" ? ["encrypt", "decrypt"] : ["decrypt"];
  return crypto.subtle.importKey("raw", key, scheme === "cbcs" ? "AES-CBC" : "AES-CTR", false, uses);
}

function fragments(bytes: Bytes, lock: TrackLock): Sample[] {
  const r = new Reader(bytes);
  const samples: Sample[] = [];
  for (const moof of r.boxes(0, bytes.length)) {
    if (moof.kind !== "moof") continue;
    for (const traf of r.boxes(moof.from, moof.to)) {
      if (traf.kind === "traf") samples.push(...samplesOf(r, lock, moof, traf));
    }
  }
  return samples;
}

function samplesOf(r: Reader, lock: TrackLock, moof: Box, traf: Box): Sample[] {
  const { view } = r;
  const tfhd = r.find(traf.from, traf.to, "tfhd") ?? bad("no tfhd");
  const flags = view.getUint32(tfhd.from) & 0xffffff;
  if (flags & 1) bad("data at places of the whole file"); // CMAF forbids it
  let at = tfhd.from + 8;
  let defaultSize = lock.defaultSize;
  if (flags & 2) at += 4;
  if (flags & 8) at += 4;
  if (flags & 16) defaultSize = view.getUint32(at);

  const senc = r.find(traf.from, traf.to, "senc");
  if (!senc && lock.ivSize > 0) bad("no senc");
  const subsampled = senc && (view.getUint32(senc.from) & 2) !== 0;
  let aux = senc ? senc.from + 8 : 0;
  const auxed = senc ? view.getUint32(senc.from + 4) : Infinity;

  const samples: Sample[] = [];
  let data = moof.at;
  for (const trun of r.boxes(traf.from, traf.to)) {
    if (trun.kind !== "trun") continue;
    const flags = view.getUint32(trun.from) & 0xffffff;
    const count = view.getUint32(trun.from + 4);
    let at = trun.from + 8;
    if (flags & 1) {
      data = moof.at + view.getInt32(at);
      at += 4;
    }
    if (flags & 4) at += 4;
    const each = [0x100, 0x200, 0x400, 0x800].filter((bit) => flags & bit).length * 4;
    const sizeAt = flags & 0x100 ? 4 : 0;
    if (at + each * count > trun.to || samples.length + count > auxed || (!each && count > r.bytes.length))
      bad("a short trun");
    for (let i = 0; i < count; i++, at += each) {
      const size = flags & 0x200 ? view.getUint32(at + sizeAt) : defaultSize;
      const end = data + size;
      if (data < 0 || end > r.bytes.length) bad("a sample outside of its segment");
      let iv = lock.iv;
      const stretches: Stretch[] = [];
      if (senc && lock.ivSize > 0) {
        if (aux + lock.ivSize > senc.to) bad("a short senc");
        iv = new Uint8Array(16);
        iv.set(r.bytes.subarray(aux, aux + lock.ivSize));
        aux += lock.ivSize;
      }
      if (senc && subsampled) {
        const parts = view.getUint16(aux);
        aux += 2;
        if (aux + 6 * parts > senc.to) bad("a short senc");
        for (let part = 0; part < parts; part++, aux += 6) {
          const from = data + view.getUint16(aux);
          data = from + view.getUint32(aux + 2);
          if (data > end) bad("more protected than there is");
          if (data > from) stretches.push({ from, to: data });
        }
      } else stretches.push({ from: data, to: end });
      samples.push({ iv, stretches });
      data = end;
    }
  }
  if (lock.scheme === "cbcs")
    for (const sample of samples) sample.stretches = sample.stretches.flatMap((s) => chained(s, lock));
  for (const box of r.boxes(traf.from, traf.to)) if (/^(senc|saiz|saio)$/.test(box.kind)) r.free(box);
  return samples;
}

/** One chain of cbcs: the encrypted blocks of a protected stretch, in the order of the pattern. */
interface Chain extends Stretch {
  /** Not the first of its chain. */
  goesOn: boolean;
}

function chained({ from, to }: Stretch, { crypt, skip }: TrackLock): Chain[] {
  const whole = from + ((to - from) & ~15); // what is less than a block stays in the clear
  if (skip === 0) return whole > from ? [{ from, to: whole, goesOn: false }] : [];
  const chain: Chain[] = [];
  for (let at = from; at < whole; at += 16 * (crypt + skip)) {
    chain.push({ from: at, to: Math.min(whole, at + 16 * crypt), goesOn: at > from });
  }
  return chain;
}

async function cbc(bytes: Bytes, samples: Sample[], key: CryptoKey): Promise<void> {
  const chains = samples.flatMap(({ iv, stretches }) => (stretches as Chain[]).map((stretch) => ({ ...stretch, iv })));
  const total = chains.reduce((sum, { from, to }) => sum + to - from, 0);
  if (total === 0) return;
  const sealed = new Uint8Array(total + 16);
  let at = 0;
  for (const { from, to } of chains) {
    sealed.set(bytes.subarray(from, to), at);
    at += to - from;
  }
  const first = chains[0].iv;
  // A block that decrypts to sixteen bytes of padding: what encrypting nothing gives, chained to the last.
  const padding = await crypto.subtle.encrypt(
    { name: "AES-CBC", iv: sealed.subarray(total - 16, total) },
    key,
    new Uint8Array(),
  );
  sealed.set(new Uint8Array(padding), total);
  const plain = new Uint8Array(await crypto.subtle.decrypt({ name: "AES-CBC", iv: first }, key, sealed));
  at = 0;
  for (const { from, to, goesOn, iv } of chains) {
    if (at > 0 && !goesOn) for (let i = 0; i < 16; i++) plain[at + i] ^= sealed[at - 16 + i] ^ iv[i];
    bytes.set(plain.subarray(at, at + to - from), from);
    at += to - from;
  }
}

async function ctr(bytes: Bytes, { iv, stretches }: Sample, key: CryptoKey): Promise<void> {
  // The counter goes on over a sample's clear parts.
  const total = stretches.reduce((sum, { from, to }) => sum + to - from, 0);
  if (total === 0) return;
  const sealed = new Uint8Array(total);
  let at = 0;
  for (const { from, to } of stretches) {
    sealed.set(bytes.subarray(from, to), at);
    at += to - from;
  }
  const plain = new Uint8Array(await crypto.subtle.decrypt({ name: "AES-CTR", counter: iv, length: 64 }, key, sealed));
  at = 0;
  for (const { from, to } of stretches) {
    bytes.set(plain.subarray(at, at + to - from), from);
    at += to - from;
  }
}
