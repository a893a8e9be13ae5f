/** The operator's pages' words in English and French: apart, because only these pages load them. */

import type { Language } from "../words";
import type { Comparison } from "./requests";

/** Every text of the operator's pages. */
export interface OperatorWords {
  pages: Record<"members" | "savings" | "policy" | "audit", string>;
  nav: string;
  savingsHint: string;
  days: (n: number) => string;
  range: string;
  offload: string;
  offloadHint: (bound: string) => string;
  avoided: string;
  avoidedHint: (amount: string) => string;
  noPrice: string;
  copies: string;
  copiesHint: string;
  sessions: string;
  sessionsHint: (hours: string) => string;
  nothing: string;
  hurt: string;
  hurtHint: string;
  measures: Record<Comparison["measure"], string>;
  sharing: string;
  heldOut: string;
  difference: string;
  interval: (low: string, high: string) => string;
  tooFew: string;
  verdicts: Record<"better" | "same" | "worse" | "unknown", string>;
  by: Record<"day" | "title", string>;
  byWhat: string;
  columns: {
    key: string;
    sessions: string;
    hours: string;
    origin: string;
    peers: string;
    offload: string;
    avoided: string;
  };
  csv: string;
  agreement: (share: string) => string;
  quarantined: (n: string) => string;
  policyHint: string;
  on: string;
  onHint: string;
  off: string;
  offHint: string;
  switchOff: string;
  switchOn: string;
  share: string;
  holdOut: string;
  holdOutHint: string;
  uplink: string;
  uplinkHint: string;
  networks: string;
  networksHint: string;
  titles: string;
  titlesHint: string;
  autoOff: string;
  autoOffHint: string;
  price: string;
  currency: string;
  why: string;
  whyHint: string;
  save: string;
  saved: (version: number) => string;
  unchanged: string;
  versions: string;
  version: (n: number) => string;
  auditHint: string;
  older: string;
  empty: string;
  when: string;
  who: string;
  what: string;
  whom: string;
}

