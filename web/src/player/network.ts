/**
 * What the network at hand allows, as far as a browser tells: a viewer's consent was given for a line at home, and says nothing
 * of one that is paid by the byte. It must err on the side of not uploading.
 */

/** What a network allows, whatever viewer and server allow. */
export interface NetworkLeave {
  /** Other viewers may be used at all. */
  peers: boolean;
  /** And given to. */
  upload: boolean;
}

/** The parts of `navigator` that tell; browsers lack many of them. */
export interface NavigatorLike {
  userAgent?: string;
  maxTouchPoints?: number;
  /** Network Information API: Chromium only, and `type` only on Android and ChromeOS. */
  connection?: { saveData?: boolean; type?: string };
  /** User-Agent Client Hints: Chromium only, and only in secure contexts. */
  userAgentData?: { mobile?: boolean; platform?: string };
}

/** Asks a media query, as `matchMedia(query).matches`. */
export type Matches = (query: string) => boolean;

/**
 * - A mobile network, or Save-Data: no peers at all.
 * - A wire or Wi-Fi, where the browser says so: all.
 * - Unknown, as in Firefox and Safari and on every desktop: peers, and upload on desktop systems only. Phones and tablets
 *   are now on this network and then on that; with `any` their viewers have said that they may upload all the same.
 */
export function networkLeave(navigator: NavigatorLike, matches: Matches, any = false): NetworkLeave {
  const { saveData, type } = navigator.connection ?? {};
  if (saveData === true || type === "cellular") return { peers: false, upload: false };
  if (type === "ethernet" || type === "wifi") return { peers: true, upload: true };
  return { peers: true, upload: any || isDesktop(navigator, matches) };
}

const desktopPlatforms = ["windows", "macos", "linux", "chrome os", "chromeos", "chromium os"];

/**
 * Whether this is a desktop system, not a phone, a tablet or something else that is carried or hung up. Client hints are believed
 * where there are any; a tablet with Android says that it is not mobile, so its platform counts too. Else the user agent
 * must name a desktop system; and as iPads name a Mac and Android's "desktop site" names Linux, it must not have a
 * finger for its only pointer: no Mac has a touch screen.
 */
function isDesktop(
  { userAgentData: hints, userAgent = "", maxTouchPoints = 0 }: NavigatorLike,
  matches: Matches,
): boolean {
  if (hints?.mobile === true) return false;
  if (hints?.platform) return desktopPlatforms.includes(hints.platform.toLowerCase());
  if (/Android|iPhone|iPad|iPod|Mobi|Tablet|Silk|Kindle|\bTV\b|SmartTV|SMART-TV|Tizen|Web0S/i.test(userAgent))
    return false;
  if (/Macintosh/.test(userAgent)) return maxTouchPoints <= 1;
  if (!/Windows NT|X11|CrOS/.test(userAgent)) return false;
  return !(matches("(pointer: coarse)") && !matches("(any-pointer: fine)"));
}

/** What the network of this page allows now; `any` as for {@link networkLeave}. */
export function currentNetworkLeave(any = false): NetworkLeave {
  return networkLeave(navigator as NavigatorLike, (query) => matchMedia(query).matches, any);
}

/** Calls `changed` whenever the browser tells of another network, until `signal` aborts. */
export function watchNetwork(changed: () => void, signal: AbortSignal): void {
  const { connection } = navigator as { connection?: Partial<EventTarget> };
  connection?.addEventListener?.("change", changed, { signal });
}
