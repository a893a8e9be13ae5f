import { expect, test } from "vitest";
import { ApiError, type ApiErrorKind } from "../../player/api";
import { Ended, explain, type PlayerFailure, Unloaded, Unsupported } from "../../player/failure";
import { playEnds } from "../../player/session";
import { SourceError, type SourceErrorCode } from "../../player/source";
import { dictionary } from "../words";
import { failureDictionary } from "./failurewords";
import { remedy, type Way } from "./remedy";

const here = (online = true) => ({ words: failureDictionary.en, api: dictionary.en.api, online });

/** As Shaka wraps what our scheme throws. */
const shaka = (code: number, category: number, ...data: unknown[]) => ({ code, category, data });
const source = (code: SourceErrorCode) => shaka(1002, 1, "essaim:/", new SourceError(code, code));
const api = (kind: ApiErrorKind, status: number, code?: string) => new ApiError(kind, status, code ? { code } : {});

/** What is thrown, the way on, and a word of what is said. */
const table: [string, unknown, Way, RegExp, boolean?][] = [
  ["no network", source("network"), "again", /does not answer.*by itself/, true],
  ["no network at the start", api("offline", 0), "again", /cannot be reached/, true],
  ["a ticket refused", source("refused"), "begin", /permission .* run out/],
  ["the film replaced", source("missing"), "begin", /replaced/],
  ["wrong bytes", source("corrupt"), "again", /not this film’s/],
  ["a damaged index", source("range"), "films", /damaged/],
  ["a page in the clear", source("insecure"), "secure", /HTTPS/],
  ["a plan that ended while it played", new Ended("plan_ended"), "plan", /plan has ended/],
  ["a plan that had ended", api("forbidden", 403, "plan_ended"), "plan", /plan has ended/],
  ["a plan without it", api("missing", 410, "not_included"), "films", /does not include/],
  ["too many streams", api("invalid", 409, "too_many_streams"), "streams", /as many screens/],
  ["another screen instead", new Ended("taken_over"), "here", /elsewhere/],
  ["a withdrawn title", new Ended("withdrawn"), "films", /withdrawn/],
  ["a title whose time is over", new Ended("not_available"), "films", /not available/],
  ["a child's profile", api("forbidden", 403, "limited"), "films", /profile/],
  ["no picture in the plan", shaka(4012, 4), "films", /does not include/],
  ["a browser too old", new Unsupported(), "copy", /too old/],
  ["a codec that is missing", shaka(4032, 4), "copy", /cannot play this film/],
  ["a full device", shaka(3017, 3), "again", /no room/],
  ["a part of the page missing", new Unloaded(), "reload", /did not load/],
  ["signed out elsewhere", new Ended("signed_out"), "sign-in", /signed out/],
  ["an expired session", api("unauthorized", 401), "sign-in", /Sign in/],
  ["the operator's word", new Ended("revoked"), "begin", /operator/],
  ["a service that is busy", api("busy", 503), "again", /busy/, true],
  ["a service that fails", api("server", 500), "again", /wrong on our side/, true],
  ["a page that is too old", api("invalid", 422), "reload", /Reload/],
];

test.each(table)("%s has a plain sentence and a way on", (_, thrown, way, says, passes = false) => {
  const found = remedy(explain(thrown), here());
  expect(found).toEqual({ text: expect.stringMatching(says) as string, way, passes });
});

test("what passes by itself says so when the browser knows that there is no network", () => {
  for (const thrown of [source("network"), api("offline", 0), api("server", 502)])
    expect(remedy(explain(thrown), here(false)).text).toMatch(/no network.*by itself/);
  expect(remedy(explain(new Ended("withdrawn")), here(false)).text).toMatch(/withdrawn/);
});

test("a wait that nothing ends is told of", () => {
  expect(remedy(undefined, here())).toEqual({ text: failureDictionary.en.silent, way: "again", passes: false });
  expect(remedy(undefined, here(false)).text).toMatch(/no network/);
});

test("nothing that can happen is without a sentence, in either language", () => {
  const codes: SourceErrorCode[] = ["refused", "missing", "corrupt", "network", "closed", "range", "insecure"];
  const kinds: ApiErrorKind[] = ["offline", "unauthorized", "forbidden", "missing", "invalid", "busy", "server"];
  const all: PlayerFailure[] = [
    ...codes.map(source),
    ...kinds.map((kind) => api(kind, 400)),
    ...playEnds.map((end) => new Ended(end)),
    ...[new Unsupported(), new Unloaded(), shaka(3017, 3), shaka(3016, 3), new Error("?"), undefined, "text"],
  ].map(explain);
  for (const language of ["en", "fr"] as const)
    for (const online of [true, false])
      for (const failure of all) {
        const words = failureDictionary[language];
        const found = remedy(failure, { words, api: dictionary[language].api, online });
        expect(found.text, failure.code).toMatch(/^\p{Lu}.*\.$/u);
        if (found.way !== "streams") expect(words.ways[found.way]).toMatch(/^\p{Lu}/u);
      }
});

test("no sentence is left in the other language", () => {
  const texts = (value: unknown): string[] =>
    typeof value === "string" ? [value] : value && typeof value === "object" ? Object.values(value).flatMap(texts) : [];
  const { en, fr } = failureDictionary;
  expect(texts(en).filter((text) => texts(fr).includes(text))).toEqual([]);
});
