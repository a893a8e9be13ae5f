/** Arrow keys between cards, as on a television: the nearest card that way gets the focus. */

/** Where something is on the screen, in CSS pixels. */
export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

/** A direction of the arrow keys. */
export type Way = "ArrowLeft" | "ArrowRight" | "ArrowUp" | "ArrowDown";

const overlap = (a0: number, a1: number, b0: number, b1: number) => Math.min(a1, b1) - Math.max(a0, b0);

/**
 * nearest is the index of the box to go to from `from`; -1 where there is none that way. Sideways one stays in one's line;
 * up and down the nearest line counts first, and in it the box that is most below or above.
 */
export function nearest(from: Box, boxes: readonly Box[], way: Way): number {
  const sideways = way === "ArrowLeft" || way === "ArrowRight";
  const forward = way === "ArrowRight" || way === "ArrowDown";
  let best = -1;
  let cost = Infinity;
  boxes.forEach((box, i) => {
    const gap = sideways
      ? forward
        ? box.left - from.right
        : from.left - box.right
      : forward
        ? box.top - from.bottom
        : from.top - box.bottom;
    if (gap < -1) return;
    const beside = sideways
      ? overlap(from.top, from.bottom, box.top, box.bottom)
      : overlap(from.left, from.right, box.left, box.right);
    if (sideways && beside <= 0) return;
    const aside = Math.abs((from.left + from.right - box.left - box.right) / 2);
    const sum = sideways ? gap : gap * 1_000 + aside;
    if (sum < cost) {
      best = i;
      cost = sum;
    }
  });
  return best;
}

const isWay = (key: string): key is Way => /^Arrow(Left|Right|Up|Down)$/.test(key);

/** Moves the focus between the `[data-card]` elements of `root`, for a keydown within one of them. */
export function follow(event: KeyboardEvent, root: ParentNode): void {
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || !isWay(event.key))
    return;
  const from = (event.target as Element | null)?.closest<HTMLElement>("[data-card]");
  if (!from) return;
  const cards = [...root.querySelectorAll<HTMLElement>("[data-card]")].filter(
    (card) => card !== from && card.checkVisibility(),
  );
  const row = from.closest("[data-row]");
  const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
  const reachable = cards.filter((card) => !sideways || card.closest("[data-row]") === row);
  const to = nearest(
    from.getBoundingClientRect(),
    reachable.map((card) => card.getBoundingClientRect()),
    event.key,
  );
  if (to < 0) return;
  event.preventDefault();
  reachable[to].focus({ preventScroll: true });
  reachable[to].scrollIntoView({ block: sideways ? "nearest" : "center", inline: "nearest" });
}
