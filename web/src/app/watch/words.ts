/** The player's words in English and French. */

import type { Language } from "../words";

/** Every text of the player. */
export interface WatchWords {
  player: string;
  play: string;
  pause: string;
  replay: string;
  back: (seconds: number) => string;
  on: (seconds: number) => string;
  mute: string;
  unmute: string;
  silent: string;
  volume: string;
  volumeAt: (percent: number) => string;
  seek: string;
  position: (time: string, whole: string) => string;
  languages: string;
  settings: string;
  audio: string;
  subtitles: string;
  subtitlesOff: string;
  subtitlesIn: (name: string) => string;
  noSubtitles: string;
  track: (n: number) => string;
  surround: string;
  quality: string;
  auto: string;
  autoNow: (height: number) => string;
  lines: (height: number) => string;
  speed: string;
  normal: string;
  times: (rate: number) => string;
  full: string;
  window: string;
  apart: string;
  notApart: string;
  close: string;
  resumed: (time: string) => string;
  startOver: string;
  hours: (n: number) => string;
  minutes: (n: number) => string;
  seconds: (n: number) => string;
}

const rate = (language: string) => new Intl.NumberFormat(language, { maximumFractionDigits: 2 });

const en: WatchWords = {
  player: "Player",
  play: "Play",
  pause: "Pause",
  replay: "Watch again",
  back: (seconds) => `Back ${seconds} seconds`,
  on: (seconds) => `Forward ${seconds} seconds`,
  mute: "Turn the sound off",
  unmute: "Turn the sound on",
  silent: "Sound off",
  volume: "Volume",
  volumeAt: (percent) => `Volume ${percent}\u00a0%`,
  seek: "Position in the film",
  position: (time, whole) => `${time} of ${whole}`,
  languages: "Audio and subtitles",
  settings: "Quality and speed",
  audio: "Audio",
  subtitles: "Subtitles",
  subtitlesOff: "Off",
  subtitlesIn: (name) => `Subtitles: ${name}`,
  noSubtitles: "This film has no subtitles",
  track: (n) => `Track ${n}`,
  surround: "surround",
  quality: "Quality",
  auto: "Automatic",
  autoNow: (height) => `Automatic (${height}p)`,
  lines: (height) => `${height}p`,
  speed: "Speed",
  normal: "Normal",
  times: (value) => `${rate("en").format(value)}×`,
  full: "Full screen",
  window: "Leave full screen",
  apart: "Picture in picture",
  notApart: "Leave picture in picture",
  close: "Close",
  resumed: (time) => `Resumed at ${time}`,
  startOver: "Start over",
  hours: (n) => (n === 1 ? "1 hour" : `${n} hours`),
  minutes: (n) => (n === 1 ? "1 minute" : `${n} minutes`),
  seconds: (n) => (n === 1 ? "1 second" : `${n} seconds`),
};

const fr: WatchWords = {
  player: "Lecteur",
  play: "Lire",
  pause: "Mettre en pause",
  replay: "Revoir",
  back: (seconds) => `Reculer de ${seconds} secondes`,
  on: (seconds) => `Avancer de ${seconds} secondes`,
  mute: "Couper le son",
  unmute: "Remettre le son",
  silent: "Son coupé",
  volume: "Volume sonore",
  volumeAt: (percent) => `Volume sonore ${percent}\u00a0%`,
  seek: "Position dans le film",
  position: (time, whole) => `${time} sur ${whole}`,
  languages: "Langue et sous-titres",
  settings: "Qualité et vitesse",
  audio: "Langue",
  subtitles: "Sous-titres",
  subtitlesOff: "Aucun",
  subtitlesIn: (name) => `Sous-titres\u00a0: ${name}`,
  noSubtitles: "Ce film n’a pas de sous-titres",
  track: (n) => `Piste ${n}`,
  surround: "multicanal",
  quality: "Qualité",
  auto: "Automatique",
  autoNow: (height) => `Automatique (${height}p)`,
  lines: (height) => `${height}p`,
  speed: "Vitesse",
  normal: "Normale",
  times: (value) => `${rate("fr").format(value)}×`,
  full: "Plein écran",
  window: "Quitter le plein écran",
  apart: "Image dans l’image",
  notApart: "Quitter l’image dans l’image",
  close: "Fermer",
  resumed: (time) => `Repris à ${time}`,
  startOver: "Reprendre au début",
  hours: (n) => (n <= 1 ? `${n} heure` : `${n} heures`),
  minutes: (n) => (n <= 1 ? `${n} minute` : `${n} minutes`),
  seconds: (n) => (n <= 1 ? `${n} seconde` : `${n} secondes`),
};

/** The player's texts by language. */
export const watchDictionary: Record<Language, WatchWords> = { en, fr };
