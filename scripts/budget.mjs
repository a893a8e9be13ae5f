// Holds what the viewer downloads against web/budget.json: sizes after brotli, in bytes. A change that needs more raises
// the figure in the same change, and says why.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { brotliCompressSync } from "node:zlib";

const budget = JSON.parse(readFileSync("web/budget.json", "utf8"));
const dist = "web/dist";

function packed(file) {
  const twin = `${file}.br`;
  return existsSync(twin)
    ? statSync(twin).size
    : brotliCompressSync(readFileSync(file)).length;
}

// player is the watch page and everything that it ever loads: page, styles, Shaka, the engine's host; the room's own and the
// account and operator pages are left out.
function player() {
  const names = readdirSync(`${dist}/assets`).filter(
    (name) =>
      /\.(js|css)$/.test(name) &&
      !/^(room|viewer|People|Operator|Nav)-/.test(name),
  );
  return [
    `${dist}/index.html`,
    ...names.map((name) => `${dist}/assets/${name}`),
  ].reduce((sum, file) => sum + packed(file), 0);
}

let over = false;
for (const [name, limit] of Object.entries(budget)) {
  const bytes = name === "player" ? player() : packed(`${dist}/${name}`);
  const verdict = bytes > limit ? "OVER" : "within";
  over ||= bytes > limit;
  console.log(
    `weight: ${name} ${bytes} bytes, ${verdict} its budget of ${limit}`,
  );
}
process.exit(over ? 1 : 0);
