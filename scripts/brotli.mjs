// Writes FILE.br beside each FILE given, at brotli's highest quality, unless it is newer already, and prints the sizes.
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants } from "node:zlib";

for (const file of process.argv.slice(2)) {
  const packed = `${file}.br`;
  const raw = readFileSync(file);
  const old = statSync(packed, { throwIfNoEntry: false });
  if (!old || old.mtimeMs < statSync(file).mtimeMs) {
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: raw.length };
    writeFileSync(packed, brotliCompressSync(raw, { params }));
  }
  console.log(`${file} ${raw.length} bytes, ${statSync(packed).size} after brotli`);
}
