import { expect, test } from "vitest";
import { clock, languageName, sameLanguage, spoken } from "./clock";
import { bestOf, noHabits, rates, readHabits } from "./habits";
import { type Key, ownKeys, wishOf } from "./keys";
import { cellAt } from "./storyboard";
import { watchDictionary } from "./words";

const key = (name: string, more: Partial<Key> = {}): Key => ({
  key: name,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  ...more,
});

test("the keys are those that people know from elsewhere", () => {
  const wishes = Object.fromEntries(
    [" ", "k", "K", "j", "l", "ArrowLeft", "ArrowRight", "m", "f", "c", "0", "7", "<", ">"].map((name) => [
      name,
      wishOf(key(name), false),
    ]),
  );
  expect(wishes).toEqual({
    " ": { do: "toggle" },
    k: { do: "toggle" },
    K: { do: "toggle" },
    j: { do: "jump", seconds: -10 },
    l: { do: "jump", seconds: 10 },
    ArrowLeft: { do: "jump", seconds: -5 },
    ArrowRight: { do: "jump", seconds: 5 },
    m: { do: "mute" },
    f: { do: "full" },
    c: { do: "subtitles" },
    "0": { do: "go", fraction: 0 },
    "7": { do: "go", fraction: 0.7 },
    "<": { do: "faster", by: -1 },
    ">": { do: "faster", by: 1 },
  });
});

test("what scrolls the page is the player's only where the focus is within it", () => {
  for (const name of ["ArrowUp", "ArrowDown", "Home", "End"]) {
    expect(wishOf(key(name), false)).toBeUndefined();
    expect(wishOf(key(name), true)).toBeDefined();
  }
});

test("the browser's own shortcuts stay its own", () => {
  for (const more of [{ ctrlKey: true }, { metaKey: true }, { altKey: true }]) {
    for (const name of ["f", "c", "l", "1", "ArrowLeft"]) expect(wishOf(key(name, more), true)).toBeUndefined();
  }
  expect(wishOf(key("Tab"), true)).toBeUndefined();
});

test("a focused control answers its own keys, and leaves the others to the player", () => {
  const element = (...selectors: string[]) =>
    ({ matches: (list: string) => list.split(",").some((each) => selectors.includes(each.trim())) }) as Element;
  expect(ownKeys(null, " ")).toBe(false);
  expect(ownKeys(element("button"), " ")).toBe(true);
  expect(ownKeys(element("button"), "k")).toBe(false);
  expect(ownKeys(element("input", "input[type=range]"), "ArrowLeft")).toBe(true);
  expect(ownKeys(element("input", "input[type=range]"), " ")).toBe(false);
  expect(ownKeys(element("input", "input[type=radio]"), "ArrowDown")).toBe(true);
  expect(ownKeys(element("input"), "k")).toBe(true);
});

test("times have hours where the film has them", () => {
  expect(clock(0)).toBe("0:00");
  expect(clock(187.9)).toBe("3:07");
  expect(clock(187, 4_000)).toBe("0:03:07");
  expect(clock(3_787)).toBe("1:03:07");
  expect(clock(NaN)).toBe("0:00");
});

test("times are said in full, in both languages", () => {
  expect(spoken(3_661, watchDictionary.en)).toBe("1 hour 1 minute 1 second");
  expect(spoken(7_320, watchDictionary.fr)).toBe("2 heures 2 minutes");
  expect(spoken(0, watchDictionary.en)).toBe("0 seconds");
});

test("languages have their names in the reader's language, and nonsense stays as it is", () => {
  expect(languageName("fr", "en")).toBe("French");
  expect(languageName("fr", "fr")).toBe("Français");
  expect(languageName("", "en")).toBe("");
  expect(languageName("not a tag", "en")).toBe("not a tag");
});

test("what was remembered is read with care", () => {
  const kept = { volume: 0.3, muted: true, rate: 1.5, audio: "fr", subtitles: "pt-BR", lastSubtitles: "pt-BR" };
  expect(readHabits(JSON.stringify(kept))).toEqual(kept);
  const nonsense = { volume: 7, muted: "yes", rate: 100, audio: 3, subtitles: "<b>", lastSubtitles: null };
  for (const text of [null, "", "{", "null", "[]", "7", JSON.stringify(nonsense)]) {
    expect(readHabits(text)).toEqual(noHabits);
  }
});

test("choices go by language: the very tag first, then the same language elsewhere", () => {
  const tracks = [{ lang: "en" }, { lang: "pt-PT" }, { lang: "pt-BR" }, { lang: "" }];
  expect(bestOf(tracks, "pt-BR")).toBe(2);
  expect(bestOf(tracks, "pt")).toBe(1);
  expect(bestOf(tracks, "en-GB")).toBe(0);
  expect(bestOf(tracks, "de")).toBe(-1);
  expect(bestOf(tracks, "")).toBe(-1);
  expect(bestOf([{ lang: "fra" }, { lang: "eng" }], "en")).toBe(1);
  expect(bestOf([{ lang: "de" }, { lang: "fr" }], "fra")).toBe(1);
  expect(sameLanguage("", "")).toBe(false);
});

test("normal is among the speeds, which rise", () => {
  expect(rates).toContain(1);
  expect([...rates].sort((a, b) => a - b)).toEqual(rates);
});

test("the storyboard's picture is that of the moment, and the last one's after the end", () => {
  const board = { url: "", interval_ms: 2_000, pictures: 12, across: 5, width: 160, height: 90 };
  expect(cellAt(board, 0)).toEqual({ x: -0, y: -0 });
  expect(cellAt(board, 9.9)).toEqual({ x: -640, y: -0 });
  expect(cellAt(board, 10)).toEqual({ x: -0, y: -90 });
  expect(cellAt(board, 1_000)).toEqual({ x: -160, y: -180 });
});

test("no text is left in the other language", () => {
  const texts = (value: object) =>
    Object.values(value).flatMap((text: unknown) => (typeof text === "string" ? [text] : []));
  expect(texts(watchDictionary.en).filter((text) => texts(watchDictionary.fr).includes(text))).toEqual([]);
});
