/** What the tests of the stores share. */

import type { CacheFolder } from "./cache";
import type { SyncFile } from "./cachefile";
import type { Bytes } from "./record";

/** Bytes by a simple rule, others for each seed. */
export function bytes(length: number, seed: number): Bytes {
  return Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8) * 13 + seed);
}

/** A disk in memory: files by name, room for so many bytes, and a kill after so many bytes written. */
export class Disk implements CacheFolder {
  readonly files = new Map<string, Bytes>();
  readonly open = new Set<string>();
  room = Infinity;
  fuel = Infinity;

  async *entries(): AsyncIterable<[string, { kind: string; getFile(): Promise<Blob> }]> {
    for (const [name, data] of [...this.files]) {
      yield await Promise.resolve([name, { kind: "file", getFile: () => Promise.resolve(new Blob([data])) }] as const);
    }
  }

  getFileHandle(name: string): Promise<unknown> {
    if (!this.files.has(name)) this.files.set(name, new Uint8Array(0));
    return Promise.resolve({
      createSyncAccessHandle: () => {
        if (this.open.has(name)) return Promise.reject(new DOMException("open", "NoModificationAllowedError"));
        this.open.add(name);
        return Promise.resolve(this.handle(name));
      },
    });
  }

  removeEntry(name: string): Promise<void> {
    this.files.delete(name);
    return Promise.resolve();
  }

  handle(name: string): SyncFile {
    const data = () => this.files.get(name) ?? new Uint8Array(0);
    return {
      read: (to, { at }) => {
        const part = data().subarray(at, at + to.length);
        to.set(part);
        return part.length;
      },
      write: (from, { at }) => {
        const n = Math.min(from.length, this.fuel);
        this.fuel -= n;
        const others = [...this.files].reduce((sum, [other, d]) => sum + (other === name ? 0 : d.length), 0);
        const size = Math.max(data().length, at + n);
        if (others + size > this.room) throw new DOMException("full", "QuotaExceededError");
        if (size > data().length) {
          const grown = new Uint8Array(size);
          grown.set(data());
          this.files.set(name, grown);
        }
        data().set(from.subarray(0, n), at);
        if (n < from.length) throw new Error("killed");
        return n;
      },
      truncate: (size) => {
        if (this.fuel > 0) this.files.set(name, data().slice(0, size));
      },
      getSize: () => data().length,
      close: () => this.open.delete(name),
    };
  }

  /** What a new process finds. */
  rebooted(): Disk {
    const next = new Disk();
    for (const [name, data] of this.files) next.files.set(name, data.slice());
    return next;
  }
}
