/** The app's words in English and French. A sentence that is missing in one language does not compile. */

import type { ApiErrorKind } from "../player";

/** Every text of the app. */
export interface Words {
  tagline: string;
  skip: string;
  catalogue: string;
  language: string;
  otherLanguage: string;
  signIn: string;
  signOut: string;
  signOutFailed: string;
  signedInAs: (name: string) => string;
  watch: string;
  watchTitle: (name: string) => string;
  more: string;
  newest: string;
  allTitles: string;
  noTitles: string;
  noTitlesHint: string;
  openToAll: string;
  membersOnly: string;
  minutes: (ms: number) => string;
  upTo: (height: number) => string;
  torrent: string;
  magnet: string;
  torrentHint: string;
  signInToWatch: string;
  members: string;
  signUp: string;
  back: string;
  name: string;
  password: string;
  signInHeading: string;
  signInHint: string;
  demoHeading: string;
  demoHint: string;
  demoAs: (name: string) => string;
  wrongPassword: string;
  notFoundHeading: string;
  notFoundHint: string;
  toCatalogue: string;
  tryAgain: string;
  reload: string;
  loading: string;
  sharing: {
    question: string;
    yes: string;
    no: string;
    meaning: string;
    explanation: string[];
    on: string;
    off: string;
    presumed: string;
    paused: string;
    failed: string;
    change: string;
    settings: string;
    stop: string;
  };
  stats: {
    fromViewers: (percent: number) => string;
    viewers: (count: number) => string;
    given: (size: string) => string;
    verified: string;
    lines: (height: number) => string;
  };
  phases: { buffering: string; trouble: string };
  frame: { viewer: (n: number) => string; soundOn: string; soundOff: string };
  api: Record<ApiErrorKind, string>;
}

const number = (language: string, digits = 0) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits });

/** Hours and minutes are written alike in both languages, with a space that does not break. */
const duration = (ms: number) => {
  const minutes = Math.max(1, Math.round(ms / 60_000));
  const hours = Math.floor(minutes / 60);
  const rest = minutes % 60;
  if (hours === 0) return `${minutes} min`;
  return `${hours} h${rest > 0 ? ` ${String(rest).padStart(2, "0")}` : ""}`;
};

const en: Words = {
  tagline: "Films carried by those who watch them.",
  skip: "Skip to content",
  catalogue: "Films",
  language: "Language",
  otherLanguage: "Français",
  signIn: "Sign in",
  signOut: "Sign out",
  signOutFailed: "You are still signed in.",
  signedInAs: (name) => `Signed in as ${name}`,
  watch: "Watch",
  watchTitle: (name) => `Watch ${name}`,
  more: "About this film",
  newest: "New",
  allTitles: "All films",
  noTitles: "No film has been published yet.",
  noTitlesHint: "Films appear here as soon as they are ready.",
  openToAll: "Open to all",
  membersOnly: "Members",
  minutes: duration,
  upTo: (height) => `Up to ${height}p`,
  torrent: "Torrent file",
  magnet: "Magnet link",
  torrentHint: "Any BitTorrent program can help carry this film.",
  signInToWatch: "Sign in to watch",
  members: "Members",
  signUp: "Make an account",
  back: "Back",
  name: "Name",
  password: "Password",
  signInHeading: "Welcome back",
  signInHint: "Sign in to watch the films that are for members.",
  demoHeading: "This is a demonstration",
  demoHint: "Pick a viewer. One click, no password.",
  demoAs: (name) => `Enter as ${name}`,
  wrongPassword: "This name and password do not go together. Check both and try again.",
  notFoundHeading: "An empty cell",
  notFoundHint: "There is nothing at this address. The film may have been withdrawn.",
  toCatalogue: "See all films",
  tryAgain: "Try again",
  reload: "Reload the page",
  loading: "Loading",
  sharing: {
    question: "Share while you watch?",
    yes: "Yes",
    no: "No",
    meaning: "What this means",
    explanation: [
      "While this page is open, your browser passes on parts of this film to others who are watching it, and gets parts from them. Every part is checked before it is shown or passed on, so nobody can change the film.",
      "Those viewers’ devices connect to yours and can see your network address and that you are watching this film. Your upload is used; on mobile networks nothing is shared.",
      "If you say no, the film plays just the same, from our server. You can change your mind at any time.",
    ],
    on: "You are sharing while you watch.",
    off: "You are not sharing.",
    presumed: "In this demonstration, viewers have agreed to share.",
    paused: "You agreed to share. For now, nothing is shared.",
    failed: "Sharing could not begin. The film plays on from our server.",
    change: "Change",
    settings: "Details",
    stop: "Do not share",
  },
  stats: {
    fromViewers: (percent) => `From viewers ${number("en").format(percent)}\u00a0%`,
    viewers: (count) => (count === 1 ? "1 viewer connected" : `${number("en").format(count)} viewers connected`),
    given: (size) => `${size} shared today`,
    verified: "Every byte verified",
    lines: (height) => `${height}p`,
  },
  phases: {
    buffering: "One moment…",
    trouble: "The server is slow to answer. Trying again…",
  },
  frame: {
    viewer: (n) => `Viewer ${n}`,
    soundOn: "Turn the sound on",
    soundOff: "Turn the sound off",
  },
  api: {
    offline: "The server cannot be reached. Check your connection, then try again.",
    unauthorized: "Sign in first; this film is for members.",
    forbidden: "Your account does not include this.",
    missing: "There is nothing here any more.",
    invalid: "The server did not understand this page. Reload it, then try again.",
    busy: "The server is busy. Try again in a moment.",
    server: "Something went wrong on our side. Try again in a moment.",
  },
};

