import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Allowance, freeLimits, type LedgerStorage, SentLedger } from "./allowance";
import type { PlayPolicy } from "./session";

const open: PlayPolicy = { p2p: true, upload: true, lan: true, uplink_kbps: 0 };

/** A storage in memory. */
function storage(kept = ""): LedgerStorage & { kept: string } {
  const s = { kept, getItem: () => s.kept || null, setItem: (_: string, value: string) => void (s.kept = value) };
  return s;
}

beforeEach(() => {
  vi.stubGlobal("navigator", { connection: Object.assign(new EventTarget(), { type: "wifi" }) });
  vi.stubGlobal("matchMedia", () => ({ matches: false }));
});
afterEach(() => vi.unstubAllGlobals());

describe("what was given", () => {
  test("is counted by day and month of the viewer's own calendar, from visit to visit", () => {
    let now = new Date(2026, 9, 31, 23, 59);
    const place = storage();
    const ledger = new SentLedger(place, () => now);
    ledger.add(100);
    ledger.add(20);
    expect([ledger.today(), ledger.month()]).toEqual([120, 120]);
    now = new Date(2026, 10, 1, 0, 1);
    expect([ledger.today(), ledger.month()]).toEqual([0, 0]);
    ledger.add(7);
    now = new Date(2026, 10, 2);
    const later = new SentLedger(place, () => now);
    later.add(3);
    expect([later.today(), later.month()]).toEqual([3, 10]);
  });

  test("keeps two months of days and no more", () => {
    const place = storage();
    for (let day = 1; day <= 100; day++) new SentLedger(place, () => new Date(2026, 0, day)).add(1);
    const days = Object.keys(JSON.parse(place.kept) as object);
    expect(days).toHaveLength(62);
    expect(days.at(-1)).toBe("2026-04-10");
  });

  test.each(["[", "null", "7", '{"2026-01-01":"x","yesterday":5,"2026-01-02":-1}'])(
    "begins anew where what was kept is rubbish: %s",
    (kept) => {
      const ledger = new SentLedger(storage(kept), () => new Date(2026, 0, 1));
      expect(ledger.month()).toBe(0);
      ledger.add(5);
      expect(ledger.month()).toBe(5);
    },
  );

  test("is counted for as long as the page lives where nothing can be kept", () => {
    const full: LedgerStorage = {
      getItem: () => null,
      setItem: () => {
        throw new DOMException("full", "QuotaExceededError");
      },
    };
    for (const place of [undefined, full]) {
      const ledger = new SentLedger(place, () => new Date(2026, 0, 1));
      ledger.add(5);
      ledger.add(6);
      expect(ledger.today()).toBe(11);
    }
  });
});

describe("a policy is narrowed", () => {
  const ledger = () => new SentLedger(storage(), () => new Date(2026, 0, 1));

  test("by the viewer's own uplink limit, unless the operator's is lower", () => {
    const allowance = new Allowance({ ...freeLimits, uplinkKbps: 1_000 }, ledger());
    expect(allowance.narrow(open).uplink_kbps).toBe(1_000);
    expect(allowance.narrow({ ...open, uplink_kbps: 400 }).uplink_kbps).toBe(400);
    expect(allowance.narrow({ ...open, uplink_kbps: 4_000 }).uplink_kbps).toBe(1_000);
    allowance.limits = freeLimits;
    expect(allowance.narrow({ ...open, uplink_kbps: 400 }).uplink_kbps).toBe(400);
    expect(allowance.narrow(open)).toEqual(open);
  });

  test("by the month's limit, from the count that reaches it on; other viewers may still be asked", () => {
    const allowance = new Allowance({ ...freeLimits, monthBytes: 1_000 }, ledger());
    expect(allowance.count(999)).toBe(false);
    expect(allowance.narrow(open)).toEqual(open);
    expect(allowance.count(1_000)).toBe(true);
    expect(allowance.count(1_400)).toBe(false); // it is known already
    expect(allowance.narrow(open)).toEqual({ ...open, upload: false });
    expect(allowance.ledger.month()).toBe(1_400);
    allowance.limits = { ...allowance.limits, monthBytes: 2_000 };
    expect(allowance.narrow(open)).toEqual(open);
  });

  test("by a network that may be paid by the byte, unless the viewer says otherwise; by a mobile one in any case", () => {
    const allowance = new Allowance(freeLimits, ledger());
    vi.stubGlobal("navigator", { userAgent: "Mozilla/5.0 (Android 15; Mobile) Firefox/140.0" });
    expect(allowance.narrow(open)).toEqual({ ...open, upload: false });
    allowance.limits = { ...freeLimits, anyNetwork: true };
    expect(allowance.narrow(open)).toEqual(open);
    for (const connection of [{ type: "cellular" }, { saveData: true }]) {
      vi.stubGlobal("navigator", { connection });
      expect(allowance.narrow(open)).toEqual({ ...open, p2p: false, upload: false });
    }
  });

  test("by a battery that runs low, as long as it does", async () => {
    const battery = Object.assign(new EventTarget(), { charging: false, level: 0.5 });
    Object.assign(navigator, { getBattery: () => Promise.resolve(battery) });
    const allowance = new Allowance(freeLimits, ledger());
    const seen: boolean[] = [];
    const life = new AbortController();
    allowance.watch(() => seen.push(allowance.narrow(open).upload), life.signal);
    await Promise.resolve();
    const becomes = (charging: boolean, level: number) => {
      Object.assign(battery, { charging, level });
      battery.dispatchEvent(new Event("levelchange"));
    };
    becomes(false, 0.3);
    becomes(false, 0.19);
    becomes(false, 0.18);
    becomes(true, 0.18);
    expect(seen).toEqual([false, true]);
    life.abort();
    becomes(false, 0.1);
    expect(seen).toHaveLength(2);
  });
});
