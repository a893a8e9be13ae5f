import { expect, test } from "vitest";
import { browseDictionary } from "./browse/words";
import { peopleDictionary } from "./people/words";
import { bytes, dictionary, preferred } from "./words";

test("the first known language of the browser wins, else English", () => {
  expect(preferred(["de-DE", "fr-CA", "en"])).toBe("fr");
  expect(preferred(["en-GB", "fr"])).toBe("en");
  expect(preferred(["de"])).toBe("en");
  expect(preferred([])).toBe("en");
});

test("durations are minutes, then hours and minutes", () => {
  expect(dictionary.en.minutes(180_000).replace(/\s/g, " ")).toBe("3 min");
  expect(dictionary.en.minutes(10)).toMatch(/^1.min$/);
  expect(dictionary.fr.minutes(3_600_000 * 2 + 5 * 60_000).replace(/\s/g, " ")).toBe("2 h 05");
});

test("numbers follow the language", () => {
  expect(bytes("en", 1_250_000)).toBe("1.3\u00a0MB");
  expect(bytes("fr", 1_250_000)).toBe("1,3\u00a0Mo");
  expect(bytes("en", 999_960_000)).toBe("1.0\u00a0GB");
});

test("no sentence is left in the other language", () => {
  const texts = (value: unknown): string[] =>
    typeof value === "string" ? [value] : value && typeof value === "object" ? Object.values(value).flatMap(texts) : [];
  const same = (en: unknown, fr: unknown) => texts(en).filter((text) => texts(fr).includes(text));
  expect(same(dictionary.en, dictionary.fr)).toEqual(["Films"]);
  expect(same(browseDictionary.en, browseDictionary.fr)).toEqual([]);
  expect(same(peopleDictionary.en, peopleDictionary.fr)).toEqual([]);
});
