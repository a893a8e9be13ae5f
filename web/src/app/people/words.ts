/** The account pages' words in English and French: apart, because only these pages load them. */

import { type Language } from "../words";
import type { Member, Subscription } from "./requests";

/** Every text of the account pages. */
export interface PeopleWords {
  account: string;
  plan: string;
  planOf: (name: string, streams: number) => string;
  pictures: Record<"sd" | "hd" | "uhd", string>;
  states: Record<Subscription["state"], string>;
  until: (day: string) => string;
  planEnded: string;
  devices: string;
  devicesHint: string;
  thisDevice: string;
  unknownDevice: string;
  seen: (when: string) => string;
  signOutDevice: string;
  signOutOf: (device: string) => string;
  signOutAll: string;
  signOutAllHint: string;
  password: string;
  passwordHint: string;
  present: string;
  fresh: string;
  change: string;
  changed: string;
  wrongPresent: string;
  byInvitation: string;
  lastOperator: string;
  weak: string;
  tooMany: string;
  taken: string;
  dead: string;
  deadHeading: string;
  invited: string;
  invitedHint: string;
  operatorHeading: string;
  operatorHint: string;
  resetHeading: (name: string) => string;
  resetHint: string;
  signUpHeading: string;
  signUpHint: string;
  rules: string;
  begin: string;
  setPassword: string;
  haveAccount: string;
  members: string;
  membersHint: string;
  invite: string;
  inviteHint: string;
  inviteFor: string;
  makeLink: string;
  linkFor: (name: string) => string;
  linkOnce: string;
  copy: string;
  copied: string;
  search: string;
  role: string;
  roleOf: (name: string) => string;
  roles: Record<Member["role"], string>;
  planOfMember: (name: string) => string;
  stateOf: (name: string) => string;
  devicesOf: (count: number) => string;
  reset: string;
  resetOf: (name: string) => string;
  nobody: string;
  more: string;
  saved: string;
}

const en: PeopleWords = {
  account: "Your account",
  plan: "Plan",
  planOf: (name, streams) => `${name} · ${streams === 1 ? "one film at a time" : `${streams} films at once`}`,
  pictures: { sd: "Standard pictures", hd: "Pictures up to 1080p", uhd: "The best pictures there are" },
  states: { trial: "On trial", active: "Active", past_due: "Payment is due", ended: "Ended" },
  until: (day) => `until ${day}`,
  planEnded: "Your plan has ended. Films for members play again once it is renewed.",
  devices: "Devices",
  devicesHint: "Where you are signed in. Sign out what you do not know, then change your password.",
  thisDevice: "This device",
  unknownDevice: "Unknown device",
  seen: (when) => `Last seen ${when}`,
  signOutDevice: "Sign out",
  signOutOf: (device) => `Sign out ${device}`,
  signOutAll: "Sign out everywhere",
  signOutAllHint: "Here too. What plays stops within seconds.",
  password: "Password",
  passwordHint: "A new password signs out your other devices.",
  present: "Present password",
  fresh: "New password",
  change: "Change password",
  changed: "Your password is changed.",
  wrongPresent: "That is not your present password.",
  byInvitation: "Accounts are made by invitation here.",
  lastOperator: "This is the last operator. Make another one first.",
  weak: "A name has 1 to 64 characters, a password at least 8.",
  tooMany: "Too many tries. Wait a moment, then try again.",
  taken: "That name is taken. Choose another.",
  dead: "This link has been used or has expired. Ask for a new one.",
  deadHeading: "This link is no longer good",
  invited: "You are invited",
  invitedHint: "Choose a name and a password, and the films for members are yours.",
  operatorHeading: "Become the operator",
  operatorHint: "This account invites members, sets their plans and runs the service. The link works once.",
  resetHeading: (name) => `A new password for ${name}`,
  resetHint: "Setting it signs out every device of this account.",
  signUpHeading: "Make an account",
  signUpHint: "Choose a name and a password.",
  rules: "At least 8 characters. A sentence is good.",
  begin: "Begin",
  setPassword: "Set the password",
  haveAccount: "I have an account",
  members: "Members",
  membersHint: "Who may watch, and what.",
  invite: "Invite somebody",
  inviteHint: "A link that works once, for a week. Send it in a way that only they read.",
  inviteFor: "Whom it is for",
  makeLink: "Make a link",
  linkFor: (name) => `A link for ${name}`,
  linkOnce: "It is shown this once.",
  copy: "Copy",
  copied: "Copied",
  search: "Search names",
  role: "Role",
  roleOf: (name) => `Role of ${name}`,
  roles: { viewer: "Viewer", editor: "Editor", operator: "Operator" },
  planOfMember: (name) => `Plan of ${name}`,
  stateOf: (name) => `State of the plan of ${name}`,
  devicesOf: (count) => (count === 1 ? "1 device" : `${count} devices`),
  reset: "New password",
  resetOf: (name) => `A link for a new password of ${name}`,
  nobody: "Nobody of that name.",
  more: "Show more",
  saved: "Saved.",
};

