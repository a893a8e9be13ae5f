import type { Title } from "./requests";

/** collapsed are the titles with each series once, by the first of its episodes in the list. */
export function collapsed<T extends Title>(titles: readonly T[]): T[] {
  const seen = new Set<string>();
  return titles.filter(({ series }) => {
    if (!series) return true;
    if (seen.has(series.id)) return false;
    seen.add(series.id);
    return true;
  });
}
