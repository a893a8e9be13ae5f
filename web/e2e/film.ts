/**
 * Films for tests, and ways through them. What a test calls "the film" is what the service stores: every range that a player
 * was given is compared with it, hash for hash.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, type Page } from "@playwright/test";
import type { DeliveredRange, PlayerStats } from "../src/player";
import type { PlaySession } from "../src/player/session";
import { filmFolder, run } from "./service";

/** A clip of the demo film. */
export interface Clip {
  /** The title's id. */
  id: string;
  title: string;
  /** How long it is, and where in the demo film it begins (0 by default), in seconds. */
  seconds: number;
  from?: number;
  /** 720p shows the most; 360p is enough where several viewers decode at once. */
  size: "360p" | "720p";
  /** Open to all; otherwise for members. */
  open: boolean;
}

/** Ingests a clip of the demo film into a data folder that no service has open. */
export function addClip(data: string, { id, title, seconds, from = 0, size, open }: Clip): void {
  const clip = join(data, `${id}.mp4`);
  const inputs = [`video-${size}.mp4`, "audio.mp4"].flatMap((name) => ["-ss", `${from}`, "-i", join(filmFolder, name)]);
  const cut = ["-t", `${seconds}`, "-c", "copy", "-movflags", "+faststart", clip];
  execFileSync("ffmpeg", ["-v", "error", "-y", ...inputs, ...cut]);
  const flags = open ? ["--open"] : [];
  const said = run(["ingest", clip, "--title", title, "--id", id, ...flags, "--data", data, "--json"]);
  expect(JSON.parse(said)).toMatchObject({ id });
}

/** What the page's player counts. */
export const stats = (page: Page): Promise<PlayerStats> => page.evaluate(() => window.essaimDebug!.stats());

/** The page's play session. */
export const session = (page: Page): Promise<PlaySession> => page.evaluate(() => window.essaimDebug!.session()!);

/** The bytes of one viewing. */
export const filmBytes = ({ files }: PlaySession): number => files.reduce((sum, { size }) => sum + size, 0);

// Waits are for the event itself. Their bounds only end a test that has failed, and leave a loaded machine its time.
const patience = { timeout: 180_000 };

/** Waits until the page's film has played up to that second. */
export async function playsPast(page: Page, second: number): Promise<void> {
  await page.waitForFunction((at) => (document.querySelector("video")?.currentTime ?? 0) >= at, second, patience);
}

/** Waits until so many more seconds of film have played. */
export async function playsOn(page: Page, seconds: number): Promise<void> {
  await playsPast(page, (await page.evaluate(() => document.querySelector("video")!.currentTime)) + seconds);
}

/** Waits until the film has ended. */
export async function playsToTheEnd(page: Page): Promise<void> {
  await page.waitForFunction(() => document.querySelector("video")!.ended, undefined, patience);
}

/**
 * Goes through the film up to that second in leaps, each to four seconds before the end of what the player holds at that moment:
 * the player asks for every byte, and in order, without the time that it takes to see them. It runs dry as it would playing.
 */
export async function leapsTo(page: Page, second: number): Promise<void> {
  await page.waitForFunction(
    (last) => {
      const video = document.querySelector("video")!;
      const held = window.essaimDebug!.stats().bufferedEndMs / 1_000;
      const to = Math.min(held - 4, last);
      if (!video.seeking && to > video.currentTime + 1) video.currentTime = to;
      return !video.seeking && video.currentTime >= last - 1;
    },
    second,
    patience,
  );
}

/** Waits until the engine delivers. */
export async function byTheEngine(page: Page): Promise<void> {
  await page.waitForFunction(() => window.essaimDebug?.stats().via === "engine", undefined, patience);
}

/**
 * Every range that the player was given is the film's own, and with `whole` every byte of the film was given; `data` is the
 * service's folder. Returns the ranges.
 */
export async function sawTheFilm(page: Page, data: string, { whole = false } = {}): Promise<DeliveredRange[]> {
  await page.waitForFunction(() => window.essaimDebug!.delivered().every((range) => range.sha256 !== ""));
  const { files } = await session(page);
  const delivered: DeliveredRange[] = await page.evaluate(() => window.essaimDebug!.delivered());
  expect(delivered.length).toBeGreaterThan(3);
  for (const [number, file] of files.entries()) {
    const bytes = readFileSync(join(data, "objects", "objects", "media~", file.root));
    const ranges = delivered.filter((range) => range.file === number).sort((a, b) => a.from - b.from);
    let seen = file.segments[0][0];
    for (const { from, to, sha256 } of ranges) {
      expect(createHash("sha256").update(bytes.subarray(from, to)).digest("hex")).toBe(sha256);
      if (from <= seen) seen = Math.max(seen, to);
    }
    if (whole) expect(seen, `${file.path} was given whole`).toBe(file.segments.at(-1)![1]);
  }
  return delivered;
}
