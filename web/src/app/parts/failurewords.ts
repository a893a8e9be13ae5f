/**
 * What is said when a film stops, in English and French: apart, because only who meets a failure loads it. Each sentence says
 * what has happened, and its button does what it says.
 */

import type { PlayEnd, PlayerFailure } from "../../player";
import type { Language } from "../words";
import type { Way } from "./remedy";

/** Every text about failures. */
export interface FailureWords {
  failures: Record<Exclude<PlayerFailure["code"], "api" | "ended">, string>;
  /** Why the service has ended a film. */
  ends: Record<PlayEnd, string>;
  offline: string;
  silent: string;
  /** The household's profile has a limit of age. */
  limited: string;
  ways: Record<Exclude<Way, "streams">, string>;
  copied: string;
  streams: {
    tooMany: string;
    here: string;
    unknown: string;
    since: (time: Date) => string;
    stop: string;
    stopOf: (name: string, device: string) => string;
    stopped: string;
  };
}

const clock = (language: Language, time: Date) =>
  new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" }).format(time);

const en: FailureWords = {
  failures: {
    network: "The server does not answer. The film goes on by itself once it does.",
    corrupt: "The bytes that came are not this film’s, so they were not shown.",
    missing: "The server has replaced this film while it was playing.",
    refused: "Your permission to watch has run out.",
    closed: "Playback was closed.",
    range: "This film’s index is damaged, so it cannot be played. Tell the operator.",
    insecure: "This page cannot check what it receives, because it was not opened over HTTPS.",
    media: "This browser cannot play this film. Open this page in another one.",
    full: "This device has no room left for the film. Close what you do not need, then try again.",
    unsupported: "This browser is too old to play films. Open this page in a current Firefox, Chrome, Edge or Safari.",
    unloaded: "A part of this page did not load.",
  },
  ends: {
    revoked: "The operator has stopped this film.",
    signed_out: "This device was signed out, so the film has stopped.",
    plan_ended: "Your plan has ended, so this film does not play.",
    not_included: "Your plan does not include this film.",
    not_available: "This film is not available now.",
    withdrawn: "This film has been withdrawn.",
    taken_over: "The film has stopped here because your account is watching elsewhere.",
  },
  offline: "There is no network. The film goes on by itself once it is back.",
  silent: "Nothing has come from the server for a while.",
  limited: "This film is not for the profile that is watching.",
  ways: {
    again: "Try again",
    begin: "Go on watching",
    here: "Watch here instead",
    "sign-in": "Sign in",
    plan: "See your plan",
    films: "See all films",
    copy: "Copy the address",
    secure: "Open it over HTTPS",
    reload: "Reload the page",
  },
  copied: "Copied. Open it in the other browser.",
  streams: {
    tooMany: "Your account is watching on as many screens as your plan has. Stop one to watch here.",
    here: "this browser",
    unknown: "a device without a name",
    since: (time) => `since ${clock("en", time)}`,
    stop: "Stop it and watch here",
    stopOf: (name, device) => `Stop ${name} on ${device} and watch here`,
    stopped: "It could not be stopped. Try again.",
  },
};

const fr: FailureWords = {
  failures: {
    network: "Le serveur ne répond pas. Le film reprendra de lui-même dès qu’il répondra.",
    corrupt: "Les octets reçus ne sont pas ceux du film\u202f; ils n’ont pas été montrés.",
    missing: "Le serveur a remplacé ce film pendant la lecture.",
    refused: "Votre autorisation de regarder a expiré.",
    closed: "La lecture a été fermée.",
    range: "L’index de ce film est abîmé\u202f: il ne peut pas être lu. Prévenez l’exploitant.",
    insecure: "Cette page ne peut pas vérifier ce qu’elle reçoit, faute d’être ouverte en HTTPS.",
    media: "Ce navigateur ne peut pas lire ce film. Ouvrez cette page dans un autre.",
    full: "Cet appareil n’a plus de place pour le film. Fermez ce qui ne sert pas, puis réessayez.",
    unsupported:
      "Ce navigateur est trop ancien pour lire des films. Ouvrez cette page dans une version actuelle de Firefox, Chrome, Edge ou Safari.",
    unloaded: "Une partie de cette page ne s’est pas chargée.",
  },
  ends: {
    revoked: "L’exploitant a arrêté ce film.",
    signed_out: "Cet appareil a été déconnecté\u202f; le film s’est arrêté.",
    plan_ended: "Votre abonnement a pris fin\u202f; ce film n’est plus lu.",
    not_included: "Votre abonnement ne comprend pas ce film.",
    not_available: "Ce film n’est pas disponible en ce moment.",
    withdrawn: "Ce film a été retiré.",
    taken_over: "Le film s’est arrêté ici, car votre compte regarde ailleurs.",
  },
  offline: "Il n’y a pas de réseau. Le film reprendra de lui-même à son retour.",
  silent: "Rien n’est venu du serveur depuis un moment.",
  limited: "Ce film n’est pas destiné au profil qui regarde.",
  ways: {
    again: "Réessayer",
    begin: "Continuer le film",
    here: "Regarder ici plutôt",
    "sign-in": "Se connecter",
    plan: "Voir votre abonnement",
    films: "Voir tous les films",
    copy: "Copier l’adresse",
    secure: "L’ouvrir en HTTPS",
    reload: "Recharger la page",
  },
  copied: "Copiée. Ouvrez-la dans l’autre navigateur.",
  streams: {
    tooMany:
      "Votre compte regarde sur autant d’écrans que votre abonnement en permet. Arrêtez-en un pour regarder ici.",
    here: "ce navigateur",
    unknown: "un appareil sans nom",
    since: (time) => `depuis ${clock("fr", time)}`,
    stop: "L’arrêter et regarder ici",
    stopOf: (name, device) => `Arrêter ${name} sur ${device} et regarder ici`,
    stopped: "L’arrêt n’a pas abouti. Réessayez.",
  },
};

/** All texts about failures, by language. */
export const failureDictionary: Record<Language, FailureWords> = { en, fr };
