/**
 * The client of the service's HTTP API. Every failure is an ApiError whose message is a sentence for the person in front
 * of the screen; problem documents (RFC 9457) supply it where they have one.
 */

import type { components } from "./api.gen";
import type { Heartbeat, HeartbeatReply, Kind, PlaySession, PlayStream } from "./session";

/** A title as the catalogue lists it. */
export interface TitleSummary {
  id: string;
  name: string;
  summary: string;
  /** Anyone may watch; otherwise members only. */
  open: boolean;
  /** An address, or empty for none. */
  poster: string;
  duration_ms: number;
}

/** A title with its files. */
export interface TitleDetail extends TitleSummary {
  files: TitleFile[];
  info_hash: string;
  info_hash_v2: string;
  /** Of an open title: the address of its torrent file. */
  torrent?: string;
  /** Of an open title: its magnet link, with this service's trackers and web seed. */
  magnet?: string;
}

/** A rendition or audio track of a title. */
export interface TitleFile {
  path: string;
  size: number;
  kind: Kind;
  codec: string;
  bandwidth: number;
  height?: number;
}

/** A licence (W3C ClearKey): keys with their names, both in base64url without padding. */
export interface Licence {
  keys: { kty: "oct"; kid: string; k: string }[];
  type: "temporary";
}

/** A person who is signed in. */
export interface Me {
  id: string;
  name: string;
  role: "viewer" | "editor" | "operator";
}

/** Where a viewer has come to in a title, in milliseconds of film. */
export interface PositionChange {
  position_ms: number;
  duration_ms: number;
  /** Languages (BCP 47) of sound and subtitles; absent: not known, or none shown. */
  audio?: string;
  subtitles?: string;
}

/** What went wrong with a request, by what the page can do about it. */
export type ApiErrorKind = "offline" | "unauthorized" | "forbidden" | "missing" | "invalid" | "busy" | "server";

/** What a page reads of a problem document. */
export interface ProblemParts {
  detail?: string;
  code?: string;
  streams?: PlayStream[];
}

/** A failed request. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly kind: ApiErrorKind;
  /** The HTTP status, 0 where no answer came. */
  readonly status: number;
  /** The server's own sentence (RFC 9457 `detail`, else `title`), if it sent one. */
  readonly detail: string | undefined;
  /** The server's word for what kind of error it is, which never changes its meaning. */
  readonly code: string | undefined;
  /** With the code too_many_streams: what the member is watching already. */
  readonly streams: PlayStream[];
  constructor(kind: ApiErrorKind, status: number, problem: ProblemParts = {}, options?: ErrorOptions) {
    super(problem.detail ?? kind, options);
    this.kind = kind;
    this.status = status;
    this.detail = problem.detail;
    this.code = problem.code;
    this.streams = problem.streams ?? [];
  }
}

/**
 * An answer that is not whole after so many milliseconds is given up. The longest, a long film's play session, has some
 * hundred kilobytes: a line that needs longer for it carries no film.
 */
const patienceMs = 20_000;

/** The API of one server. */
export class Api {
  #prefix: string;
  #fetch: typeof globalThis.fetch;

  /** `prefix` is where the server stands: empty for the page's own. */
  constructor(prefix = "", fetch: typeof globalThis.fetch = (input, init) => globalThis.fetch(input, init)) {
    this.#prefix = prefix;
    this.#fetch = fetch;
  }

  /** Published titles, newest first; to a stranger, the open ones. */
  async titles(): Promise<TitleSummary[]> {
    return (await this.#json<{ titles: TitleSummary[] | null }>("GET", "/api/v1/titles")).titles ?? [];
  }

  /** One title. */
  title(id: string): Promise<TitleDetail> {
    return this.#json("GET", `/api/v1/titles/${encodeURIComponent(id)}`);
  }

  /** Who is signed in; undefined for nobody. */
  async me(): Promise<Me | undefined> {
    try {
      return await this.#json<Me>("GET", "/api/v1/me");
    } catch (error) {
      if (error instanceof ApiError && error.kind === "unauthorized") return undefined;
      throw error;
    }
  }

  /** Signs in; the session's cookie is the browser's business. */
  signIn(name: string, password: string): Promise<Me> {
    return this.#json("POST", "/api/v1/session", { name, password });
  }

  /** Signs out. */
  async signOut(): Promise<void> {
    await this.#send("DELETE", "/api/v1/session");
  }

  /** The members of a demonstration who sign in with one click; undefined where the service is none. */
  async demoMembers(): Promise<string[] | undefined> {
    try {
      return (await this.#json<{ members: string[] }>("GET", "/api/v1/demo")).members;
    } catch (error) {
      if (error instanceof ApiError && error.kind === "missing") return undefined;
      throw error;
    }
  }

  /** Signs one of them in. */
  async demoSignIn(name: string): Promise<void> {
    await this.#send("POST", "/demo/sign-in", { name });
  }

  /**
   * Presses play. `share` is the viewer's consent to give bytes to other viewers; undefined for one who has not been
   * asked, which is no, except in a demonstration, whose viewers have agreed.
   */
  play(title: string, share?: boolean): Promise<PlaySession> {
    return this.#json("POST", `/api/v1/titles/${encodeURIComponent(title)}/play`, share === undefined ? {} : { share });
  }

  /** Reports, and brings the policy of the moment and perhaps new tickets. The last report outlives the page. */
  heartbeat(session: string, ticket: string, report: Heartbeat): Promise<HeartbeatReply> {
    return this.#json("POST", `/api/v1/play/${encodeURIComponent(session)}/heartbeat`, report, {
      headers: { Authorization: `Bearer ${ticket}` },
      keepalive: report.last ?? false,
    });
  }

