/** Fetches with several origins: one that fails, or that sent wrong bytes, makes way for the next. */
import { expect, test } from "vitest";
import { Fetches } from "./fetches.js";
import type { FetchOwner, Http } from "./fetches.js";

type Handler = Parameters<Http["get"]>[2];

function world(origins: string[]) {
  const asked: { url: string; handler: Handler }[] = [];
  const http: Http = {
    get: (url, _headers, handler) => {
      asked.push({ url, handler });
      return () => {};
    },
  };
  const owner = {
    give: () => {},
    fetchedBlock: () => {},
    bodyBegan: () => {},
    bodyBytes: () => {},
    bodyEnded: () => {},
    nowMs: () => 0,
  };
  const title = { files: [{ root: "aa", size: 65536 }] };
  const fetches = new Fetches(title as never, origins, "", http, owner as unknown as FetchOwner);
  let ref = 0;
  const ask = () => {
    fetches.range({ ref: ++ref, source: 0, file: 0, from: 0, to: 16384 } as never);
    const last = asked[asked.length - 1];
    if (!last) throw new Error("nothing was asked");
    return last;
  };
  return { fetches, ask };
}

test("an edge that fails, refuses or lies makes way for the next origin, once for each fault", () => {
  const { fetches, ask } = world(["https://edge", "https://service"]);
  const first = ask();
  const second = ask();
  expect(first.url).toBe("https://edge/media/aa");
  first.handler.fail();
  second.handler.fail(); // of the same fault: it does not lead back
  const third = ask();
  expect(third.url).toBe("https://service/media/aa");
  third.handler.head(404, () => null);
  expect(ask().url).toBe("https://edge/media/aa");
  fetches.refuted();
  expect(ask().url).toBe("https://service/media/aa");
});

test("a lone origin is asked again", () => {
  const { fetches, ask } = world(["https://service"]);
  ask().handler.fail();
  fetches.refuted();
  expect(ask().url).toBe("https://service/media/aa");
});