const fr: PeopleWords = {
  account: "Votre compte",
  plan: "Formule",
  planOf: (name, streams) => `${name} · ${streams === 1 ? "un film à la fois" : `${streams} films à la fois`}`,
  pictures: { sd: "Image standard", hd: "Image jusqu’à 1080p", uhd: "La meilleure image disponible" },
  states: { trial: "À l’essai", active: "En cours", past_due: "Paiement attendu", ended: "Terminée" },
  until: (day) => `jusqu’au ${day}`,
  planEnded: "Votre formule est terminée. Les films des membres reviennent dès qu’elle est renouvelée.",
  devices: "Appareils",
  devicesHint: "Là où vous êtes connecté. Déconnectez ce que vous ne reconnaissez pas, puis changez de mot de passe.",
  thisDevice: "Cet appareil",
  unknownDevice: "Appareil inconnu",
  seen: (when) => `Vu ${when}`,
  signOutDevice: "Déconnecter",
  signOutOf: (device) => `Déconnecter ${device}`,
  signOutAll: "Se déconnecter partout",
  signOutAllHint: "Ici aussi. La lecture s’arrête en quelques secondes.",
  password: "Mot de passe",
  passwordHint: "Un nouveau mot de passe déconnecte vos autres appareils.",
  present: "Mot de passe actuel",
  fresh: "Nouveau mot de passe",
  change: "Changer le mot de passe",
  changed: "Votre mot de passe est changé.",
  wrongPresent: "Ce n’est pas votre mot de passe actuel.",
  byInvitation: "Ici, les comptes se créent sur invitation.",
  lastOperator: "C’est le dernier exploitant. Nommez-en d’abord un autre.",
  weak: "Un nom a de 1 à 64 caractères, un mot de passe au moins 8.",
  tooMany: "Trop d’essais. Attendez un instant, puis réessayez.",
  taken: "Ce nom est pris. Choisissez-en un autre.",
  dead: "Ce lien a servi ou a expiré. Demandez-en un nouveau.",
  deadHeading: "Ce lien n’est plus valable",
  invited: "Vous êtes invité",
  invitedHint: "Choisissez un nom et un mot de passe\u00a0: les films des membres sont à vous.",
  operatorHeading: "Devenir l’exploitant",
  operatorHint: "Ce compte invite les membres, règle leurs formules et dirige le service. Le lien sert une fois.",
  resetHeading: (name) => `Un nouveau mot de passe pour ${name}`,
  resetHint: "Le choisir déconnecte tous les appareils de ce compte.",
  signUpHeading: "Créer un compte",
  signUpHint: "Choisissez un nom et un mot de passe.",
  rules: "Au moins 8 caractères. Une phrase convient bien.",
  begin: "Commencer",
  setPassword: "Enregistrer le mot de passe",
  haveAccount: "J’ai déjà un compte",
  members: "Membres",
  membersHint: "Qui regarde, et quoi.",
  invite: "Inviter quelqu’un",
  inviteHint: "Un lien qui sert une fois, pendant une semaine. Envoyez-le de sorte que seul l’invité le lise.",
  inviteFor: "Pour qui",
  makeLink: "Créer un lien",
  linkFor: (name) => `Un lien pour ${name}`,
  linkOnce: "Il n’est montré que cette fois.",
  copy: "Copier",
  copied: "Copié",
  search: "Chercher un nom",
  role: "Rôle",
  roleOf: (name) => `Rôle de ${name}`,
  roles: { viewer: "Spectateur", editor: "Éditeur", operator: "Exploitant" },
  planOfMember: (name) => `Formule de ${name}`,
  stateOf: (name) => `État de la formule de ${name}`,
  devicesOf: (count) => (count <= 1 ? `${count} appareil` : `${count} appareils`),
  reset: "Nouveau mot de passe",
  resetOf: (name) => `Un lien pour un nouveau mot de passe de ${name}`,
  nobody: "Personne de ce nom.",
  more: "Voir la suite",
  saved: "Enregistré.",
};

/** The account pages' texts by language. */
export const peopleDictionary: Record<Language, PeopleWords> = { en, fr };
