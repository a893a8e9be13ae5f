// Holds what the viewer downloads against web/budget.json: sizes after brotli, in bytes. A change that needs more raises
// the figure in the same change, and says why.
import { existsSync, readFileSync, statSync } from "node:fs";
import { brotliCompressSync } from "node:zlib";

const budget = JSON.parse(readFileSync("web/budget.json", "utf8"));
const dist = "web/dist";

function packed(file) {
  const twin = `${file}.br`;
  return existsSync(twin) ? statSync(twin).size : brotliCompressSync(readFileSync(file)).length;
}

// page is an HTML entry and all scripts and styles that it loads before anything is clicked.
function page(html) {
  const seen = new Set();
  const files = [`${dist}/${html}`];
  let bytes = 0;
  while (files.length > 0) {
    const file = files.pop();
    if (seen.has(file) || !existsSync(file)) continue;
    seen.add(file);
    bytes += packed(file);
    const text = readFileSync(file, "utf8");
    const links = file.endsWith(".html")
      ? [...text.matchAll(/(?:src|href)="(\/assets\/[^"]+\.(?:js|css))"/g)].map((m) => m[1])
      : [...text.matchAll(/(?:from|import)\s*"\.\/([^"]+\.js)"/g)].map((m) => `/assets/${m[1]}`);
    for (const link of links) files.push(dist + link);
  }
  return bytes;
}

let over = false;
for (const [name, limit] of Object.entries(budget)) {
  const bytes = name.endsWith(".html") ? page(name) : packed(`${dist}/${name}`);
  const verdict = bytes > limit ? "OVER" : "within";
  over ||= bytes > limit;
  console.log(`weight: ${name} ${bytes} bytes, ${verdict} its budget of ${limit}`);
}
process.exit(over ? 1 : 0);