const fr: Words = {
  tagline: "Des films portés par ceux qui les regardent.",
  skip: "Aller au contenu",
  catalogue: "Films",
  language: "Langue",
  otherLanguage: "English",
  signIn: "Se connecter",
  signOut: "Se déconnecter",
  signOutFailed: "Vous êtes toujours connecté.",
  signedInAs: (name) => `Connecté en tant que ${name}`,
  watch: "Regarder",
  watchTitle: (name) => `Regarder ${name}`,
  more: "À propos du film",
  newest: "Nouveau",
  allTitles: "Tous les films",
  noTitles: "Aucun film n’est encore publié.",
  noTitlesHint: "Les films paraissent ici dès qu’ils sont prêts.",
  openToAll: "Ouvert à tous",
  membersOnly: "Membres",
  minutes: duration,
  upTo: (height) => `Jusqu’à ${height}p`,
  torrent: "Fichier torrent",
  magnet: "Lien magnet",
  torrentHint: "Tout logiciel BitTorrent peut aider à porter ce film.",
  signInToWatch: "Se connecter pour regarder",
  members: "Membres",
  signUp: "Créer un compte",
  back: "Retour",
  name: "Nom",
  password: "Mot de passe",
  signInHeading: "Heureux de vous revoir",
  signInHint: "Connectez-vous pour voir les films réservés aux membres.",
  demoHeading: "Ceci est une démonstration",
  demoHint: "Choisissez un spectateur. Un clic, pas de mot de passe.",
  demoAs: (name) => `Entrer comme ${name}`,
  wrongPassword: "Ce nom et ce mot de passe ne vont pas ensemble. Vérifiez les deux et réessayez.",
  notFoundHeading: "Une alvéole vide",
  notFoundHint: "Il n’y a rien à cette adresse. Le film a peut-être été retiré.",
  toCatalogue: "Voir tous les films",
  tryAgain: "Réessayer",
  reload: "Recharger la page",
  loading: "Chargement",
  sharing: {
    question: "Partager en regardant\u202f?",
    yes: "Oui",
    no: "Non",
    meaning: "C’est-à-dire\u202f?",
    explanation: [
      "Tant que cette page est ouverte, votre navigateur transmet des parties du film à d’autres qui le regardent, et en reçoit d’eux. Chaque partie est vérifiée avant d’être montrée ou transmise\u00a0: personne ne peut altérer le film.",
      "Les appareils de ces spectateurs se connectent au vôtre\u202f; ils voient votre adresse réseau et que vous regardez ce film. Votre débit montant est utilisé\u202f; sur un réseau mobile, rien n’est partagé.",
      "Si vous dites non, le film se joue tout aussi bien, depuis notre serveur. Vous pouvez changer d’avis à tout moment.",
    ],
    on: "Vous partagez en regardant.",
    off: "Vous ne partagez pas.",
    presumed: "Dans cette démonstration, les spectateurs ont accepté de partager.",
    paused: "Vous avez accepté de partager. Pour l’instant, rien n’est partagé.",
    failed: "Le partage n’a pas pu commencer. Le film continue depuis notre serveur.",
    change: "Modifier",
    settings: "Détails",
    stop: "Ne pas partager",
  },
  stats: {
    fromViewers: (percent) => `Venant des spectateurs\u00a0: ${number("fr").format(percent)}\u00a0%`,
    viewers: (count) =>
      count <= 1 ? `${count} spectateur connecté` : `${number("fr").format(count)} spectateurs connectés`,
    given: (size) => `${size} partagés aujourd’hui`,
    verified: "Chaque octet vérifié",
    lines: (height) => `${height}p`,
  },
  phases: {
    buffering: "Un instant…",
    trouble: "Le serveur tarde à répondre. Nouvel essai…",
  },
  frame: {
    viewer: (n) => `Spectateur ${n}`,
    soundOn: "Mettre le son",
    soundOff: "Couper le son",
  },
  api: {
    offline: "Le serveur est injoignable. Vérifiez votre connexion, puis réessayez.",
    unauthorized: "Connectez-vous d’abord\u202f; ce film est réservé aux membres.",
    forbidden: "Votre compte ne comprend pas ceci.",
    missing: "Il n’y a plus rien ici.",
    invalid: "Le serveur n’a pas compris cette page. Rechargez-la, puis réessayez.",
    busy: "Le serveur est très demandé. Réessayez dans un instant.",
    server: "Quelque chose s’est mal passé de notre côté. Réessayez dans un instant.",
  },
};

/** The languages that the app speaks. */
export type Language = "en" | "fr";

/** All texts by language. */
export const dictionary: Record<Language, Words> = { en, fr };

/** preferred is the first of the browser's languages that the app speaks, else English. */
export function preferred(languages: readonly string[]): Language {
  for (const tag of languages) {
    const language = tag.toLowerCase().split("-")[0];
    if (language === "en" || language === "fr") return language;
  }
  return "en";
}

/** Writes a byte count in MB or GB with one digit and its unit, as the language does. */
export function bytes(language: Language, count: number): string {
  const [size, prefix] = count < 999.95e6 ? [count / 1e6, "M"] : [count / 1e9, "G"];
  return `${number(language, 1).format(size)}\u00a0${prefix}${language === "fr" ? "o" : "B"}`;
}
