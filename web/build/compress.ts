// Vite plugins for the shipped folder. They must leave alone what others put there: the engine's WebAssembly, which Go
// builds after Vite has run, and the marker that keeps the folder in git.

import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants } from "node:zlib";
import type { Plugin } from "vite";

const brotli = promisify(brotliCompress);

/** What a build finds in the output folder and must not take away. */
const kept = new Set([".keep", "engine.wasm", "engine.wasm.br"]);

/** The kinds of file that brotli makes smaller; pictures and fonts are compressed already. */
const compressible = new Set([".js", ".css", ".html", ".wasm", ".svg", ".json", ".webmanifest"]);

/** emptyExceptEngine clears the output folder before a build, the engine and the marker excepted. */
export function emptyExceptEngine(folder: string): Plugin {
  return {
    name: "essaim:empty",
    apply: "build",
    async buildStart() {
      const names = await readdir(folder).catch(() => []);
      await Promise.all(
        names.filter((name) => !kept.has(name)).map((name) => rm(join(folder, name), { recursive: true })),
      );
    },
  };
}

/**
 * writeBrotli puts `NAME.br` beside each file that gains by it, at brotli's best quality, so that the server never
 * compresses while somebody waits.
 */
export function writeBrotli(folder: string): Plugin {
  return {
    name: "essaim:brotli",
    apply: "build",
    enforce: "post",
    async closeBundle() {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
      for (const entry of entries) {
        if (!entry.isFile() || kept.has(entry.name) || !compressible.has(extname(entry.name))) continue;
        const path = join(entry.parentPath, entry.name);
        const bytes = await readFile(path);
        const packed = await brotli(bytes, {
          params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
        });
        if (packed.length < bytes.length) await writeFile(`${path}.br`, packed);
      }
    },
  };
}
