/** The requests of the account pages, in the shapes that the server declares. */

import { ApiError, type components } from "../../player";
import { router } from "../router.svelte";
import { api } from "../state.svelte";
import type { PeopleWords } from "./words";

type Schemas = components["schemas"];

/** One's own account. */
export type Account = Schemas["AccountBody"];
/** A browser or program that is signed in. */
export type Device = Schemas["DeviceBody"];
/** What a one-time link is for. */
export type Link = Schemas["LinkBody"];
/** A one-time link that was just made. */
export type MadeLink = Schemas["MadeLink"];
/** A member as operators see them. */
export type Member = Schemas["MemberBody"];
/** What members may watch. */
export type Plan = Schemas["PlanBody"];
/** A member's plan. */
export type Subscription = Schemas["SubscriptionBody"];
/** What a member may do. */
export type Role = Member["role"];

const at = (id: string) => `/api/v1/operator/members/${encodeURIComponent(id)}`;

/** What the account pages ask of the server. All reject with an ApiError. */
export const requests = {
  account: () => api.ask<Account>("GET", "/api/v1/account"),
  devices: async () => (await api.ask<{ devices: Device[] }>("GET", "/api/v1/account/devices")).devices,
  endDevice: (id: string) => api.ask<void>("DELETE", `/api/v1/account/devices/${encodeURIComponent(id)}`),
  endDevices: () => api.ask<void>("DELETE", "/api/v1/account/devices"),
  setPassword: (current: string, password: string) =>
    api.ask<void>("PUT", "/api/v1/account/password", { current, password }),

  link: (token: string) => api.ask<Link>("POST", "/api/v1/links/look", { token }),
  useLink: (token: string, name: string, password: string) =>
    api.ask<void>("POST", "/api/v1/links/use", { token, name, password }),
  signUp: (name: string, password: string) => api.ask<void>("POST", "/api/v1/sign-up", { name, password }),

  /** A page of members: those whose names contain `like`, after the name `after`. */
  members: async (like: string, after: string) =>
    (
      await api.ask<{ members: Member[] }>(
        "GET",
        `/api/v1/operator/members?${new URLSearchParams({ like, after, limit: String(pageOfMembers) })}`,
      )
    ).members,
  plans: async () => (await api.ask<{ plans: Plan[] }>("GET", "/api/v1/operator/plans")).plans,
  setRole: (id: string, role: Role) => api.ask<void>("PUT", `${at(id)}/role`, { role }),
  setSubscription: (id: string, subscription: Subscription) =>
    api.ask<void>("PUT", `${at(id)}/subscription`, subscription),
  reset: (id: string) => api.ask<MadeLink>("POST", `${at(id)}/reset`),
  invite: (role: Role, plan: string, note: string) =>
    api.ask<MadeLink>("POST", "/api/v1/operator/links", { role, plan, note }),
};

/** How many members a page of them has, at most. */
export const pageOfMembers = 50;

/** Sends who is not signed in to the door, and back afterwards; false for any other failure. */
export function sentToSignIn(error: unknown): boolean {
  if (!(error instanceof ApiError) || error.kind !== "unauthorized") return false;
  router.go(`/sign-in?next=${location.pathname}`, true);
  return true;
}

/**
 * The sentence for a failed request about names and passwords, `refused` for one that is not allowed; undefined where the
 * common ones will do.
 */
export function formFailure(error: unknown, words: PeopleWords, refused: string): string | undefined {
  if (!(error instanceof ApiError)) return undefined;
  if (error.status === 409) return words.taken;
  if (error.status === 404) return words.dead;
  if (error.status === 403) return refused;
  if (error.status === 400) return words.weak;
  if (error.status === 429) return words.tooMany;
  return undefined;
}
