/** What the sharing panel says, in both languages; it comes with the panel, not with every page. */

import type { Language } from "../words";

/** The panel's words. Sizes come with their unit already. */
export interface SharingWords {
  heading: string;
  plot: (fromViewers: string, fromServer: string, given: string) => string;
  fromViewers: string;
  fromServer: string;
  given: string;
  lastMinute: string;
  today: (size: string) => string;
  month: (size: string) => string;
  spent: string;
  uplink: string;
  uplinkHint: string;
  monthly: string;
  monthlyHint: string;
  none: string;
  rate: (mbit: string) => string;
  size: (gb: string) => string;
  anyNetwork: string;
  anyNetworkHint: string;
  cache: string;
  cacheHint: (size: string) => string;
  clear: string;
  clearing: string;
  cleared: string;
  clearElsewhere: string;
  clearFailed: string;
  receiptYes: (when: string) => string;
  receiptNo: (when: string) => string;
}

/** By language. */
export const sharingWords: Record<Language, SharingWords> = {
  en: {
    heading: "Sharing on this device",
    plot: (fromViewers, fromServer, given) =>
      `The last minute: ${fromViewers} from other viewers, ${fromServer} from our server, ${given} passed on.`,
    fromViewers: "from viewers",
    fromServer: "from our server",
    given: "passed on",
    lastMinute: "Last minute",
    today: (size) => `Passed on today: ${size}`,
    month: (size) => `This month: ${size}`,
    spent: "This month’s limit is reached. Until the next one, nothing is passed on; films play just the same.",
    uplink: "Upload at most",
    uplinkHint: "Calls and games come first in any case.",
    monthly: "In a month at most",
    monthlyHint: "In this browser, all films together.",
    none: "No limit",
    rate: (mbit) => `${mbit} Mbit/s`,
    size: (gb) => `${gb} GB`,
    anyNetwork: "Also where it is not known whether the network is metered",
    anyNetworkHint: "Phones and tablets do not always say. On mobile networks nothing is ever shared.",
    cache: "Kept for next time",
    cacheHint: (size) =>
      `About ${size} of films you watched are kept in this browser, encrypted where they are for members, so that they need not be fetched again.`,
    clear: "Clear",
    clearing: "Clearing…",
    cleared: "Cleared.",
    clearElsewhere: "A film is open in another tab. Close it there, then try again.",
    clearFailed: "The browser did not let go of it. Try again, or clear this site’s data in the browser’s settings.",
    receiptYes: (when) => `You agreed to share on ${when}.`,
    receiptNo: (when) => `You declined to share on ${when}.`,
  },
  fr: {
    heading: "Partage sur cet appareil",
    plot: (fromViewers, fromServer, given) =>
      `Dernière minute\u00a0: ${fromViewers} venant d’autres spectateurs, ${fromServer} de notre serveur, ${given} transmis.`,
    fromViewers: "des spectateurs",
    fromServer: "de notre serveur",
    given: "transmis",
    lastMinute: "Dernière minute",
    today: (size) => `Transmis aujourd’hui\u00a0: ${size}`,
    month: (size) => `Ce mois-ci\u00a0: ${size}`,
    spent:
      "La limite du mois est atteinte. Jusqu’au mois prochain, rien n’est transmis\u202f; les films se jouent tout aussi bien.",
    uplink: "Débit montant maximal",
    uplinkHint: "Les appels et les jeux passent avant, de toute façon.",
    monthly: "Maximum par mois",
    monthlyHint: "Dans ce navigateur, tous films confondus.",
    none: "Sans limite",
    rate: (mbit) => `${mbit} Mbit/s`,
    size: (gb) => `${gb} Go`,
    anyNetwork: "Aussi quand on ignore si le réseau est facturé au volume",
    anyNetworkHint:
      "Téléphones et tablettes ne le disent pas toujours. Sur un réseau mobile, rien n’est jamais partagé.",
    cache: "Gardé pour la prochaine fois",
    cacheHint: (size) =>
      `Environ ${size} de films déjà vus sont gardés dans ce navigateur, chiffrés quand ils sont réservés aux membres, pour ne pas les télécharger à nouveau.`,
    clear: "Effacer",
    clearing: "Effacement…",
    cleared: "Effacé.",
    clearElsewhere: "Un film est ouvert dans un autre onglet. Fermez-le, puis réessayez.",
    clearFailed:
      "Le navigateur ne l’a pas libéré. Réessayez, ou effacez les données de ce site dans les réglages du navigateur.",
    receiptYes: (when) => `Vous avez accepté de partager le ${when}.`,
    receiptNo: (when) => `Vous avez refusé de partager le ${when}.`,
  },
};
