/**
 * A player for one title on one video element: Shaka over the `essaim:` scheme, the play session with its heartbeat, the
 * switch from page to engine. It must start without waiting for anything but the first bytes, obey policy and consent at
 * once, and leave nothing running after `destroy`.
 */

import { Allowance, type SharingLimits } from "./allowance";
import { Api, ApiError } from "./api";
import { DirectSource } from "./direct";
import { Emitter } from "./emitter";
import { checkBrowser, Ended, explain, final, type PlayerFailure, tooManyStreams, Unloaded } from "./failure";
import { Gauge } from "./gauge";
import { limitHeight } from "./limit";
import { toHex, sha256 } from "./merkle";
import { clearKey, openLock } from "./lock";
import { News } from "./news";
import type { PlayerOptions } from "./options";
import { type Delivery, licenceUri, manifestUri, serve, type Shaka } from "./scheme";
import { reported } from "./report";
import { Rest } from "./rest";
import { shakaSettings } from "./settings";
import { type Heartbeat, playEndOf, type PlayPolicy, type PlaySession } from "./session";
import { Silence } from "./silence";
import { type EngineNote, type SourceError, noStats, type Stats } from "./source";
import { SwitchingSource, type Via } from "./switching";
import { type Sound, Tracks } from "./tracks";

export type { PlayerOptions } from "./options";

/** What a player does at the moment. */
export type Phase = "loading" | "playing" | "paused" | "buffering" | "ended" | "failed";

/** Everything countable about a player. */
export interface PlayerStats extends Stats {
  startupMs: number;
  stalls: number;
  stalledMs: number;
  positionMs: number;
  bufferedEndMs: number;
  /** Lines of the picture now shown; 0 before the first frame. */
  height: number;
  /** Who verifies and delivers. */
  via: Via;
}

/** A player's events. */
export interface PlayerEvents {
  phase: Phase;
  /** About once a second while the page is seen. */
  stats: PlayerStats;
  via: Via;
  policy: PlayPolicy;
  /** Pictures and sounds to choose from have become known, or the choice has changed. */
  tracks: undefined;
  /** Bytes are late and being asked for again; undefined: they flow again. */
  trouble: SourceError | undefined;
  /** Somebody waits, and nothing has come for fifteen seconds: a new player may help; false: bytes flow again. */
  silent: boolean;
  failure: PlayerFailure;
  /** What the engine, and the page before it runs, does with pieces. */
  note: EngineNote;
}

/** A range that Shaka was given, as `record` keeps it. */
export interface DeliveredRange {
  file: number;
  from: number;
  to: number;
  sha256: string;
}

/** The engine is loaded after the first frame, which it must not delay on a slow processor either, or after this long. */
const engineAfterMs = 4_000;

/** Never a heartbeat more often than this. */
const heartbeatMinMs = 5_000;

/** Players of this page that are saying goodbye: the next one's start waits for the place that they free, so long at most. */
const leaving = new Set<Promise<unknown>>();
const leavingMs = 2_000;

/** A player. Make it, `load`, later `destroy`; once only. */
export class EssaimPlayer {
  /** Typed events. */
  readonly events = new Emitter<PlayerEvents>();
  /** With `record`: what Shaka was given, in order of delivery. */
  readonly delivered: DeliveredRange[] = [];

  #options: PlayerOptions;
  #api: Api;
  #video: HTMLVideoElement;
  #gauge: Gauge | undefined;
  #session: PlaySession | undefined;
  #source: SwitchingSource | undefined;
  #shaka: InstanceType<Shaka["Player"]> | undefined;
  #tracks: Tracks | undefined;
  #stopServing: (() => void) | undefined;
  #life = new AbortController();
  #phase: Phase = "loading";
  #failure: PlayerFailure | undefined;
  #consent: boolean | undefined;
  #serverPolicy: PlayPolicy | undefined;
  #allowance: Allowance;
  #beating: Promise<void> | undefined;
  #news: News;
  #rest: Rest | undefined;
  /** The service has ended the session: nobody is to say goodbye to. */
  #over = false;
  #timers = new Set<ReturnType<typeof setTimeout>>();

