/** What the catalogue's pages ask of the server, in the shapes that it declares. All reject with an ApiError. */

import type { components } from "../../player";
import { api } from "../state.svelte";

type Schemas = components["schemas"];

/** A title as a row shows it. */
export type Card = Schemas["Card"];
/** A row of titles. */
export type HomeRow = Schemas["HomeRow"];
/** A title as lists have it. */
export type Title = Schemas["TitleSummary"];
/** A title with all that is told of it. */
export type Detail = Schemas["TitleDetail"];
/** A person of a title. */
export type Credit = Schemas["CreditBody"];
/** A series with its episodes. */
export type Series = Schemas["SeriesBody"];
/** Who watches in a household. */
export type Household = Schemas["HouseholdBody"];
/** One of them. */
export type Profile = Schemas["ProfileBody"];
/** A profile as it is made or changed. */
export type ProfileChange = Schemas["ProfileChange"];

const titled = (id: string) => encodeURIComponent(id);

/** The requests. */
export const browse = {
  home: async () => (await api.ask<{ rows: HomeRow[] }>("GET", "/api/v1/home")).rows,
  titles: async () => (await api.ask<{ titles: Title[] }>("GET", "/api/v1/titles")).titles,
  title: (id: string) => api.ask<Detail>("GET", `/api/v1/titles/${titled(id)}`),
  series: (id: string) => api.ask<Series>("GET", `/api/v1/series/${titled(id)}`),
  search: async (q: string) =>
    (await api.ask<{ titles: Title[] }>("GET", `/api/v1/search?${new URLSearchParams({ q: q.slice(0, 200) })}`)).titles,
  keep: (id: string) => api.ask<void>("PUT", `/api/v1/list/${titled(id)}`),
  drop: (id: string) => api.ask<void>("DELETE", `/api/v1/list/${titled(id)}`),
  household: () => api.ask<Household>("GET", "/api/v1/profiles"),
  addProfile: (change: ProfileChange) => api.ask<Profile>("POST", "/api/v1/profiles", change),
  changeProfile: (id: string, change: ProfileChange) =>
    api.ask<Profile>("PUT", `/api/v1/profiles/${titled(id)}`, change),
  removeProfile: (id: string) => api.ask<void>("DELETE", `/api/v1/profiles/${titled(id)}`),
  choose: (id: string, password?: string) =>
    api.ask<Household>("POST", `/api/v1/profiles/${titled(id)}/choose`, password === undefined ? {} : { password }),
};
