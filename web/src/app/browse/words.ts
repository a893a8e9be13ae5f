/** The catalogue's words in English and French. A sentence that is missing in one language does not compile. */

import type { Language } from "../words";
import type { Credit, HomeRow } from "./requests";

/** The genres that the server knows (vod.Genres). */
type Genre =
  | "action"
  | "adventure"
  | "animation"
  | "biography"
  | "comedy"
  | "concert"
  | "crime"
  | "documentary"
  | "drama"
  | "family"
  | "fantasy"
  | "history"
  | "horror"
  | "music"
  | "mystery"
  | "romance"
  | "science-fiction"
  | "short"
  | "sport"
  | "thriller"
  | "war"
  | "western";

/** Every text of the catalogue. */
export interface BrowseWords {
  rows: Record<Exclude<HomeRow["kind"], "genre">, string>;
  genres: Record<Genre, string>;
  jobs: Record<Credit["job"], string>;
  playing: (part: string) => string;
  people: string;
  original: (language: string) => string;
  age: (years: number) => string;
  left: (minutes: string) => string;
  watched: string;
  resume: string;
  resumeTitle: (name: string) => string;
  watchNext: (label: string) => string;
  keep: string;
  kept: string;
  keepHint: string;
  season: (n: number) => string;
  noSeason: string;
  seasons: string;
  episode: (season: number, episode: number) => string;
  episodes: (n: number) => string;
  series: string;
  previous: (row: string) => string;
  further: (row: string) => string;
  search: string;
  searchLabel: string;
  searchHint: string;
  nothing: (query: string) => string;
  nothingHint: string;
  found: (n: number) => string;
  who: string;
  whoHint: string;
  watching: (name: string) => string;
  manage: string;
  done: string;
  add: string;
  edit: (name: string) => string;
  profileName: string;
  limit: string;
  limitHint: string;
  noLimit: string;
  upTo: (years: number) => string;
  pages: string;
  browsers: string;
  save: string;
  cancel: string;
  remove: string;
  removeHint: (name: string) => string;
  removeSurely: (name: string) => string;
  limited: (years: number) => string;
  ask: string;
  open: string;
  wrong: string;
  last: string;
  full: string;
  badName: string;
  account: string;
}

const en: BrowseWords = {
  rows: { continue: "Continue watching", list: "My list", new: "New here" },
  genres: {
    action: "Action",
    adventure: "Adventure",
    animation: "Animation",
    biography: "Biography",
    comedy: "Comedy",
    concert: "Concert",
    crime: "Crime",
    documentary: "Documentary",
    drama: "Drama",
    family: "Family",
    fantasy: "Fantasy",
    history: "History",
    horror: "Horror",
    music: "Music",
    mystery: "Mystery",
    romance: "Romance",
    "science-fiction": "Science fiction",
    short: "Short",
    sport: "Sport",
    thriller: "Thriller",
    war: "War",
    western: "Western",
  },
  jobs: { director: "Directed by", writer: "Written by", actor: "With", composer: "Music by" },
  playing: (part) => `as ${part}`,
  people: "Cast and makers",
  original: (language) => `Original language: ${language}`,
  age: (years) => (years === 0 ? "All ages" : `${years}+`),
  left: (minutes) => `${minutes} left`,
  watched: "Seen",
  resume: "Resume",
  resumeTitle: (name) => `Resume ${name}`,
  watchNext: (label) => `Watch ${label}`,
  keep: "My list",
  kept: "On my list",
  keepHint: "Keep for later",
  season: (n) => `Season ${n}`,
  noSeason: "Episodes",
  seasons: "Seasons",
  episode: (season, episode) => (season > 0 ? `S${season} E${episode}` : `Episode ${episode}`),
  episodes: (n) => (n === 1 ? "1 episode" : `${n} episodes`),
  series: "Series",
  previous: (row) => `Back in ${row}`,
  further: (row) => `Further in ${row}`,
  search: "Search",
  searchLabel: "Search films, people, genres",
  searchHint: "Titles, people, genres. Accents do not matter.",
  nothing: (query) => `Nothing found for “${query}”.`,
  nothingHint: "Fewer letters find more.",
  found: (n) => (n === 1 ? "1 title found" : `${n} titles found`),
  who: "Who is watching?",
  whoHint: "Each has a list, and a place in every film, of their own.",
  watching: (name) => `${name} is watching. Change`,
  manage: "Manage profiles",
  done: "Done",
  add: "Add a profile",
  edit: (name) => `Change ${name}`,
  profileName: "Name",
  limit: "Kids' limit",
  limitHint: "What is rated for older viewers, or not rated at all, is not there for this profile.",
  noLimit: "None: everything",
  upTo: (years) => (years === 0 ? "Only for all ages" : `Up to ${years} years`),
  pages: "Language of the pages",
  browsers: "As the browser has it",
  save: "Save",
  cancel: "Cancel",
  remove: "Remove",
  removeHint: (name) => `The list of ${name}, and every place in a film, go too.`,
  removeSurely: (name) => `Remove ${name} for good`,
  limited: (years) => (years === 0 ? "All ages" : `Up to ${years}`),
  ask: "A grown-up's turn: the account's password opens this profile.",
  open: "Open",
  wrong: "That is not the account's password.",
  last: "Somebody must be left to watch.",
  full: "There are as many profiles as there may be.",
  badName: "A name has 1 to 40 characters.",
  account: "Account, plan and devices",
};

