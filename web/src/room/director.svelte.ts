/**
 * Runs the room: opens and closes frames, listens to them and to the server's counter, and works the switches. The page shows
 * what it holds. Every switch answers from what really happened: the server's reply, or the frame's own report.
 */

import type { Drawing } from "./drawing";
import { frameMessage, type CommandMessage } from "./messages";
import { Room, viewersMax, type Line } from "./model";
import * as demo from "./server";

/** The second viewer comes by itself after so long, in ms. */
export const joinAfterMs = 10_000;
/** The server's counter is read twice a second. */
const pollMs = 500;
/** How often the drawing takes up new figures, in ms. */
const tickMs = 250;
/** Over how long the server's own rate is measured, in ms. */
const rateWindowMs = 3_000;

/** One viewer's frame, or window. */
export interface Frame {
  n: number;
  /** Changes when the frame is loaded anew. */
  key: string;
  url: string;
  /** It runs in a window of its own; the frame is empty. */
  apart: boolean;
}

/** What the page shows; replaced as a whole, four times a second. */
export interface View {
  now: number;
  originBytes: number;
  plainBytes: number;
  serverKbps: number;
  lines: Line[];
  /** Whole seconds until the second viewer joins; undefined once it has. */
  joinsIn: number | undefined;
}

/** The switches. */
export type Switch = "add" | "throttle" | "tracker" | "lie";

/** The room's director. */
export class Director {
  readonly room: Room;
  frames: Frame[] = $state([]);
  view: View = $state.raw({ now: 0, originBytes: 0, plainBytes: 0, serverKbps: 0, lines: [], joinsIn: undefined });
  throttled = $state(false);
  trackerStopped = $state(false);
  lying = $state(false);
  /** Switches whose last press the server did not answer. */
  failed: Partial<Record<Switch, boolean>> = $state({});
  busy: Partial<Record<Switch, boolean>> = $state({});
  /** The server's counter cannot be read. */
  unreachable = $state(false);
  /** When viewer 1 came back as a new peer after it had lied. */
  honestAt: number | undefined = $state();
  /** Set by the page once the stage stands. */
  drawing: Drawing | undefined;
  /** Called with every tick, for what is drawn on canvases. */
  onTick: (now: number) => void = () => undefined;

  private readonly windows: (Window | undefined)[] = []; // by viewer: of its frame, or its own
  private readonly rates: { at: number; bytes: number }[] = [];
  private readonly stop = new AbortController();
  private joinAt: number | undefined;
  private made = 0;
  private commandedAt = 0;
  private pollFailures = 0;

  constructor(film: demo.Film) {
    this.room = new Room(film);
    this.room.onEvent = (event) => this.drawing?.event(event);
  }

  /** Opens the first frame; the second follows by itself. The counter is read first: it is the figures' zero. */
  async start(): Promise<void> {
    const { signal } = this.stop;
    addEventListener("message", this.message, { signal });
    await this.poll();
    if (signal.aborted) return;
    this.open(1);
    this.joinAt = performance.now() + joinAfterMs;
    const timer = setInterval(this.tick, tickMs);
    signal.addEventListener("abort", () => clearInterval(timer));
    this.tick();
  }

  /** Ends everything. */
  destroy(): void {
    this.stop.abort();
    for (const f of this.frames) if (f.apart) this.windows[f.n]?.close();
  }

  /** Where viewer n's messages come from and its commands go to: its frame's window. */
  attach(n: number, frame: HTMLIFrameElement): () => void {
    const window = frame.contentWindow;
    if (window) this.windows[n] = window;
    return () => {
      if (this.windows[n] === window) this.windows[n] = undefined;
    };
  }

  /** The first switch: one viewer more, or, when there is one more already, one less. */
  toggleViewer(): void {
    this.dismissCountdown();
    if (this.frames.length > 2) this.close(this.frames.length);
    else this.open(this.frames.length + 1);
  }

  /** One viewer more, up to four. */
  addViewer(): void {
    if (this.frames.length < viewersMax) this.open(this.frames.length + 1);
  }

  /** Bounds the server to 1.2 × one bitrate, or lifts that. */
  toggleThrottle(): Promise<void> {
    return this.ask("throttle", () => demo.throttle(!this.throttled));
  }

  /** Stops the tracker, or starts it again. */
  toggleTracker(): Promise<void> {
    return this.ask("tracker", () => demo.tracker(!this.trackerStopped));
  }

  /**
   * Viewer 1 lies, or is honest again. Whoever it lied to has banned its peer ID for good; so that honesty shows, it is then
   * loaded anew and comes back as a new peer, where it stood in the film.
   */
  toggleLie(): void {
    this.lying = !this.lying;
    this.command();
    if (this.lying || this.room.bannedBy(1).length === 0) return;
    this.honestAt = performance.now();
    this.reload(1);
  }

  /** Moves a viewer into a window of its own; its frame waits empty until that is closed. False where the browser forbids it. */
  openApart(n: number): boolean {
    const frame = this.frames.find((f) => f.n === n);
    if (!frame) return false;
    const opened = window.open(this.url(n), `essaim-viewer-${n}`, "popup,width=960,height=560");
    if (!opened) return false;
    frame.apart = true;
    this.windows[n] = opened;
    this.room.open(n, performance.now());
    return true;
  }

