/** A router of a few addresses over the browser's history. Links are ordinary links; this only saves the reload. */

/** Where the app stands. */
export type Place =
  | { page: "catalogue" }
  | { page: "title"; id: string }
  | { page: "watch"; id: string }
  | { page: "series"; id: string }
  | { page: "search"; query: string }
  | { page: "sign-in"; next: string }
  | { page: "sign-up" | "join" | "account" | "members" | "profiles" }
  | { page: "savings" | "policy" | "audit" }
  | { page: "not-found" };

/** parse reads an address of this site. */
export function parse(url: URL): Place {
  const parts = url.pathname.split("/").filter((part) => part !== "");
  if (parts.length === 0) return { page: "catalogue" };
  // A title's ID as the server defines it: lower-case letters, digits and hyphens.
  if (parts.length === 2 && /^[a-z0-9-]{1,64}$/.test(parts[1])) {
    if (parts[0] === "title") return { page: "title", id: parts[1] };
    if (parts[0] === "watch") return { page: "watch", id: parts[1] };
    if (parts[0] === "series") return { page: "series", id: parts[1] };
  }
  if (parts.length === 1 && parts[0] === "sign-in")
    return { page: "sign-in", next: ownPath(url.searchParams.get("next")) };
  if (parts.length === 1 && parts[0] === "search") return { page: "search", query: url.searchParams.get("q") ?? "" };
  if (parts.length === 1 && (isPeoplePage(parts[0]) || isOperatorPage(parts[0]))) return { page: parts[0] };
  return { page: "not-found" };
}

const isPeoplePage = (name: string) =>
  name === "sign-up" || name === "join" || name === "account" || name === "members" || name === "profiles";

const isOperatorPage = (name: string) => name === "savings" || name === "policy" || name === "audit";

/** ownPath accepts a path of this site and nothing else: a sign-in must not send anybody elsewhere. */
export function ownPath(path: string | null): string {
  return path && /^\/(?![/\\])[\w/?=&.-]*$/.test(path) ? path : "/";
}

class Router {
  #place: Place = $state(parse(new URL(location.href)));

  constructor() {
    addEventListener("popstate", () => (this.#place = parse(new URL(location.href))));
    document.addEventListener("click", (event) => this.#follow(event));
  }

  get place(): Place {
    return this.#place;
  }

  /** Goes to an address of this site. */
  go(path: string, replace = false): void {
    const url = new URL(path, location.href);
    if (replace) history.replaceState(null, "", url);
    else history.pushState(null, "", url);
    this.#place = parse(url);
    scrollTo(0, 0);
  }

  /** Takes over plain clicks on links to the app's own pages, and no others. */
  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest("a");
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    const url = new URL(link.href);
    if (url.hash || parse(url).page === "not-found") return;
    event.preventDefault();
    this.go(url.href);
  }
}

/** The router of this page. */
export const router = new Router();
