/**
 * The room's frame: one viewer who has agreed to share, with an engine, connections and a store of its own. It asks
 * nobody to sign in, fills its frame, tells the room what its engine does, and obeys the room's switches.
 *
 *   viewer.html?n=1&title=essaim-demo&autoplay=1&muted=1&at=0
 *
 * `at` is where to begin, in milliseconds of film: a viewer that is loaded anew goes on where it stood. `cache=1` keeps what
 * was watched for the next visit.
 *
 * What it tells the window that holds it, and what that may tell it, stands in `room/messages.ts`.
 */

import "./viewer.css";
import { EssaimPlayer, exposeDebug } from "../player";
import type { CommandMessage, FrameMessage } from "../room/messages";
import { failureDictionary } from "../app/parts/failurewords";
import { remedy } from "../app/parts/remedy";
import { dictionary, preferred } from "../app/words";

/** The room's lines follow the counts at this pace. */
const statsEveryMs = 400;

const query = new URL(location.href).searchParams;
const n = Math.max(1, Math.min(99, Number.parseInt(query.get("n") ?? "1", 10) || 1));
const title = query.get("title") ?? "essaim-demo";

const language = preferred(navigator.languages);
const words = dictionary[language];
document.documentElement.lang = language;

const root = document.getElementById("viewer")!;
const video = document.createElement("video");
video.playsInline = true;
video.muted = query.get("muted") !== "0";
video.setAttribute("aria-label", words.frame.viewer(n));
const sound = document.createElement("button");
sound.type = "button";
sound.className = "sound";
const failure = document.createElement("p");
failure.className = "failure";
failure.setAttribute("role", "alert");
failure.hidden = true;
root.append(video, sound, failure);

/** The room: what frames this page, or opened it in a window of its own. */
const room = (): Window | undefined => (parent !== window ? parent : (opener as Window | null)) ?? undefined;

const tell = (message: FrameMessage) => room()?.postMessage(message, location.origin);

function showSound(): void {
  root.dataset.muted = String(video.muted);
  sound.setAttribute("aria-label", video.muted ? words.frame.soundOn : words.frame.soundOff);
}

// A click anywhere on the picture turns the sound on or off; the first one may also have to start the film.
sound.addEventListener("click", () => {
  if (video.paused && !video.ended) void player.play();
  video.muted = !video.muted;
});
video.addEventListener("volumechange", showSound);
showSound();

// All viewers of the room watch the same rendition: it shows sharing, and small frames would split so small an audience.
// Each begins with nothing, so that the room shows the same every time; with cache=1 it keeps what it watched.
const storage = query.get("cache") === "1" ? `viewer-${n}` : `scratch:viewer-${n}`;
const player = new EssaimPlayer({ video, title, share: true, storage, steady: true, record: true });
let lying = false;

player.events.on("note", ({ kind, ...note }) => tell({ ...note, essaim: "note", n, note: kind }));
// It may go on by itself, as when the network comes back.
player.events.on("phase", (phase) => (failure.hidden = phase !== "failed" || !failure.textContent));
player.events.on("failure", (reason) => {
  const here = { words: failureDictionary[language], api: words.api, online: navigator.onLine };
  failure.textContent = remedy(reason, here).text;
  failure.hidden = false;
});
exposeDebug(player);

setInterval(() => {
  const { positionMs, bufferedEndMs, stalls, ...stats } = player.stats();
  const { originBytes, peerBytes, cachedBytes, sentBytes, badBlocks, peers, downloadKbps } = stats;
  const counts = { originBytes, peerBytes, cachedBytes, sentBytes, badBlocks, peers, downloadKbps };
  const { paused, ended } = video;
  const { peerId } = player;
  tell({ ...counts, essaim: "stats", n, peerId, positionMs, bufferedEndMs, paused, ended, stalls, lying });
}, statsEveryMs);

addEventListener("message", (event: MessageEvent<unknown>) => {
  if (event.origin !== location.origin || event.source !== room()) return;
  const message = event.data as Partial<CommandMessage & { p2p: boolean }> | null;
  if (message?.essaim !== "command") return;
  if (typeof message.lie === "boolean" && message.lie !== lying) {
    lying = message.lie;
    player.lie(lying);
  }
  if (typeof message.p2p === "boolean") player.restrict({ p2p: message.p2p });
});

player
  .load(Math.max(0, Number(query.get("at")) || 0))
  .then(() => (query.get("autoplay") !== "0" ? player.play() : false))
  .catch(() => undefined); // the failure event has told already
