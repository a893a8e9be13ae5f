/** Small helpers for SVG, whose attributes the Content-Security-Policy allows where styles in HTML are refused. */

const namespace = "http://www.w3.org/2000/svg";

/** Makes an element with attributes and puts it into its parent. */
export function svg<K extends keyof SVGElementTagNameMap>(
  parent: Element,
  name: K,
  attributes: Record<string, string | number> = {},
): SVGElementTagNameMap[K] {
  const element = document.createElementNS(namespace, name);
  set(element, attributes);
  parent.append(element);
  return element;
}

/** Sets attributes, those that changed only: each costs a repaint. */
export function set(element: Element, attributes: Record<string, string | number>): void {
  for (const [name, value] of Object.entries(attributes)) {
    const text = String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** The path of a hexagon that stands on a corner, with soft corners by its stroke. */
export function hexagon(r: number): string {
  const corners = Array.from({ length: 6 }, (_, i) => {
    const angle = (Math.PI / 3) * i - Math.PI / 2;
    return `${(r * Math.cos(angle)).toFixed(2)} ${(r * Math.sin(angle)).toFixed(2)}`;
  });
  return `M${corners.join("L")}Z`;
}
