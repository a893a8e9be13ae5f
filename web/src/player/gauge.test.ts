import { expect, test } from "vitest";
import { Gauge } from "./gauge";

/** As much of a video element as a gauge looks at. */
class FakeVideo extends EventTarget {
  currentTime = 0;
  playbackRate = 1;
  paused = false;
  ended = false;
  seeking = false;
  ranges: [number, number][] = [];
  get buffered() {
    return {
      length: this.ranges.length,
      start: (i: number) => this.ranges[i][0],
      end: (i: number) => this.ranges[i][1],
    };
  }
  fire(...types: string[]) {
    for (const type of types) this.dispatchEvent(new Event(type));
  }
}

function make() {
  const video = new FakeVideo();
  let now = 1_000;
  const gauge = new Gauge(video as unknown as HTMLVideoElement, () => now);
  const pass = (ms: number) => (now += ms);
  const begin = () => {
    pass(300);
    video.ranges = [[0, 4]];
    video.fire("loadeddata", "playing");
    video.currentTime = 1;
    video.fire("timeupdate");
  };
  return { video, gauge, pass, begin };
}

test("start-up is the time to the first frame, and waiting for it is no stall", () => {
  const { video, gauge, begin } = make();
  video.fire("waiting");
  begin();
  expect(gauge.read()).toEqual({ startupMs: 300, stalls: 0, stalledMs: 0 });
});

test("a film that was asked to play and has not moved yet is still starting", () => {
  const { video, gauge } = make();
  video.fire("loadeddata", "playing", "timeupdate", "waiting");
  gauge.starving();
  expect(gauge.read().stalls).toBe(0);
});

test("a buffer run dry is one stall until the play head moves", () => {
  const { video, gauge, pass, begin } = make();
  begin();
  video.currentTime = 3.9;
  gauge.starving();
  video.fire("waiting");
  pass(700);
  expect(gauge.stalling).toBe(true);
  expect(gauge.read()).toMatchObject({ stalls: 1, stalledMs: 700 });
  video.currentTime = 4;
  video.fire("timeupdate");
  pass(300);
  video.ranges = [[0, 8]];
  video.currentTime = 4.3;
  video.fire("timeupdate");
  pass(5_000);
  expect(gauge.read()).toMatchObject({ stalls: 1, stalledMs: 1_000 });
});

test("a play head that stops over a dry buffer without any event is found", () => {
  const { video, gauge, pass, begin } = make();
  begin();
  video.currentTime = 3.8;
  gauge.poll();
  expect(gauge.stalling).toBe(false);
  gauge.poll();
  pass(10_000);
  expect(gauge.read()).toMatchObject({ stalls: 1, stalledMs: 10_000 });
});

test("a slow decoder over a full buffer, a seek and a pause are no stalls", () => {
  const { video, gauge, begin } = make();
  begin();
  video.fire("waiting");
  video.currentTime = 100;
  video.seeking = true;
  video.fire("seeking", "waiting");
  video.seeking = false;
  video.fire("waiting");
  video.paused = true;
  video.fire("canplay", "waiting");
  expect(gauge.read().stalls).toBe(0);
});

test("the buffer's end is that of the film around the play head, small gaps stepped over", () => {
  const { video, gauge } = make();
  video.ranges = [
    [0, 2],
    [2.05, 5],
    [9, 12],
  ];
  video.currentTime = 1.5;
  expect(gauge.playback()).toEqual({ position_ms: 1_500, buffered_end_ms: 5_000, rate: 1, paused: false });
  video.currentTime = 7;
  expect(gauge.playback().buffered_end_ms).toBe(7_000);
});

test("a stopped gauge hears nothing more", () => {
  const { video, gauge, begin } = make();
  begin();
  gauge.stop();
  video.currentTime = 4;
  video.fire("waiting");
  expect(gauge.read().stalls).toBe(0);
});
