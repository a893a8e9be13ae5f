/** What the whole app shares: language, who is signed in, the viewer's answer to the sharing question, the place. */

import { Api, ApiError, freeLimits, type Me, type SharingLimits } from "../player";
import { dictionary, type Language, preferred, type Words } from "./words";

/** The server that served this page. */
export const api = new Api();

/** localStorage may be full, forbidden or absent: then answers last as long as the page. */
export const memory = {
  get(key: string): string | null {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key: string, value: string | undefined): void {
    try {
      if (value === undefined) localStorage.removeItem(key);
      else localStorage.setItem(key, value);
    } catch {
      // Not kept.
    }
  },
};

/** The language, changed by its switch and kept. */
class LanguageState {
  #current: Language = $state(initialLanguage());

  constructor() {
    document.documentElement.lang = this.#current;
  }

  get current(): Language {
    return this.#current;
  }

  get words(): Words {
    return dictionary[this.#current];
  }

  toggle(): void {
    this.#set(this.#current === "en" ? "fr" : "en");
  }

  /** Takes the language of that name (BCP 47) if the pages speak it. */
  follow(tag: string): void {
    const spoken = tag.split("-")[0];
    if (spoken === "en" || spoken === "fr") this.#set(spoken);
  }

  #set(to: Language): void {
    this.#current = to;
    document.documentElement.lang = this.#current;
    memory.set("essaim.language", this.#current);
  }
}

function initialLanguage(): Language {
  const kept = memory.get("essaim.language");
  return kept === "en" || kept === "fr" ? kept : preferred(navigator.languages);
}

/** The language of the page. */
export const language = new LanguageState();

/** The viewer's answer to "Share while you watch?". */
export type Answer = "yes" | "no" | undefined;

/** The answer, and how much may be given, kept in the browser. Unanswered is no. */
class SharingState {
  #answer: Answer = $state(initialAnswer());
  #answeredAt: string | undefined = $state(initialMoment());
  #limits: SharingLimits = $state.raw(initialLimits());

  constructor() {
    // What is said in one tab holds in all.
    addEventListener("storage", ({ key }) => {
      if (key === "essaim.share" || key === null) this.#answer = initialAnswer();
      if (key === "essaim.shared-at" || key === null) this.#answeredAt = initialMoment();
      if (key === "essaim.limits" || key === null) this.#limits = initialLimits();
    });
  }

  /** When the answer was given, in ISO 8601; undefined while there is none. */
  get answeredAt(): string | undefined {
    return this.#answeredAt;
  }

  /** What the viewer is willing to give. */
  get limits(): SharingLimits {
    return this.#limits;
  }

  set limits(limits: SharingLimits) {
    this.#limits = limits;
    memory.set("essaim.limits", JSON.stringify(limits));
  }

  get answer(): Answer {
    return this.#answer;
  }

  set answer(answer: Answer) {
    this.#answer = answer;
    memory.set("essaim.share", answer);
    this.#answeredAt = answer && new Date().toISOString();
    memory.set("essaim.shared-at", this.#answeredAt);
  }
}

function initialAnswer(): Answer {
  const kept = memory.get("essaim.share");
  return kept === "yes" || kept === "no" ? kept : undefined;
}

function initialMoment(): string | undefined {
  const kept = memory.get("essaim.shared-at");
  return kept !== null && !Number.isNaN(Date.parse(kept)) ? kept : undefined;
}

/** What is missing or spoilt is as if nobody had said anything. */
function initialLimits(): SharingLimits {
  try {
    const kept = JSON.parse(memory.get("essaim.limits") ?? "{}") as Partial<SharingLimits>;
    const whole = (n: unknown) => (typeof n === "number" && Number.isFinite(n) && n > 0 ? Math.round(n) : 0);
    return {
      uplinkKbps: whole(kept.uplinkKbps),
      monthBytes: whole(kept.monthBytes),
      anyNetwork: kept.anyNetwork === true,
    };
  } catch {
    return freeLimits;
  }
}

/** The sharing question's answer, and its limits. */
export const sharing = new SharingState();

/** Who is signed in. `known` is false until the server has said. */
class AccountState {
  me: Me | undefined = $state();
  known = $state(false);

  constructor() {
    // A page that comes back from the browser's cache shows who was signed in when it was left.
    addEventListener("pageshow", ({ persisted }) => persisted && void this.refresh());
  }

  #asked: Promise<void> | undefined;

  /** Asks the server; one that cannot be reached changes nothing. */
  refresh(): Promise<void> {
    this.#asked = this.#ask();
    return this.#asked;
  }

  /** Resolves once the server has said who is signed in, or could not be reached. */
  settled(): Promise<void> {
    return this.#asked ?? this.refresh();
  }

  async #ask(): Promise<void> {
    try {
      this.me = await api.me();
    } catch {
      // As before: a stranger, if nobody was known.
    }
    this.known = true;
  }

  /** Signs out. Rejects with an ApiError where the session may live on: nobody must leave a screen believing otherwise. */
  async signOut(): Promise<void> {
    await api.signOut();
    this.me = undefined;
    this.known = true;
  }
}

/** The account. */
export const account = new AccountState();

/** The sentence for a failed request, in the page's language; the server's own where it says more than its kind. */
export function sentence(error: unknown): string {
  const { words } = language;
  if (!(error instanceof ApiError)) return words.api.server;
  if (error.kind === "invalid" && error.detail && language.current === "en") return error.detail;
  return words.api[error.kind];
}