  /** Opens the event stream of a play session, with its media ticket; `signal` ends it. */
  events(session: string, ticket: string, signal: AbortSignal): Promise<Response> {
    const headers = { Accept: "text/event-stream", Authorization: `Bearer ${ticket}` };
    return this.#send("GET", `/api/v1/play/${encodeURIComponent(session)}/events`, undefined, { headers, signal });
  }

  /** Where the signed-in profile has come to in a title, 0 where it has not begun; undefined where there is no such title. */
  async position(title: string): Promise<PositionChange | undefined> {
    try {
      return await this.#json<PositionChange>("GET", `/api/v1/positions/${encodeURIComponent(title)}`);
    } catch (error) {
      if (error instanceof ApiError && error.kind === "missing") return undefined;
      throw error;
    }
  }

  /** Says where the profile has come to. With `leaving` the request outlives the page. */
  async keepPosition(title: string, change: PositionChange, leaving: boolean): Promise<void> {
    await this.#send("PUT", `/api/v1/positions/${encodeURIComponent(title)}`, change, { keepalive: leaving });
  }

  /** Stops one of the member's own streams, wherever it plays. */
  async stopStream(session: string): Promise<void> {
    await this.#send("DELETE", `/api/v1/streams/${encodeURIComponent(session)}`);
  }

  /** The keys of these names, as far as the plan includes them. `path` and `ticket` are the play session's. */
  license(path: string, ticket: string, kids: string[]): Promise<Licence> {
    const headers = { Authorization: `Bearer ${ticket}` };
    return this.#json("POST", path, { kids, type: "temporary" }, { headers });
  }

  /** Who may make an account. */
  async signUpRule(): Promise<"open" | "invitation" | "closed"> {
    const { sign_up } = await this.#json<components["schemas"]["SignUpRuleOutputBody"]>("GET", "/api/v1/sign-up");
    return sign_up;
  }

  /** Any other request. An answer without a body is undefined: T is void then. */
  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.#send(method, path, body);
    return (response.status === 204 ? undefined : await response.json()) as T;
  }

  async #json<T>(method: string, path: string, body?: unknown, init?: RequestInit): Promise<T> {
    const response = await this.#send(method, path, body, init);
    try {
      return (await response.json()) as T;
    } catch (error) {
      // A body that is no JSON is the server's fault; one that does not end is the connection's.
      throw new ApiError(
        error instanceof SyntaxError ? "server" : "offline",
        response.status,
        {},
        {
          cause: error,
        },
      );
    }
  }

  async #send(method: string, path: string, body?: unknown, init: RequestInit = {}): Promise<Response> {
    let response: Response;
    try {
      response = await this.#fetch(this.#prefix + path, {
        ...init,
        method,
        headers: {
          Accept: "application/json",
          ...(body ? { "Content-Type": "application/json" } : {}),
          ...init.headers,
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "same-origin",
        signal: init.signal ?? AbortSignal.timeout(patienceMs),
      });
    } catch (error) {
      throw new ApiError("offline", 0, {}, { cause: error });
    }
    if (!response.ok) throw new ApiError(kindOf(response.status), response.status, await problemOf(response));
    return response;
  }
}

function kindOf(status: number): ApiErrorKind {
  if (status === 401) return "unauthorized";
  if (status === 403) return "forbidden";
  if (status === 404 || status === 410) return "missing";
  if (status === 429 || status === 503) return "busy";
  return status < 500 ? "invalid" : "server";
}

async function problemOf(response: Response): Promise<ProblemParts> {
  try {
    if (!response.headers.get("Content-Type")?.includes("json")) return {};
    const problem = (await response.json()) as Record<"detail" | "title" | "code" | "streams", unknown>;
    const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);
    const detail = text(problem.detail ?? problem.title);
    const code = text(problem.code);
    return {
      ...(detail !== undefined && { detail }),
      ...(code !== undefined && { code }),
      ...(Array.isArray(problem.streams) && { streams: problem.streams as PlayStream[] }),
    };
  } catch {
    return {};
  }
}
