/** Times and names as a player shows and says them. */

import type { Language } from "../words";
import type { WatchWords } from "./words";

/** clock writes seconds as 3:07 or 1:03:07; with hours where `whole`, the film's length, has them. */
export function clock(seconds: number, whole = seconds): string {
  const all = Math.max(0, Math.floor(seconds || 0));
  const two = (n: number) => String(n).padStart(2, "0");
  const hours = Math.floor(all / 3_600);
  const minutes = Math.floor(all / 60) % 60;
  return whole >= 3_600 ? `${hours}:${two(minutes)}:${two(all % 60)}` : `${minutes}:${two(all % 60)}`;
}

/** spoken says seconds as a person would: what is nothing is left out. */
export function spoken(seconds: number, words: WatchWords): string {
  const all = Math.max(0, Math.floor(seconds || 0));
  const parts = [
    [Math.floor(all / 3_600), words.hours],
    [Math.floor(all / 60) % 60, words.minutes],
    [all % 60, words.seconds],
  ] as const;
  const said = parts.filter(([n]) => n > 0).map(([n, word]) => word(n));
  return said.length > 0 ? said.join(" ") : words.seconds(0);
}

/** languageName is a language's name in `language`; the tag itself where nobody knows it, "" for an empty one. */
export function languageName(tag: string, language: Language): string {
  if (tag === "") return "";
  try {
    const name = new Intl.DisplayNames([language], { type: "language" }).of(tag) ?? tag;
    return name.charAt(0).toLocaleUpperCase(language) + name.slice(1);
  } catch {
    return tag;
  }
}

/** sameLanguage: both tags name the same language, whatever the region (BCP 47: the first subtag). */
export function sameLanguage(a: string, b: string): boolean {
  const base = (tag: string) => canonical(tag).split("-")[0];
  return a !== "" && base(a) === base(b);
}

/** canonical is a language tag as BCP 47 wants it: films often say eng where en is meant. What is none stays as it is. */
export function canonical(tag: string): string {
  try {
    return Intl.getCanonicalLocales(tag)[0] ?? tag;
  } catch {
    return tag.toLowerCase();
  }
}
