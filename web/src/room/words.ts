/** The room's words in English and French. A sentence that is missing in one language does not compile. */

import type { Language } from "../app/words";

/** Every text of the room. `again` and `from` take the number of a node: 0 the server, 1 to 4 viewers, 5 peers elsewhere. */
export interface RoomWords {
  language: Language;
  other: string;
  title: string;
  heading: string;
  toFilms: string;
  figures: { before: string; between: string; after: string };
  saved: (percent: string) => string;
  savedNothing: string;
  megabytes: (bytes: number) => string;
  mbps: (kbps: number) => string;
  server: string;
  tracker: string;
  trackerKnows: (viewers: number) => string;
  trackerStopped: string;
  elsewhere: string;
  atMost: (rate: string) => string;
  liesFlag: string;
  droppedFlag: string;
  drawing: string;
  stage: string;
  viewer: (n: number) => string;
  joinsIn: (n: number, seconds: number) => string;
  joinsWhy: string;
  node: (n: number) => string;
  ownWindow: (n: number) => string;
  ownWindowShort: string;
  isInOwnWindow: (n: number) => string;
  bringBack: string;
  fromViewers: (percent: string) => string;
  fromServer: (percent: string) => string;
  nothingYet: string;
  controls: string;
  again: string;
  switches: {
    add: { name: string; off: string; on: (count: number) => string };
    fourth: string;
    throttle: { name: string; off: (rate: string) => string; on: (rate: string) => string };
    tracker: { name: string; off: string; on: string };
    lie: { name: string; off: string; on: string };
  };
  failed: string;
  strip: string;
  stripOf: (n: number, server: string, viewers: string, cache: string) => string;
  pieceAt: (time: string, lane: string, piece: number, source: string) => string;
  lane: (height: number) => string;
  sound: string;
  sources: { none: string; cache: string; bad: string; from: (n: number) => string };
  legend: { heading: string; cache: string; bad: string; lanes: (names: string) => string; beads: string };
  story: Story;
  unreachable: string;
  loading: string;
}

/** What one sees at the moment, in plain words. */
export interface Story {
  first: string;
  soon: string;
  meeting: (n: number) => string;
  sharing: (percent: string) => string;
  serverIdle: string;
  ownWay: string;
  idle: string;
  throttled: (rate: string) => string;
  trackerStopped: string;
  trackerStoppedNew: (n: number) => string;
  liesWaiting: string;
  refused: (victim: number, piece: number, liar: string) => string;
  fetchedAgain: (victim: number, piece: number, liar: string, source: string) => string;
  stillBanned: (victims: string) => string;
  honest: string;
  ended: string;
  paused: string;
}

const number = (language: Language, value: number, digits: number) =>
  new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);

