/** The requests of the operator's pages, in the shapes that the server declares. */

import type { components } from "../../player";
import { api } from "../state.svelte";

type Schemas = components["schemas"];

/** What viewers carried in some days. */
export type Savings = Schemas["SavingsReport"];
/** A line of it. */
export type SavingsRow = Schemas["SavingsRow"];
/** One measure of those who share against those held out. */
export type Comparison = Schemas["Comparison"];
/** A policy with who set it, when and why. */
export type PolicyVersion = Schemas["PolicyBody"];
/** What of it is to be changed. */
export type PolicyChange = Schemas["PolicyInputBody"];
/** Who changed what. */
export type AuditEntry = Schemas["AuditBody"];
/** What the rows of a report are. */
export type By = "day" | "title";

/** Entries on a page of the audit log, and versions of the policy. */
export const pageOf = 50;

const query = (days: number, by: By) => {
  const from = new Date(Date.now() - (days - 1) * 86_400_000).toISOString().slice(0, 10);
  return new URLSearchParams({ from, by });
};

/** What the operator's pages ask of the server. All reject with an ApiError. */
export const requests = {
  savings: (days: number, by: By) => api.ask<Savings>("GET", `/api/v1/operator/savings?${query(days, by)}`),
  policy: () => api.ask<PolicyVersion>("GET", "/api/v1/operator/policy"),
  setPolicy: (change: PolicyChange) => api.ask<PolicyVersion>("PUT", "/api/v1/operator/policy", change),
  versions: async () =>
    (await api.ask<{ versions: PolicyVersion[] }>("GET", `/api/v1/operator/policy/versions?limit=${pageOf}`)).versions,
  audit: async (before: number) =>
    (await api.ask<{ entries: AuditEntry[] }>("GET", `/api/v1/operator/audit?before=${before}&limit=${pageOf}`))
      .entries,
};

/** Where the same report is had as a table. */
export const csvAddress = (days: number, by: By): string => `/api/v1/operator/savings.csv?${query(days, by)}`;