  /** Closes a viewer's own window and puts it back into its frame. */
  bringBack(n: number): void {
    const frame = this.frames.find((f) => f.n === n);
    if (!frame?.apart) return;
    this.windows[n]?.close();
    this.windows[n] = undefined;
    frame.apart = false;
    this.reload(n);
  }

  /** Lifts every switch and begins anew. */
  async again(): Promise<void> {
    await demo.reset().catch(() => undefined);
    location.reload();
  }

  private open(n: number): void {
    const now = performance.now();
    this.room.open(n, now);
    this.frames.push({ n, key: this.key(n), url: this.url(n), apart: false });
    this.tick();
  }

  private close(n: number): void {
    const frame = this.frames.find((f) => f.n === n);
    if (frame?.apart) this.windows[n]?.close();
    this.windows[n] = undefined;
    this.frames = this.frames.filter((f) => f.n !== n);
    this.room.close(n);
    this.tick();
  }

  private reload(n: number): void {
    const frame = this.frames.find((f) => f.n === n);
    if (!frame) return;
    const url = this.url(n);
    this.room.open(n, performance.now());
    const apart = frame.apart ? this.windows[n] : undefined;
    if (apart) {
      apart.location.href = url;
      return;
    }
    frame.url = url;
    frame.key = this.key(n);
  }

  private key(n: number): string {
    return `${n}-${++this.made}`;
  }

  /** A viewer's page, at the moment of film that it has reached. */
  private url(n: number): string {
    const at = this.room.viewers.get(n)?.positionMs(performance.now(), this.room.film.duration_ms) ?? 0;
    const title = encodeURIComponent(this.room.film.title_id);
    return `/room/viewer?n=${n}&title=${title}${at > 0 ? `&at=${Math.round(at)}` : ""}`;
  }

  private dismissCountdown(): void {
    if (this.joinAt === undefined) return;
    this.joinAt = undefined;
    if (this.frames.length < 2) this.open(2);
  }

  private readonly message = (event: MessageEvent<unknown>): void => {
    if (event.origin !== location.origin) return;
    const message = frameMessage(event.data);
    // A viewer speaks for itself alone, and only while the room shows it.
    if (!message || event.source !== this.windows[message.n]) return;
    this.room.take(message, performance.now());
    // A frame that was loaded anew knows nothing of the switch.
    const now = performance.now();
    if (message.essaim === "stats" && message.n === 1 && message.lying !== this.lying && now - this.commandedAt > 300) {
      this.command();
    }
  };

  private command(): void {
    this.commandedAt = performance.now();
    const command: CommandMessage = { essaim: "command", lie: this.lying };
    this.windows[1]?.postMessage(command, location.origin);
  }

  private async ask(which: Switch, request: () => Promise<demo.ServerState>): Promise<void> {
    if (this.busy[which]) return;
    this.busy[which] = true;
    this.failed[which] = false;
    try {
      const received = this.room.receivedBytes;
      this.told(await request(), received);
      this.tick();
    } catch {
      this.failed[which] = true;
    } finally {
      this.busy[which] = false;
    }
  }

  private async poll(): Promise<void> {
    if (this.stop.signal.aborted) return;
    if (!document.hidden) {
      try {
        const received = this.room.receivedBytes;
        this.told(await demo.state(), received);
        this.pollFailures = 0;
        this.unreachable = false;
      } catch {
        this.unreachable = ++this.pollFailures > 2;
      }
    }
    if (!this.stop.signal.aborted) setTimeout(() => void this.poll(), pollMs);
  }

  private told(state: demo.ServerState, received: number): void {
    // Answers may overtake one another; the server's clock says which is newer.
    if (this.room.server && state.time_ms < this.room.server.time_ms) return;
    this.room.told(state, received);
    this.throttled = state.throttled;
    this.trackerStopped = state.tracker_stopped;
    this.rates.push({ at: state.time_ms, bytes: state.origin_bytes });
    while (this.rates.length > 2 && this.rates[0]!.at < state.time_ms - rateWindowMs) this.rates.shift();
  }

  /** The server's rate by its own counter, in kbit/s. */
  private serverKbps(): number {
    const [first, last] = [this.rates[0], this.rates.at(-1)];
    if (!first || !last || last.at <= first.at) return 0;
    return (Math.max(0, last.bytes - first.bytes) * 8) / (last.at - first.at);
  }

  private readonly tick = (): void => {
    const now = performance.now();
    let joinsIn: number | undefined;
    if (this.joinAt !== undefined) {
      joinsIn = Math.ceil((this.joinAt - now) / 1000);
      if (joinsIn <= 0) {
        joinsIn = undefined;
        this.dismissCountdown();
      }
    }
    for (const f of this.frames) {
      if (f.apart && this.windows[f.n]?.closed !== false) this.bringBack(f.n);
    }
    this.view = {
      now,
      originBytes: this.room.originBytes,
      plainBytes: this.room.plainBytes,
      serverKbps: this.serverKbps(),
      lines: this.room.lines(now),
      joinsIn,
    };
    this.onTick(now);
  };
}