/** By language. */
export const operatorDictionary: Record<Language, OperatorWords> = {
  en: {
    pages: { members: "Members", savings: "Savings", policy: "The switch", audit: "Audit log" },
    nav: "Operator’s pages",
    savingsHint: "What viewers carried for you, and whether any of them is worse off for it.",
    days: (n) => (n === 1 ? "Today" : `${n} days`),
    range: "Period",
    offload: "Offload",
    offloadHint: (bound) => `of ${bound} that were possible with these viewers`,
    avoided: "Egress avoided",
    avoidedHint: (amount) => `worth ${amount}`,
    noPrice: "set a price per GB under The switch",
    copies: "Copies sent",
    copiesHint: "how often you sent what was watched",
    sessions: "Plays",
    sessionsHint: (hours) => `${hours} hours of film`,
    nothing: "Nobody has watched in these days.",
    hurt: "Is anyone hurt?",
    hurtHint: "Viewers who share, against those drawn to play from the server alone. Less is better.",
    measures: {
      stalls_per_hour: "Stalls an hour",
      startup_ms: "Start-up",
      failed_share: "Plays that failed",
    },
    sharing: "Sharing",
    heldOut: "Held out",
    difference: "Difference",
    interval: (low, high) => `between ${low} and ${high}`,
    tooFew: "too few viewers to tell",
    verdicts: { better: "better", same: "no difference beyond chance", worse: "worse", unknown: "not known yet" },
    by: { day: "By day", title: "By title" },
    byWhat: "Rows",
    columns: {
      key: "",
      sessions: "Plays",
      hours: "Hours",
      origin: "From you",
      peers: "From viewers",
      offload: "Offload",
      avoided: "Avoided",
    },
    csv: "Download as CSV",
    agreement: (share) => `What viewers say they received and what others say they sent differ by ${share}.`,
    quarantined: (n) => `${n} plays claimed what cannot be, and are left out.`,
    policyHint:
      "Whether viewers exchange pieces, and how much. Running players obey within seconds; every change is kept.",
    on: "Viewers exchange pieces",
    onHint: "Whoever agreed to share does, within the limits below.",
    off: "Everything comes from the server",
    offHint: "Nobody is introduced to anybody, and connections that there were are closed.",
    switchOff: "Switch off everywhere",
    switchOn: "Switch on",
    share: "Viewers who may share, in %",
    holdOut: "Held out of these, in %",
    holdOutHint: "They play from the server alone, for comparison. Without them nobody knows whether sharing hurts.",
    uplink: "Upload of each, in kbit/s",
    uplinkHint: "0 is no limit but the viewer’s own.",
    networks: "Networks without peers",
    networksHint: "One a line: AS64500, or a prefix such as 192.0.2.0/24.",
    titles: "Titles without peers",
    titlesHint: "One a line, by its name in addresses.",
    autoOff: "Switch off by itself",
    autoOffHint: "where viewers who share fare worse than those held out, beyond chance",
    price: "Price of a GB of egress",
    currency: "Currency",
    why: "Why",
    whyHint: "Whoever asks next year will thank you.",
    save: "Put into force",
    saved: (version) => `Version ${version} is in force.`,
    unchanged: "Nothing is changed.",
    versions: "Versions",
    version: (n) => `Version ${n}`,
    auditHint: "Who changed what. Entries are never altered.",
    older: "Older entries",
    empty: "Nothing has been changed yet.",
    when: "When",
    who: "Who",
    what: "What",
    whom: "To whom or what",
  },
  fr: {
    pages: { members: "Membres", savings: "Économies", policy: "L’interrupteur", audit: "Journal" },
    nav: "Pages de l’opérateur",
    savingsHint: "Ce que les spectateurs ont porté pour vous, et si l’un d’eux en pâtit.",
    days: (n) => (n === 1 ? "Aujourd’hui" : `${n} jours`),
    range: "Période",
    offload: "Délestage",
    offloadHint: (bound) => `sur ${bound} possibles avec ces spectateurs`,
    avoided: "Trafic évité",
    avoidedHint: (amount) => `soit ${amount}`,
    noPrice: "fixez un prix par Go sous L’interrupteur",
    copies: "Copies envoyées",
    copiesHint: "combien de fois vous avez envoyé ce qui a été vu",
    sessions: "Lectures",
    sessionsHint: (hours) => `${hours} heures de film`,
    nothing: "Personne n’a rien regardé ces jours-là.",
    hurt: "Quelqu’un en pâtit-il\u202f?",
    hurtHint: "Ceux qui partagent, face à ceux tirés au sort pour ne recevoir que du serveur. Moins, c’est mieux.",
    measures: {
      stalls_per_hour: "Arrêts par heure",
      startup_ms: "Démarrage",
      failed_share: "Lectures échouées",
    },
    sharing: "Partage",
    heldOut: "Témoins",
    difference: "Écart",
    interval: (low, high) => `entre ${low} et ${high}`,
    tooFew: "trop peu de spectateurs pour le dire",
    verdicts: {
      better: "mieux",
      same: "pas d’écart au-delà du hasard",
      worse: "moins bien",
      unknown: "pas encore connu",
    },
    by: { day: "Par jour", title: "Par titre" },
    byWhat: "Lignes",
    columns: {
      key: "",
      sessions: "Lectures",
      hours: "Heures",
      origin: "De vous",
      peers: "Des spectateurs",
      offload: "Délestage",
      avoided: "Évité",
    },
    csv: "Télécharger en CSV",
    agreement: (share) =>
      `Ce que les spectateurs disent avoir reçu et ce que d’autres disent avoir envoyé diffèrent de ${share}.`,
    quarantined: (n) => `${n} lectures annonçaient l’impossible et sont laissées de côté.`,
    policyHint:
      "Si les spectateurs échangent des morceaux, et combien. Les lecteurs en marche obéissent en quelques secondes\u202f; chaque changement est gardé.",
    on: "Les spectateurs échangent des morceaux",
    onHint: "Ceux qui ont accepté de partager le font, dans les limites ci-dessous.",
    off: "Tout vient du serveur",
    offHint: "Personne n’est présenté à personne, et les connexions existantes sont fermées.",
    switchOff: "Couper partout",
    switchOn: "Rétablir",
    share: "Spectateurs admis au partage, en %",
    holdOut: "Témoins parmi eux, en %",
    holdOutHint: "Ils reçoivent tout du serveur, pour comparer. Sans eux, nul ne sait si le partage nuit.",
    uplink: "Débit montant de chacun, en kbit/s",
    uplinkHint: "0\u00a0: pas d’autre limite que celle du spectateur.",
    networks: "Réseaux sans partage",
    networksHint: "Un par ligne\u00a0: AS64500, ou un préfixe comme 192.0.2.0/24.",
    titles: "Titres sans partage",
    titlesHint: "Un par ligne, par son nom dans les adresses.",
    autoOff: "Couper de soi-même",
    autoOffHint: "quand ceux qui partagent sont moins bien servis que les témoins, au-delà du hasard",
    price: "Prix d’un Go de trafic",
    currency: "Monnaie",
    why: "Pourquoi",
    whyHint: "Qui le demandera l’an prochain vous remerciera.",
    save: "Mettre en vigueur",
    saved: (version) => `La version ${version} est en vigueur.`,
    unchanged: "Rien n’est changé.",
    versions: "Versions",
    version: (n) => `Version ${n}`,
    auditHint: "Qui a changé quoi. Les entrées ne sont jamais modifiées.",
    older: "Entrées plus anciennes",
    empty: "Rien n’a encore été changé.",
    when: "Quand",
    who: "Qui",
    what: "Quoi",
    whom: "À qui, à quoi",
  },
};
