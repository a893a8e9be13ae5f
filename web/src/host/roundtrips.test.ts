import { expect, test } from "vitest";
import { RoundTrips } from "./roundtrips";

const report = (...stats: { id: string; type: string; [field: string]: unknown }[]) =>
  new Map<string, unknown>(stats.map((s) => [s.id, s]));
const pair = (id: string, fields: object) => ({ id, type: "candidate-pair", ...fields });

test("the mean of what was measured since the last time is told, once", () => {
  const trips = new RoundTrips();
  const at = (responsesReceived: number, totalRoundTripTime: number) =>
    trips.read(report(pair("a", { nominated: true, state: "succeeded", responsesReceived, totalRoundTripTime })));
  expect(at(0, 0)).toBe(0);
  expect(at(4, 0.1)).toBe(25_000);
  expect(at(4, 0.1)).toBe(0);
  expect(at(6, 0.4)).toBe(150_000);
});

test("the pair that the transport uses counts, and another one begins anew", () => {
  const trips = new RoundTrips();
  const a = pair("a", { nominated: true, state: "succeeded", responsesReceived: 10, totalRoundTripTime: 1 });
  const b = pair("b", { nominated: true, state: "succeeded", responsesReceived: 2, totalRoundTripTime: 0.02 });
  const used = (id: string) => ({ id: "t", type: "transport", selectedCandidatePairId: id });
  expect(trips.read(report(a, b, used("a")))).toBe(100_000);
  expect(trips.read(report(a, b, used("b")))).toBe(10_000);
  expect(trips.read(report(a, b, used("b")))).toBe(0);
});

test("browsers that tell less are understood as far as they go", () => {
  const trips = new RoundTrips();
  expect(trips.read(report())).toBe(0);
  expect(trips.read(report(pair("a", { state: "in-progress", currentRoundTripTime: 0.5 })))).toBe(0);
  expect(trips.read(report(pair("a", { selected: true, state: "succeeded" })))).toBe(0);
  expect(trips.read(report(pair("a", { selected: true, currentRoundTripTime: 0.5 })))).toBe(500_000);
  expect(trips.read(report(pair("a", { selected: true, currentRoundTripTime: 0.5, responsesReceived: 1 })))).toBe(
    500_000,
  );
});
