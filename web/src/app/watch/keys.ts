/** The player's keys: those of the services that people know. */

/** What a key asks for. Seconds are of film, fractions of its length. */
export type Wish =
  | { do: "toggle" | "mute" | "full" | "subtitles" }
  | { do: "jump"; seconds: number }
  | { do: "go"; fraction: number }
  | { do: "louder"; by: number }
  | { do: "faster"; by: 1 | -1 };

/** A key as far as it matters here: a KeyboardEvent is one. */
export interface Key {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
}

/**
 * wishOf says what a key asks for; undefined: nothing of the player. `near`: the focus is within the player, so that the keys
 * that otherwise scroll the page are its own.
 */
export function wishOf({ key, ctrlKey, metaKey, altKey }: Key, near: boolean): Wish | undefined {
  if (ctrlKey || metaKey || altKey) return undefined;
  if (/^[0-9]$/.test(key)) return { do: "go", fraction: Number(key) / 10 };
  switch (key.toLowerCase()) {
    case " ":
    case "k":
      return { do: "toggle" };
    case "j":
      return { do: "jump", seconds: -10 };
    case "l":
      return { do: "jump", seconds: 10 };
    case "arrowleft":
      return { do: "jump", seconds: -5 };
    case "arrowright":
      return { do: "jump", seconds: 5 };
    case "m":
      return { do: "mute" };
    case "f":
      return { do: "full" };
    case "c":
      return { do: "subtitles" };
    case "<":
      return { do: "faster", by: -1 };
    case ">":
      return { do: "faster", by: 1 };
  }
  if (!near) return undefined;
  switch (key) {
    case "ArrowUp":
      return { do: "louder", by: 0.05 };
    case "ArrowDown":
      return { do: "louder", by: -0.05 };
    case "Home":
      return { do: "go", fraction: 0 };
    case "End":
      return { do: "go", fraction: 1 };
  }
  return undefined;
}

/** ownKeys: the focused element answers this key by itself, so that the player must not. */
export function ownKeys(element: Element | null, key: string): boolean {
  if (!element) return false;
  if (element.matches("input, select, textarea, [contenteditable]")) {
    const range = element.matches("input[type=range]");
    const choice = element.matches("input[type=radio], input[type=checkbox]");
    if (!range && !choice) return true;
    return key === " " ? choice : /^(Arrow|Home|End|Page)/.test(key);
  }
  return key === " " && element.matches("button, a, summary, [role=button]");
}