const fr: BrowseWords = {
  rows: { continue: "Reprendre la lecture", list: "Ma liste", new: "Nouveautés" },
  genres: {
    action: "Film d’action",
    adventure: "Aventure",
    animation: "Film d’animation",
    biography: "Biographie",
    comedy: "Comédie",
    concert: "Concerts",
    crime: "Policier",
    documentary: "Documentaire",
    drama: "Drame",
    family: "Famille",
    fantasy: "Fantastique",
    history: "Histoire",
    horror: "Horreur",
    music: "Musique",
    mystery: "Mystère",
    romance: "Histoires d’amour",
    "science-fiction": "Science-fiction",
    short: "Court métrage",
    sport: "Sports",
    thriller: "Suspense",
    war: "Guerre",
    western: "Westerns",
  },
  jobs: { director: "Réalisation", writer: "Scénario", actor: "Avec", composer: "Musique de" },
  playing: (part) => `dans le rôle de ${part}`,
  people: "Distribution et équipe",
  original: (language) => `Langue d’origine : ${language}`,
  age: (years) => (years === 0 ? "Tous publics" : `Dès ${years} ans`),
  left: (minutes) => `encore ${minutes}`,
  watched: "Vu",
  resume: "Reprendre",
  resumeTitle: (name) => `Reprendre ${name}`,
  watchNext: (label) => `Regarder ${label}`,
  keep: "Ma liste",
  kept: "Dans ma liste",
  keepHint: "Garder pour plus tard",
  season: (n) => `Saison ${n}`,
  noSeason: "Épisodes",
  seasons: "Saisons",
  episode: (season, episode) => (season > 0 ? `S${season} É${episode}` : `Épisode ${episode}`),
  episodes: (n) => (n === 1 ? "1 épisode" : `${n} épisodes`),
  series: "Série",
  previous: (row) => `Revenir dans ${row}`,
  further: (row) => `Avancer dans ${row}`,
  search: "Chercher",
  searchLabel: "Chercher un film, une personne, un genre",
  searchHint: "Titres, personnes, genres. Les accents ne comptent pas.",
  nothing: (query) => `Rien trouvé pour « ${query} ».`,
  nothingHint: "Moins de lettres trouvent davantage.",
  found: (n) => (n === 1 ? "1 titre trouvé" : `${n} titres trouvés`),
  who: "Qui regarde ?",
  whoHint: "Chacun a sa liste, et sa place dans chaque film.",
  watching: (name) => `${name} regarde. Changer`,
  manage: "Gérer les profils",
  done: "Terminé",
  add: "Ajouter un profil",
  edit: (name) => `Modifier ${name}`,
  profileName: "Nom",
  limit: "Limite pour enfants",
  limitHint: "Ce qui s’adresse à des spectateurs plus âgés, ou n’est pas classé, n’existe pas pour ce profil.",
  noLimit: "Aucune : tout",
  upTo: (years) => (years === 0 ? "Tous publics seulement" : `Jusqu’à ${years} ans`),
  pages: "Langue des pages",
  browsers: "Celle du navigateur",
  save: "Enregistrer",
  cancel: "Annuler",
  remove: "Supprimer",
  removeHint: (name) => `La liste de ${name} et sa place dans chaque film disparaissent aussi.`,
  removeSurely: (name) => `Supprimer ${name} définitivement`,
  limited: (years) => (years === 0 ? "Tous publics" : `Jusqu’à ${years} ans`),
  ask: "Au tour d’un adulte : le mot de passe du compte ouvre ce profil.",
  open: "Ouvrir",
  wrong: "Ce n’est pas le mot de passe du compte.",
  last: "Il faut que quelqu’un reste pour regarder.",
  full: "Il y a autant de profils qu’il peut y en avoir.",
  badName: "Un nom a de 1 à 40 caractères.",
  account: "Compte, formule et appareils",
};

/** Every text of the catalogue, by language. */
export const browseDictionary: Record<Language, BrowseWords> = { en, fr };

/** genreName is a genre in words; one that a newer server knows, as it calls it. */
export function genreName(words: BrowseWords, genre: string): string {
  return (words.genres as Record<string, string | undefined>)[genre] ?? genre;
}

/** languageName is a language's name, in a language. */
export function languageName(tag: string, inLanguage: string): string {
  try {
    return new Intl.DisplayNames(inLanguage, { type: "language" }).of(tag) ?? tag;
  } catch {
    return tag; // no language at all
  }
}