const en: RoomWords = {
  language: "en",
  other: "Français",
  title: "Essaim: the room",
  heading: "The room",
  toFilms: "All films",
  figures: { before: "The server sent ", between: "; plain streaming would have sent ", after: "." },
  saved: (percent) => `${percent} saved`,
  savedNothing: "nothing saved yet",
  megabytes: (bytes) => `${number("en", bytes / 1e6, 1)} MB`,
  mbps: (kbps) => number("en", kbps / 1000, kbps < 9_950 ? 2 : 1),
  server: "The server",
  tracker: "Tracker",
  trackerKnows: (viewers) => (viewers === 1 ? "knows 1 viewer" : `knows ${viewers} viewers`),
  trackerStopped: "stopped",
  elsewhere: "elsewhere",
  atMost: (rate) => `at most ${rate}`,
  liesFlag: "lies",
  droppedFlag: "dropped",
  drawing: "The server, the viewers, and the bytes that flow between them now",
  stage: "Viewers and what flows between them",
  viewer: (n) => `Viewer ${n}`,
  joinsIn: (n, seconds) => `Viewer ${n} joins in ${seconds} s`,
  joinsWhy: "The same film, ten seconds behind the first.",
  node: (n) => (n === 0 ? "the server" : n === 5 ? "a viewer elsewhere" : `viewer ${n}`),
  ownWindow: (n) => `Open this viewer in its own window (viewer ${n})`,
  ownWindowShort: "Open this viewer in its own window",
  isInOwnWindow: (n) => `Viewer ${n} is in its own window.`,
  bringBack: "Bring it back",
  fromViewers: (percent) => `${percent} from viewers`,
  fromServer: (percent) => `, ${percent} from the server`,
  nothingYet: "nothing received yet",
  controls: "What if…",
  again: "Start again",
  switches: {
    add: {
      name: "Add a viewer",
      off: "It joins those who watch.",
      on: (count) => `${count} watch; again: one less.`,
    },
    fourth: "Add a fourth",
    throttle: {
      name: "Cut the server to 1.2 × one bitrate",
      off: (rate) => `${rate} for everyone together.`,
      on: (rate) => `Held at ${rate}; again lifts it.`,
    },
    tracker: {
      name: "Stop the tracker",
      off: "Nobody is introduced any more.",
      on: "Stopped; again starts it.",
    },
    lie: {
      name: "One viewer lies",
      off: "Viewer 1 flips one bit in all it gives.",
      on: "It lies; again makes it honest.",
    },
  },
  failed: "The server did not answer. Press again.",
  strip: "The film, piece by piece, as each viewer holds it",
  stripOf: (n, server, viewers, cache) =>
    `Viewer ${n}: ${server} from the server, ${viewers} from viewers, ${cache} from its cache`,
  pieceAt: (time, lane, piece, source) => `${time} · ${lane} · piece ${piece} · ${source}`,
  lane: (height) => `${height}p`,
  sound: "sound",
  sources: {
    none: "not held",
    cache: "from its cache",
    bad: "refused: a wrong bit",
    from: (n) => (n === 0 ? "from the server" : n === 5 ? "from elsewhere" : `from viewer ${n}`),
  },
  legend: {
    heading: "Pieces from",
    lanes: (names) => `Lanes: ${names}`,
    beads: "One bead: 16 KiB",
    cache: "its own cache",
    bad: "a liar: refused",
  },
  story: {
    first: "Viewer 1 is alone. Everything it plays comes from the server.",
    soon: "Viewer 1 is alone, so all it plays comes from the server. In a moment somebody else presses play.",
    meeting: (n) =>
      `Viewer ${n} plays at once, from the server, and asks the tracker who else watches. Their browsers are getting in touch.`,
    sharing: (percent) =>
      `The viewers feed each other: ${percent} of what arrives now comes from another viewer, each block checked before it is played or passed on.`,
    ownWay: "The viewers have met. At this moment each fetches what the other lacks too, so it comes from the server.",
    idle: "Nothing needs to be sent now: all viewers hold enough of what comes next.",
    serverIdle: "At this moment the server rests: all that arrives comes from the viewers themselves.",
    throttled: (rate) =>
      `All viewers together get at most ${rate} from the server, hardly more than one of them needs. What it cannot send, they give one another.`,
    trackerStopped:
      "The tracker introduces nobody any more. Those who have met keep sharing; the tracker was never in the way of the bytes.",
    trackerStoppedNew: (n) =>
      `The tracker is stopped, so nobody introduces viewer ${n}: it plays all the same, from the server.`,
    liesWaiting: "Viewer 1 now flips one bit in every block that it gives. Nobody has been fooled yet: watch for red.",
    refused: (victim, piece, liar) =>
      `Viewer ${victim} found a wrong bit in piece ${piece} and refused it. It no longer speaks to ${liar}, and gets the piece again elsewhere before it is due.`,
    fetchedAgain: (victim, piece, liar, source) =>
      `Viewer ${victim} found a wrong bit in piece ${piece}, dropped ${liar} for good, and fetched it again from ${source}. Not one wrong bit was played.`,
    stillBanned: (victims) => `Viewer 1 lies, and has been dropped by ${victims}. They are better off without it.`,
    honest: "Viewer 1 is honest again. Who lied once stays banned, so it has come back as a new peer.",
    ended: "The film has ended. The viewers hold all of it, and would give it to anyone who came now.",
    paused: "The films are paused. Press play in a frame.",
  },
  unreachable: "The server does not answer. The page keeps trying.",
  loading: "One moment…",
};

