import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Rest, restAfterMs } from "./rest";

/** As much of page, window and video as a rest looks at. */
class FakePage extends EventTarget {
  hidden = false;
  show(seen: boolean) {
    this.hidden = !seen;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

class FakeVideo extends EventTarget {
  paused = false;
  ended = false;
  pause(paused = true) {
    this.paused = paused;
    this.dispatchEvent(new Event(paused ? "pause" : "play"));
  }
}

function make() {
  const [page, around, video] = [new FakePage(), new EventTarget(), new FakeVideo()];
  vi.stubGlobal("document", page);
  vi.stubGlobal("addEventListener", around.addEventListener.bind(around));
  const life = new AbortController();
  const told: string[] = [];
  const rest = new Rest(
    video as unknown as HTMLVideoElement,
    { changed: () => told.push("changed"), woke: () => told.push("woke") },
    life.signal,
  );
  const fire = (type: string) => around.dispatchEvent(new Event(type));
  return { page, video, life, rest, told, fire };
}

beforeEach(() => void vi.useFakeTimers());

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("a page that is hidden and paused gives nothing after five minutes, and is itself again once it is seen", () => {
  const { page, video, rest, told } = make();
  page.show(false);
  video.pause();
  vi.advanceTimersByTime(restAfterMs - 1);
  expect(rest.resting).toBe(false);
  vi.advanceTimersByTime(1);
  expect([rest.resting, told]).toEqual([true, ["changed"]]);
  vi.advanceTimersByTime(30 * 60_000);
  expect(told).toEqual(["changed"]);
  page.show(true);
  expect([rest.resting, told]).toEqual([false, ["changed", "changed", "woke"]]);
});

test("a film that plays behind its viewer's back, or is paused before their eyes, does not rest", () => {
  const { page, video, rest, told } = make();
  page.show(false);
  vi.advanceTimersByTime(10 * restAfterMs);
  video.pause();
  vi.advanceTimersByTime(restAfterMs - 1);
  video.pause(false); // by a key of the keyboard
  vi.advanceTimersByTime(10 * restAfterMs);
  page.show(true);
  video.pause();
  vi.advanceTimersByTime(10 * restAfterMs);
  expect([rest.resting, told]).toEqual([false, []]);
});

test("playing ends the rest; the end of a film begins it", () => {
  const { page, video, rest } = make();
  page.show(false);
  video.ended = true;
  video.dispatchEvent(new Event("ended"));
  vi.advanceTimersByTime(restAfterMs);
  expect(rest.resting).toBe(true);
  video.ended = false;
  video.pause(false);
  expect(rest.resting).toBe(false);
});

test("a machine that has slept, or whose network is back, wakes", () => {
  const { page, told, fire } = make();
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual([]);
  vi.setSystemTime(Date.now() + 30_000); // timers stood still
  vi.advanceTimersByTime(5_000);
  expect(told).toEqual(["woke"]);
  fire("online");
  expect(told).toEqual(["woke", "woke"]);
  // Browsers look at a hidden page's timers once a minute: that is no sleep. Half an hour is.
  page.show(false);
  vi.setSystemTime(Date.now() + 60_000);
  vi.advanceTimersByTime(5_000);
  expect(told).toEqual(["woke", "woke"]);
  vi.setSystemTime(Date.now() + 30 * 60_000);
  vi.advanceTimersByTime(5_000);
  expect(told).toEqual(["woke", "woke", "woke"]);
});

test("a page that is left rests at once", () => {
  const { rest, fire } = make();
  fire("pagehide");
  expect(rest.resting).toBe(true);
  fire("pageshow");
  expect(rest.resting).toBe(false);
});

test("nothing is left when the player ends", () => {
  const { page, video, life, told, fire } = make();
  page.show(false);
  video.pause();
  life.abort();
  expect(vi.getTimerCount()).toBe(0);
  page.show(true);
  fire("pagehide");
  fire("online");
  expect(told).toEqual([]);
});
