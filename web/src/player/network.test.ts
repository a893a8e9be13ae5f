import { afterEach, describe, expect, test, vi } from "vitest";
import { currentNetworkLeave, networkLeave, watchNetwork, type NavigatorLike } from "./network";

const mouse = (query: string) => query === "(pointer: fine)" || query === "(any-pointer: fine)";
const finger = (query: string) => query === "(pointer: coarse)" || query === "(any-pointer: coarse)";
const fingerAndMouse = (query: string) => query === "(pointer: coarse)" || query === "(any-pointer: fine)";
const none = { peers: false, upload: false };
const peersOnly = { peers: true, upload: false };
const all = { peers: true, upload: true };

const agents = {
  chromeWindows:
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
  firefoxWindows: "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
  firefoxLinux: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  firefoxAndroid: "Mozilla/5.0 (Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0",
  firefoxTablet: "Mozilla/5.0 (Android 15; Tablet; rv:140.0) Gecko/140.0 Firefox/140.0",
  safari:
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
  iphone:
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
  television:
    "Mozilla/5.0 (SMART-TV; LINUX; Tizen 8.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/108.0.0.0 TV Safari/537.36",
};

describe("where the browser tells the network", () => {
  const phone: NavigatorLike = {
    userAgent: agents.firefoxAndroid,
    userAgentData: { mobile: true, platform: "Android" },
  };
  test("no peers are used on a mobile network, nor where data are to be saved", () => {
    expect(networkLeave({ ...phone, connection: { type: "cellular" } }, finger)).toEqual(none);
    const desktop: NavigatorLike = { userAgentData: { mobile: false, platform: "Linux" } };
    expect(networkLeave({ ...desktop, connection: { type: "cellular" } }, mouse)).toEqual(none);
    expect(networkLeave({ ...desktop, connection: { saveData: true } }, mouse)).toEqual(none);
    expect(networkLeave({ ...phone, connection: { saveData: true, type: "wifi" } }, finger)).toEqual(none);
  });
  test("a phone on Wi-Fi uploads", () => {
    expect(networkLeave({ ...phone, connection: { saveData: false, type: "wifi" } }, finger)).toEqual(all);
  });
  test.each(["unknown", "other", "bluetooth", "wimax", "none"])("a phone on a network of type %s does not", (type) => {
    expect(networkLeave({ ...phone, connection: { type } }, finger)).toEqual(peersOnly);
  });
});

describe("where it does not", () => {
  test.each<[string, NavigatorLike, (query: string) => boolean]>([
    [
      "Chromium on Windows, whose connection has no type",
      {
        userAgent: agents.chromeWindows,
        connection: { saveData: false },
        userAgentData: { mobile: false, platform: "Windows" },
      },
      mouse,
    ],
    ["Chromium on ChromeOS", { userAgentData: { mobile: false, platform: "Chrome OS" } }, fingerAndMouse],
    ["Chromium in an insecure context, without hints", { userAgent: agents.chromeWindows }, mouse],
    ["a headless one, without any pointer", { userAgent: agents.firefoxLinux }, () => false],
    ["Firefox on Windows", { userAgent: agents.firefoxWindows, maxTouchPoints: 0 }, mouse],
    [
      "Firefox on a laptop with a touch screen",
      { userAgent: agents.firefoxWindows, maxTouchPoints: 10 },
      fingerAndMouse,
    ],
    ["Firefox on Linux", { userAgent: agents.firefoxLinux }, mouse],
    ["Safari on a Mac", { userAgent: agents.safari, maxTouchPoints: 0 }, mouse],
  ])("uploads from a desktop system: %s", (_, navigator, matches) => {
    expect(networkLeave(navigator, matches)).toEqual(all);
  });

  test.each<[string, NavigatorLike, (query: string) => boolean]>([
    ["a phone with hints", { userAgentData: { mobile: true, platform: "Android" } }, finger],
    [
      "an Android tablet, which says that it is not mobile",
      { userAgentData: { mobile: false, platform: "Android" } },
      finger,
    ],
    ["a system of which nobody has heard", { userAgentData: { mobile: false, platform: "Fuchsia" } }, mouse],
    ["Firefox on a phone", { userAgent: agents.firefoxAndroid, maxTouchPoints: 5 }, finger],
    ["Firefox on a tablet", { userAgent: agents.firefoxTablet, maxTouchPoints: 5 }, finger],
    ["an iPhone", { userAgent: agents.iphone, maxTouchPoints: 5 }, finger],
    ["an iPad, which says that it is a Mac", { userAgent: agents.safari, maxTouchPoints: 5 }, finger],
    [
      "Android's desktop site, which says that it is Linux",
      { userAgent: agents.firefoxLinux, maxTouchPoints: 5 },
      finger,
    ],
    [
      "a tablet with Windows and nothing but a finger",
      { userAgent: agents.firefoxWindows, maxTouchPoints: 10 },
      finger,
    ],
    ["a television", { userAgent: agents.television }, () => false],
    ["a browser that says nothing", {}, mouse],
  ])("uses peers and uploads nothing: %s", (_, navigator, matches) => {
    expect(networkLeave(navigator, matches)).toEqual(peersOnly);
  });
});

describe("in a page", () => {
  afterEach(() => vi.unstubAllGlobals());

  test("a change of the network is told until nobody wants to know, and counts at once", () => {
    const connection = Object.assign(new EventTarget(), { type: "wifi" });
    vi.stubGlobal("navigator", { connection, userAgent: agents.firefoxAndroid });
    vi.stubGlobal("matchMedia", (query: string) => ({ matches: finger(query) }));
    const life = new AbortController();
    const seen: unknown[] = [];
    watchNetwork(() => seen.push(currentNetworkLeave()), life.signal);
    connection.type = "cellular";
    connection.dispatchEvent(new Event("change"));
    expect(seen).toEqual([none]);
    life.abort();
    connection.dispatchEvent(new Event("change"));
    expect(seen).toHaveLength(1);
  });

  test("a browser without a word on its network is watched in vain, and without harm", () => {
    vi.stubGlobal("navigator", { userAgent: agents.safari });
    expect(() => watchNetwork(() => undefined, new AbortController().signal)).not.toThrow();
  });
});