const fr: RoomWords = {
  language: "fr",
  other: "English",
  title: "Essaim : le salon",
  heading: "Le salon",
  toFilms: "Tous les films",
  figures: { before: "Le serveur a envoyé ", between: " ; sans partage, il aurait envoyé ", after: "." },
  saved: (percent) => `${percent} économisés`,
  savedNothing: "rien d’économisé encore",
  megabytes: (bytes) => `${number("fr", bytes / 1e6, 1)} Mo`,
  mbps: (kbps) => number("fr", kbps / 1000, kbps < 9_950 ? 2 : 1),
  server: "Le serveur",
  tracker: "Tracker",
  trackerKnows: (viewers) => (viewers <= 1 ? `connaît ${viewers} spectateur` : `connaît ${viewers} spectateurs`),
  trackerStopped: "arrêté",
  elsewhere: "ailleurs",
  atMost: (rate) => `${rate} au plus`,
  liesFlag: "ment",
  droppedFlag: "exclu",
  drawing: "Le serveur, les spectateurs, et les octets qui passent entre eux en ce moment",
  stage: "Les spectateurs et ce qui passe entre eux",
  viewer: (n) => `Spectateur ${n}`,
  joinsIn: (n, seconds) => `Le spectateur ${n} arrive dans ${seconds} s`,
  joinsWhy: "Le même film, dix secondes après le premier.",
  node: (n) => (n === 0 ? "le serveur" : n === 5 ? "un spectateur d’ailleurs" : `le spectateur ${n}`),
  ownWindow: (n) => `Ouvrir ce spectateur dans sa propre fenêtre (spectateur ${n})`,
  ownWindowShort: "Ouvrir ce spectateur dans sa propre fenêtre",
  isInOwnWindow: (n) => `Le spectateur ${n} est dans sa propre fenêtre.`,
  bringBack: "Le ramener ici",
  fromViewers: (percent) => `${percent} des spectateurs`,
  fromServer: (percent) => `, ${percent} du serveur`,
  nothingYet: "rien reçu encore",
  controls: "Et si…",
  again: "Recommencer",
  switches: {
    add: {
      name: "Ajouter un spectateur",
      off: "Il rejoint ceux qui regardent.",
      on: (count) => `${count} regardent ; encore : un de moins.`,
    },
    fourth: "En ajouter un quatrième",
    throttle: {
      name: "Limiter le serveur à 1,2 × un débit",
      off: (rate) => `${rate} pour tous ensemble.`,
      on: (rate) => `Limité à ${rate} ; encore : libéré.`,
    },
    tracker: {
      name: "Arrêter le tracker",
      off: "Plus personne n’est présenté.",
      on: "Arrêté ; encore : relancé.",
    },
    lie: {
      name: "Un spectateur ment",
      off: "Le n° 1 fausse un bit de ce qu’il donne.",
      on: "Il ment ; encore : honnête.",
    },
  },
  failed: "Le serveur n’a pas répondu. Appuyez encore.",
  strip: "Le film, morceau par morceau, tel que chacun le détient",
  stripOf: (n, server, viewers, cache) =>
    `Spectateur ${n} : ${server} du serveur, ${viewers} des spectateurs, ${cache} de son cache`,
  pieceAt: (time, lane, piece, source) => `${time} · ${lane} · morceau ${piece} · ${source}`,
  lane: (height) => `${height}p`,
  sound: "son",
  sources: {
    none: "pas détenu",
    cache: "de son cache",
    bad: "refusé : un bit faux",
    from: (n) => (n === 0 ? "du serveur" : n === 5 ? "d’ailleurs" : `du spectateur ${n}`),
  },
  legend: {
    heading: "Morceaux :",
    lanes: (names) => `Pistes : ${names}`,
    beads: "Une perle : 16 Kio",
    cache: "son cache",
    bad: "un menteur : refusé",
  },
  story: {
    first: "Le spectateur 1 est seul. Tout ce qu’il voit vient du serveur.",
    soon: "Le spectateur 1 est seul : tout ce qu’il voit vient du serveur. Dans un instant, quelqu’un d’autre lance le film.",
    meeting: (n) =>
      `Le spectateur ${n} voit le film aussitôt, depuis le serveur, et demande au tracker qui d’autre regarde. Leurs navigateurs entrent en contact.`,
    sharing: (percent) =>
      `Les spectateurs se nourrissent l’un l’autre : ${percent} de ce qui arrive vient d’un autre spectateur, chaque bloc vérifié avant d’être montré ou transmis.`,
    ownWay:
      "Les spectateurs se sont rencontrés. En ce moment chacun cherche ce qui manque aussi à l’autre : cela vient du serveur.",
    idle: "Rien à envoyer pour l’instant : chacun détient assez de la suite.",
    serverIdle: "En ce moment le serveur se repose : tout ce qui arrive vient des spectateurs eux-mêmes.",
    throttled: (rate) =>
      `Tous ensemble reçoivent au plus ${rate} du serveur, à peine plus qu’il n’en faut à un seul. Ce qu’il ne peut envoyer, ils se le donnent.`,
    trackerStopped:
      "Le tracker ne présente plus personne. Ceux qui se sont rencontrés continuent de partager ; les octets ne passaient pas par lui.",
    trackerStoppedNew: (n) =>
      `Le tracker est arrêté, personne ne présente donc le spectateur ${n} : il voit le film quand même, depuis le serveur.`,
    liesWaiting:
      "Le spectateur 1 fausse maintenant un bit de chaque bloc qu’il donne. Personne n’est encore tombé dessus : guettez le rouge.",
    refused: (victim, piece, liar) =>
      `Le spectateur ${victim} a trouvé un bit faux dans le morceau ${piece} et l’a refusé. Il ne parle plus avec ${liar} et reprend le morceau ailleurs avant d’en avoir besoin.`,
    fetchedAgain: (victim, piece, liar, source) =>
      `Le spectateur ${victim} a trouvé un bit faux dans le morceau ${piece}, a exclu ${liar} pour de bon et a repris le morceau ailleurs : ${source}. Pas un bit faux n’a été montré.`,
    stillBanned: (victims) => `Le spectateur 1 ment ; l’ont exclu : ${victims}. Ils se passent fort bien de lui.`,
    honest: "Le spectateur 1 est de nouveau honnête. Qui a menti reste exclu : il est donc revenu sous un nouveau nom.",
    ended: "Le film est fini. Les spectateurs l’ont en entier et le donneraient à qui viendrait maintenant.",
    paused: "Les films sont en pause. Lancez-les dans un cadre.",
  },
  unreachable: "Le serveur ne répond pas. La page réessaie.",
  loading: "Un instant…",
};

/** All texts by language. */
export const dictionary: Record<Language, RoomWords> = { en, fr };

/** A rate with its unit. */
export function rate(words: RoomWords, kbps: number): string {
  return `${words.mbps(kbps)}\u00a0Mbit/s`;
}

/** A share of a whole in per cent, as the language writes it. */
export function percent(words: RoomWords, part: number, whole: number): string {
  const value = whole > 0 ? Math.round((100 * part) / whole) : 0;
  return `${number(words.language, value, 0)}\u00a0%`;
}

/** A moment of film: minutes and seconds. */
export function clock(ms: number): string {
  const s = Math.floor(ms / 1000);
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

/** Names in a row. */
export function list(words: RoomWords, names: string[]): string {
  return new Intl.ListFormat(words.language, { type: "conjunction" }).format(names);
}
