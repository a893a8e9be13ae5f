import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";
import { emptyExceptEngine, writeBrotli } from "./build/compress.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const dist = here("./dist");

/** The pages. Each is an HTML file of its own; a page that has not been written yet is left out. */
const pages = ["index.html", "viewer.html", "room.html"].filter((page) => existsSync(here(page)));

/** The server behind `npm run dev`, which answers everything that is not the web app's own. */
const server = process.env.ESSAIM_URL ?? "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [svelte(), emptyExceptEngine(dist), writeBrotli(dist)],
  // Pages are served at any depth by the server's fallback, so their assets' addresses begin at the root.
  base: "/",
  appType: "spa",
  build: {
    target: "es2023",
    outDir: dist,
    emptyOutDir: false, // emptyExceptEngine does it
    assetsInlineLimit: 0, // the Content-Security-Policy allows files of our own, and few data: addresses
    modulePreload: { polyfill: false }, // the polyfill would be an inline script
    chunkSizeWarningLimit: 900,
    rolldownOptions: {
      input: pages.map((page) => here(page)),
      // Compressing at brotli's best takes its time; that is no news.
      checks: { pluginTimings: false },
      output: { codeSplitting: { groups: [{ name: "svelte", test: /node_modules\/svelte\// }] } },
    },
  },
  worker: { format: "es" },
  server: {
    port: 5173,
    proxy: Object.fromEntries(
      ["/api", "/media", "/hashes", "/objects", "/tracker", "/demo", "/room/api", "/engine.wasm"].map((path) => [
        path,
        { target: server, ws: path === "/tracker" },
      ]),
    ),
  },
  test: {
    include: ["src/**/*.test.ts"],
    environment: "node",
    testTimeout: 60_000, // what passes takes a moment; a busy machine must not make it fail
  },
});
