/**
 * CRC32C (Castagnoli, as iSCSI has it: RFC 3720, appendix B.4), eight bytes at a time. It finds what a disk changes by
 * accident, and must be so cheap that every block that is read can be held against it; it withstands nobody who means harm.
 */

// Eight tables of 256: the k-th moves a byte on over k bytes of zeros.
const tables = new Int32Array(8 * 256);
for (let n = 0; n < 256; n++) {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  tables[n] = c;
}
for (let at = 256; at < tables.length; at++) {
  const c = tables[at - 256]!;
  tables[at] = (c >>> 8) ^ tables[c & 0xff]!;
}

// Whether words in memory begin with their lowest byte, as on all that browsers run on today.
const littleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** The checksum of `bytes`, an unsigned 32-bit number; `crc` is that of the bytes before them. Twice as fast where they are aligned to words. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  const t = tables;
  const end = bytes.length;
  let c = ~crc;
  let i = 0;
  if (littleEndian && bytes.byteOffset % 4 === 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, 2 * Math.floor(end / 8));
    for (let k = 0; k < words.length; k += 2) {
      c ^= words[k]!;
      const next = words[k + 1]!;
      c =
        t[1792 + (c & 0xff)]! ^
        t[1536 + ((c >>> 8) & 0xff)]! ^
        t[1280 + ((c >>> 16) & 0xff)]! ^
        t[1024 + (c >>> 24)]! ^
        t[768 + (next & 0xff)]! ^
        t[512 + ((next >>> 8) & 0xff)]! ^
        t[256 + ((next >>> 16) & 0xff)]! ^
        t[next >>> 24]!;
    }
    i = 4 * words.length;
  }
  for (; i + 8 <= end; i += 8) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    c =
      t[1792 + (c & 0xff)]! ^
      t[1536 + ((c >>> 8) & 0xff)]! ^
      t[1280 + ((c >>> 16) & 0xff)]! ^
      t[1024 + (c >>> 24)]! ^
      t[768 + bytes[i + 4]!]! ^
      t[512 + bytes[i + 5]!]! ^
      t[256 + bytes[i + 6]!]! ^
      t[bytes[i + 7]!]!;
  }
  for (; i < end; i++) c = (c >>> 8) ^ t[(c ^ bytes[i]!) & 0xff]!;
  return ~c >>> 0;
}
