/**
 * What this viewer's own settings, what was given already, the network and the battery leave of a policy. It must err on the side of
 * not uploading, and hold within seconds of whatever changes.
 */

import { currentNetworkLeave, watchNetwork } from "./network";
import type { PlayPolicy } from "./session";

/** How much a viewer who shares is willing to give, besides what the operator allows. */
export interface SharingLimits {
  /** Kilobits a second; 0 is none of the viewer's own. */
  uplinkKbps: number;
  /** Bytes in a calendar month, of all players of this browser together; 0 is no limit. */
  monthBytes: number;
  /** Give on networks, too, of which the browser does not say that they cost nothing by the byte. Never on mobile ones. */
  anyNetwork: boolean;
}

/** No limits, but only where bytes cost nothing. */
export const freeLimits: SharingLimits = { uplinkKbps: 0, monthBytes: 0, anyNetwork: false };

/** Where a {@link SentLedger} keeps its counts: as localStorage. */
export type LedgerStorage = Pick<Storage, "getItem" | "setItem">;

const ledgerKey = "essaim.sent";
const daysMax = 62;

/**
 * What this browser has given, by day, kept from visit to visit. Two tabs that count within the same milliseconds may lose one of
 * their counts: it limits courtesy, not money. Storage that is full or forbidden counts for as long as the page lives.
 */
export class SentLedger {
  #storage: LedgerStorage | undefined;
  #now: () => Date;
  #own: Record<string, number> = {};

  constructor(storage: LedgerStorage | undefined = storageOrNone(), now: () => Date = () => new Date()) {
    this.#storage = storage;
    this.#now = now;
  }

  /** So many bytes more were given. */
  add(bytes: number): void {
    if (!(bytes > 0)) return;
    const days = this.#read();
    const today = dayOf(this.#now());
    days[today] = (days[today] ?? 0) + bytes;
    const kept = Object.entries(days).sort().slice(-daysMax);
    this.#own = Object.fromEntries(kept);
    try {
      this.#storage?.setItem(ledgerKey, JSON.stringify(this.#own));
    } catch {
      this.#storage = undefined;
    }
  }

  /** Bytes given today. */
  today(): number {
    return this.#read()[dayOf(this.#now())] ?? 0;
  }

  /** Bytes given in this calendar month. */
  month(): number {
    const month = dayOf(this.#now()).slice(0, 7);
    return Object.entries(this.#read()).reduce((sum, [day, bytes]) => sum + (day.startsWith(month) ? bytes : 0), 0);
  }

  #read(): Record<string, number> {
    if (!this.#storage) return this.#own;
    try {
      const kept = JSON.parse(this.#storage.getItem(ledgerKey) ?? "{}") as unknown;
      if (typeof kept !== "object" || kept === null) return {};
      const sound = ([day, bytes]: [string, unknown]) =>
        /^\d{4}-\d\d-\d\d$/.test(day) && Number.isFinite(bytes) && (bytes as number) > 0;
      return Object.fromEntries(Object.entries(kept).filter(sound)) as Record<string, number>;
    } catch {
      return {}; // somebody else's, or cut short
    }
  }
}

/** The calendar day where the viewer is, as 2026-11-23. */
function dayOf(date: Date): string {
  const two = (n: number) => String(n).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

function storageOrNone(): LedgerStorage | undefined {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}

/** The parts of a BatteryManager that are used; Chromium alone has one. */
export interface BatteryLike extends EventTarget {
  readonly charging: boolean;
  /** From 0 to 1. */
  readonly level: number;
}

/** With less than this, and no charger, nothing is given. */
const lowBattery = 0.2;

/** Narrows policies for one player. */
export class Allowance {
  /** Obeyed from the next {@link narrow} on. */
  limits: SharingLimits;
  readonly ledger: SentLedger;
  #counted = 0;
  #battery: BatteryLike | undefined;

  constructor(limits: SharingLimits = freeLimits, ledger = new SentLedger()) {
    this.limits = limits;
    this.ledger = ledger;
  }

  /** What is left of a policy now. */
  narrow(p: PlayPolicy): PlayPolicy {
    const { peers, upload } = currentNetworkLeave(this.limits.anyNetwork);
    const { uplinkKbps } = this.limits;
    return {
      ...p,
      p2p: p.p2p && peers,
      upload: p.upload && upload && !this.spent && !this.#low,
      uplink_kbps: uplinkKbps > 0 ? Math.min(uplinkKbps, p.uplink_kbps || Infinity) : p.uplink_kbps,
    };
  }

  /** The month's limit is reached. */
  get spent(): boolean {
    const { monthBytes } = this.limits;
    return monthBytes > 0 && this.ledger.month() >= monthBytes;
  }

  get #low(): boolean {
    return this.#battery !== undefined && !this.#battery.charging && this.#battery.level < lowBattery;
  }

  /** The player's count of what it has given. True if that has used up the month's limit: policies are narrower from now on. */
  count(sentBytes: number): boolean {
    const before = this.spent;
    this.ledger.add(sentBytes - this.#counted);
    this.#counted = sentBytes;
    return !before && this.spent;
  }

  /** Calls `changed` whenever network or battery may leave more or less than before, until `signal` aborts. */
  watch(changed: () => void, signal: AbortSignal): void {
    watchNetwork(changed, signal);
    const { getBattery } = navigator as { getBattery?: () => Promise<BatteryLike> };
    getBattery?.call(navigator).then(
      (battery) => {
        if (signal.aborted) return;
        this.#battery = battery;
        let low = false;
        const look = () => {
          if (this.#low === low) return;
          low = this.#low;
          changed();
        };
        for (const type of ["chargingchange", "levelchange"]) battery.addEventListener(type, look, { signal });
        look();
      },
      () => undefined, // it is not told
    );
  }
}