  constructor(options: PlayerOptions) {
    this.#options = options;
    this.#api = options.api ?? new Api();
    this.#video = options.video;
    this.#consent = options.share;
    this.#allowance = new Allowance(options.limits);
    this.#news = new News(
      (session, ticket, signal) => this.#api.events(session, ticket, signal),
      () => this.#session,
      {
        ended: (end) => this.#halt(new Ended(end)),
        policy: (policy) => this.#obey(policy),
        lost: () => this.#soon(1_000),
      },
    );
  }

  /** The play session, once there is one. */
  get session(): PlaySession | undefined {
    return this.#session;
  }

  /** What the player does now. */
  get phase(): Phase {
    return this.#phase;
  }

  /** Why the engine is not in use although it was wanted; undefined when it never failed. */
  get engineFailure(): unknown {
    return this.#source?.failure;
  }

  /**
   * Presses play: asks for a play session and shows the first frame, paused unless the element is set to autoplay.
   * `startMs`: where to begin; it may still be on its way while all else is, and must not reject.
   * Resolves when Shaka has loaded. On failure it emits `failure` and rejects with the same.
   */
  async load(startMs: number | Promise<number> = 0): Promise<void> {
    if (this.#life.signal.aborted) return;
    try {
      checkBrowser();
      this.#gauge = new Gauge(this.#video);
      this.#tick(new Silence(), false);
      const asked = this.#consent;
      await Promise.race([Promise.all(leaving), new Promise((resolve) => setTimeout(resolve, leavingMs))]);
      const [session, shaka] = await Promise.all([
        this.#api.play(this.#options.title, asked),
        import("shaka-player/dist/shaka-player.dash-es2021").then(
          (module) => module.default,
          (error: unknown) => Promise.reject(new Unloaded("Shaka", { cause: error })),
        ),
      ]);
      this.#life.signal.throwIfAborted();
      const opening = this.#open(session, shaka, startMs);
      // Who said yes while the request was under way is owed a session that knows it. No holds already: see #effective.
      if (this.#consent && !asked && !session.policy.upload) this.#beginSharing();
      await opening;
    } catch (error) {
      if (this.#life.signal.aborted) return;
      throw this.#fail(error);
    }
  }

  /** Starts or resumes playback; false where the browser wants a gesture of the viewer first. */
  async play(): Promise<boolean> {
    try {
      await this.#video.play();
      return true;
    } catch {
      return false;
    }
  }

  /** Tries again after a failure of the network, where playback stands. False when only a new player can help. */
  retry(): boolean {
    if (this.#life.signal.aborted) return false;
    if (this.#failure && (["api", "ended"].includes(this.#failure.code) || !this.#shaka?.retryStreaming()))
      return false;
    this.#failure = undefined;
    this.#refresh();
    return true;
  }

  /**
   * The viewer's answer to the sharing question, obeyed at once: without consent no peer is used from now on. With it, the
   * service is asked first; rejects with an ApiError if that fails, and the answer is then as it was before.
   */
  async share(consent: boolean): Promise<void> {
    if (consent === this.#consent) return;
    const before = this.#consent;
    this.#consent = consent;
    if (!this.#session || !this.#source) return;
    if (!consent || this.#serverPolicy?.upload) {
      this.#obey(this.#serverPolicy ?? this.#session.policy);
      return;
    }
    try {
      // The service knows of a consent, and gives leave to use peers, once a heartbeat has told it.
      await this.#beating?.catch(() => undefined);
      await this.#beat();
    } catch (error) {
      if (this.#consent === consent) this.#consent = before;
      throw error;
    }
  }

  /** Tells of a consent, once: if that fails, the viewer is as one who has not answered. */
  #beginSharing(): void {
    void this.#beat().catch((error: unknown) => {
      this.#consent = undefined;
      console.warn("essaim: sharing could not begin:", error);
    });
  }

  /** The viewer's own limits from now on. */
  limit(limits: SharingLimits): void {
    this.#allowance.limits = limits;
    this.#again();
  }

  /** Empties the cache that lasts between visits; see {@link SwitchingSource.forget}. */
  forget(): Promise<boolean> {
    return this.#source?.forget() ?? Promise.resolve(false);
  }

  /** Obeys the same policy under other circumstances. */
  #again(): void {
    if (this.#serverPolicy) this.#obey(this.#serverPolicy);
  }

  /** Overrides parts of the policy for this player: the demonstration's switches. */
  restrict(policy: Partial<PlayPolicy>): void {
    this.#restriction = policy;
    this.#again();
  }
  #restriction: Partial<PlayPolicy> = {};

  /** For demonstrations: the engine sends wrong bits to its peers from now on, or is honest again. */
  lie(on: boolean): void {
    this.#lie = on;
    this.#source?.lie(on);
  }
  #lie = false;

  /** This viewer's own peer ID, 40 hexadecimal digits; empty while no engine runs. */
  get peerId(): string {
    return this.#source?.peerId ?? "";
  }

  /** The heights of picture to choose from, in lines, the largest first; none before the film is loaded. */
  get heights(): number[] {
    return this.#tracks?.heights ?? [];
  }

  /** The height that the viewer has chosen; undefined: the player chooses. */
  get height(): number | undefined {
    return this.#tracks?.height;
  }

  /** Keeps to one of `heights` from now on; undefined: the player chooses again. */
  keepHeight(height: number | undefined): void {
    this.#tracks?.keepHeight(height);
  }

  /** The language of the sound to begin with (BCP 47), where the title has it; else it is the title's first. Call it before the film is loaded. */
  prefer(audio: string | undefined): void {
    this.#audio = audio;
  }
  #audio: string | undefined;

  /** The film's sounds; none before it is loaded. */
  get sounds(): Sound[] {
    return this.#tracks?.sounds ?? [];
  }

  /** Plays one of `sounds` from now on. */
  hear(sound: Sound): void {
    this.#tracks?.hear(sound);
  }

  /** The counts so far. */
  stats(): PlayerStats {
    const gauged = this.#gauge?.read() ?? { startupMs: 0, stalls: 0, stalledMs: 0 };
    const playback = this.#gauge?.playback();
    return {
      ...(this.#source?.stats() ?? noStats),
      ...gauged,
      positionMs: playback?.position_ms ?? 0,
      bufferedEndMs: playback?.buffered_end_ms ?? 0,
      height: this.#video.videoHeight,
      via: this.#source?.via ?? "page",
    };
  }

  /** Ends playback and everything that goes with it, the engine's connections first and at once. Idempotent. */
  destroy(): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }
  #ending: Promise<void> | undefined;

  async #end(): Promise<void> {
    this.#life.abort(new DOMException("the player was destroyed", "AbortError"));
    this.#gauge?.stop();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#news.listen(false);
    if (this.#session && !this.#over) {
      const goodbye = this.#report(true).catch(() => undefined);
      leaving.add(goodbye);
      void goodbye.finally(() => leaving.delete(goodbye));
    }
    this.events.clear();
    // Side by side: connections to other viewers must not outlive the page's interest because a decoder takes its time.
    const shaka = this.#shaka?.destroy().catch(() => undefined);
    this.#stopServing?.();
    await Promise.all([shaka, this.#source?.close()]);
  }

  async #open(session: PlaySession, shaka: Shaka, startMs: number | Promise<number>): Promise<void> {
    shaka.polyfill.installAll();
    checkBrowser(shaka.Player);
    this.#session = session;
    this.#serverPolicy = session.policy;
    const opening = session.protection && openLock(this.#api, session, this.#life.signal);
    const direct = new DirectSource(session, {
      renew: () => this.#beat(),
      trouble: (error) => this.events.emit("trouble", error),
      onNote: (note) => this.events.emit("note", note),
    });
    const source = new SwitchingSource({ ...session, policy: this.#effective(session.policy) }, direct, {
      load: this.#options.loadEngine,
      storage: this.#options.storage,
      debugLie: this.#lie,
      onNote: (note) => this.events.emit("note", note),
      onForbidden: () => {
        this.#obey({ ...(this.#serverPolicy ?? session.policy), p2p: false, upload: false });
        this.#soon(1_500); // which says whether the session is over
      },
      onChange: (via, reason) => {
        if (reason !== undefined)
          console.warn("essaim: the page delivers by itself, because the engine ended:", reason);
        this.events.emit("via", via);
        this.#listen();
      },
    });
    this.#source = source;
    this.events.emit("policy", this.#effective(session.policy));
    const asked = new Map<string, number>();
    const lock = await opening;
    this.#life.signal.throwIfAborted();
    this.#stopServing = serve(shaka, session, source, {
      ...lock,
      onRequest: (file, from) => {
        const { kind, segments } = session.files[file];
        if (asked.get(kind) === file || from < (segments[0]?.[0] ?? 0)) return;
        asked.set(kind, file);
        source.rendition(file);
      },
      onDelivery: this.#options.record ? (delivery) => this.#record(delivery) : undefined,
    });
    void direct.failed.then(() => source.start()); // other viewers may have what the origin does not send
    this.#watch(source);
    this.#listen();
    this.#schedule(session.heartbeat_ms);
    const player = new shaka.Player();
    this.#shaka = player;
    player.configure(shakaSettings);
    this.#tracks = new Tracks(player, () => this.events.emit("tracks", undefined));
    // There are no keys to larger ones; who never chooses them never stumbles over that.
    limitHeight(player, session.protection?.max_height);
    if (lock?.native) player.configure({ drm: { servers: { [clearKey]: licenceUri(session) } } });
    if (this.#options.steady) player.configure({ abr: { enabled: false, restrictToElementSize: false } });
    player.addEventListener("error", (event) => {
      if (!this.#life.signal.aborted) this.#fail((event as Event & { detail: unknown }).detail);
    });
    player.addEventListener("buffering", (event) => {
      if ((event as Event & { buffering: boolean }).buffering) this.#gauge?.starving();
      this.#refresh();
    });
    await player.attach(this.#video);
    const from = (await startMs) / 1_000;
    if (this.#audio) player.configure({ preferredAudio: [{ language: this.#audio }] });
    await player.load(manifestUri(session), from, "application/dash+xml");
  }

  /** Follows the media element's events, which unlike timers keep coming in a hidden page that plays. */
  #watch(source: SwitchingSource): void {
    const { signal } = this.#life;
    const on = (type: string, listener: () => void) => this.#video.addEventListener(type, listener, { signal });
    const report = () => {
      if (this.#gauge) source.moved(this.#gauge.playback());
      this.#refresh();
    };
    const moves = ["timeupdate", "progress", "play", "pause", "playing", "waiting", "ratechange", "seeked", "ended"];
    for (const type of moves) on(type, report);
    on("seeking", () => source.seeked(Math.round(this.#video.currentTime * 1_000)));

    let started = false;
    const start = () => {
      if (started || signal.aborted) return;
      started = true;
      void source.start();
    };
    // The frame that is shown, not merely decoded: on a slow processor even a worker's start would hold it up.
    if ("requestVideoFrameCallback" in this.#video) this.#video.requestVideoFrameCallback(start);
    else on("loadeddata", start);
    this.#later(engineAfterMs, start);

    this.#rest = new Rest(this.#video, { changed: () => this.#again(), woke: () => this.#wake() }, signal);
    this.#allowance.watch(() => this.#again(), signal);
    addEventListener("pagehide", () => void this.#report(true).catch(() => undefined), { signal });
    // Back from the browser's cache of pages: the service was told goodbye.
    addEventListener("pageshow", (event) => event.persisted && this.#soon(0), { signal });
  }

  /** Once a second, from the start to the end. */
  #tick(silence: Silence, silent: boolean): void {
    this.#gauge?.poll();
    const stats = this.stats();
    if (this.#allowance.count(stats.sentBytes)) this.#again();
    if (this.#source && !document.hidden) this.events.emit("stats", stats);
    const waits = this.#phase === "loading" || this.#phase === "buffering";
    const now = silence.look(waits, stats.originBytes + stats.peerBytes + stats.cachedBytes, performance.now());
    if (now !== silent) this.events.emit("silent", now);
    this.#later(1_000, () => this.#tick(silence, now));
  }

  /** The machine has slept, or the network is another: nothing that is on its way is waited for. */
  #wake(): void {
    this.#source?.nudge();
    this.#news.again();
    this.#soon(1_000);
    if (this.#failure?.code === "network") this.retry();
  }

  #refresh(): void {
    const phase = this.#failure ? "failed" : this.#read();
    if (phase === this.#phase) return;
    this.#phase = phase;
    this.events.emit("phase", phase);
  }

  #read(): Phase {
    const video = this.#video;
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA && !this.#gauge?.read().startupMs) return "loading";
    if (video.ended) return "ended";
    if (video.paused) return "paused";
    return this.#gauge?.stalling || video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA ? "buffering" : "playing";
  }

  #fail(error: unknown): PlayerFailure {
    const failure = explain(error);
    this.#failure = failure;
    this.#refresh();
    this.events.emit("failure", failure);
    return failure;
  }

  /** The policy that holds: the server's, less what the viewer, the network or a demonstration forbids. */
  #effective(p: PlayPolicy): PlayPolicy {
    const policy = { ...p, ...this.#restriction };
    const agreed = this.#consent !== false && !this.#rest?.resting;
    const [p2p, upload] = [p.p2p && policy.p2p && agreed, p.upload && policy.upload && agreed];
    return this.#allowance.narrow({ ...policy, p2p, upload });
  }

  #obey(p: PlayPolicy): void {
    this.#serverPolicy = p;
    const policy = this.#effective(p);
    this.#source?.policy(policy);
    this.#listen();
    this.events.emit("policy", policy);
  }

  /** Who shares is told by the tracker what cannot wait; everybody else listens to the service. */
  #listen(): void {
    const told = this.#source?.via === "engine" && this.#serverPolicy && this.#effective(this.#serverPolicy).p2p;
    if (!this.#life.signal.aborted) this.#news.listen(this.#session !== undefined && !told && !this.#rest?.resting);
  }

  /** The session has ended, for good: what plays stops, and the page is told why. */
  #halt(reason: unknown): void {
    if (this.#life.signal.aborted) return;
    this.#over = true;
    this.#video.pause();
    this.#fail(reason);
    void this.destroy();
  }

  /** Goes on under a new play session, for consent or because the old one has ended. */
  async #renew(): Promise<void> {
    const before = this.#session;
    const session = await this.#api.play(this.#options.title, this.#consent);
    if (this.#life.signal.aborted || !before) return;
    // Another version is another torrent: what plays goes on with the old one as long as it is served.
    if (session.info_hash_v2 !== before.info_hash_v2) return;
    this.#before = this.#told;
    this.#session = session;
    this.#serverPolicy = session.policy;
    const policy = this.#effective(session.policy);
    this.#source?.renew({ ...session, policy });
    if (this.#shaka) limitHeight(this.#shaka, session.protection?.max_height);
    this.events.emit("policy", policy);
    this.#schedule(session.heartbeat_ms);
  }

  #heartbeatTimer: ReturnType<typeof setTimeout> | undefined;

  #schedule(ms: number): void {
    clearTimeout(this.#heartbeatTimer);
    const wait = this.#news.deaf ? heartbeatMinMs : Math.max(heartbeatMinMs, ms);
    this.#heartbeatTimer = this.#later(wait * (0.9 + 0.2 * Math.random()), () => this.#soon(0));
  }

  /** A heartbeat within so many milliseconds, not at the moment at which every other player sends one. */
  #soon(ms: number): void {
    this.#later(ms * Math.random(), () => void this.#beat().catch(() => undefined));
  }

  /**
   * One heartbeat at a time. A lost one is repeated soon: until one comes through, the old tickets serve, which the service
   * accepts for a while. One that is refused begins a new play session, unless the service has ended this one.
   */
  #beat(): Promise<void> {
    this.#beating ??= this.#report(false)
      .catch(async (error: unknown) => {
        const gone = error instanceof ApiError && final.includes(error.kind) && !playEndOf(error.code);
        if (gone) return this.#renew();
        throw error;
      })
      .catch((error: unknown) => {
        if (error instanceof ApiError && (final.includes(error.kind) || error.code === tooManyStreams)) {
          this.#halt(error);
          throw error;
        }
        this.#schedule(heartbeatMinMs + 10_000 * Math.random());
        throw error;
      })
      .finally(() => {
        this.#beating = undefined;
      });
    return this.#beating;
  }

  /** The counts when the service last heard of them, and those of them that were another session's. */
  #told: PlayerStats | undefined;
  #before: PlayerStats | undefined;

  async #report(last: boolean): Promise<void> {
    const session = this.#session;
    if (!session) return;
    const stats = this.stats();
    const report: Heartbeat = {
      ...(this.#consent !== undefined && { share: this.#consent }),
      ...(last && { last }),
      position_ms: stats.positionMs,
      ...reported(stats, this.#before),
      ...(stats.banned && { banned: stats.banned }),
    };
    const reply = await this.#api.heartbeat(session.id, session.tickets.media, report);
    if (this.#session?.id === session.id) this.#told = stats;
    if (last || this.#life.signal.aborted || this.#session !== session) return;
    this.#session = { ...session, policy: reply.policy, tickets: reply.tickets ?? session.tickets };
    if (reply.tickets) this.#source?.tickets(reply.tickets);
    this.#obey(reply.policy);
    this.#schedule(reply.heartbeat_ms);
  }

  #record({ file, from, to, data }: Delivery): void {
    const entry: DeliveredRange = { file, from, to, sha256: "" };
    this.delivered.push(entry);
    // WebCrypto copies its input before it returns, so Shaka may do with the buffer what it likes.
    void sha256(data).then((digest) => (entry.sha256 = toHex(digest)));
  }

  #later(ms: number, what: () => void): ReturnType<typeof setTimeout> | undefined {
    if (this.#life.signal.aborted) return undefined;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      what();
    }, ms);
    this.#timers.add(timer);
    return timer;
  }
}
