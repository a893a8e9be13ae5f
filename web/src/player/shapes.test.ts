/**
 * The shapes that the player reads are those that the server's OpenAPI document declares (`npm run api` renews
 * `api.gen.ts` from a running service). Checked by the compiler; running it proves nothing more.
 */

import { expectTypeOf, test } from "vitest";
import type { Me, PositionChange, TitleDetail, TitleSummary } from "./api";
import type { components } from "./api.gen";
import type {
  Heartbeat,
  HeartbeatReply,
  PlayFile,
  PlayHashes,
  PlayNodes,
  PlayPolicy,
  PlaySession,
  PlayTickets,
} from "./session";

type Schemas = components["schemas"];

/** Go's slices may be null in JSON as far as OpenAPI knows; this server never sends that. */
type Solid<T> = T extends (infer Item)[]
  ? Solid<NonNullable<Item>>[]
  : T extends object
    ? { [Key in keyof T]: Solid<Exclude<T[Key], null>> }
    : T;

/** OpenAPI knows no tuples: a segment's four numbers are an array to it. */
type WithoutSegments<T extends { segments: unknown }> = Omit<T, "segments">;

test("the server's shapes are the player's", () => {
  expectTypeOf<Omit<Solid<Schemas["PlaySession"]>, "files">>().toExtend<Omit<PlaySession, "files">>();
  expectTypeOf<WithoutSegments<Solid<Schemas["PlayFile"]>>>().toExtend<WithoutSegments<PlayFile>>();
  expectTypeOf<Solid<Schemas["PlayHashes"]>>().toExtend<PlayHashes>();
  expectTypeOf<Solid<Schemas["PlayNodes"]>>().toExtend<PlayNodes>();
  expectTypeOf<Schemas["PlayPolicy"]>().toExtend<PlayPolicy>();
  expectTypeOf<Schemas["PlayTickets"]>().toExtend<PlayTickets>();
  expectTypeOf<Schemas["HeartbeatReply"]>().toExtend<HeartbeatReply>();
  expectTypeOf<Heartbeat>().toExtend<Schemas["Heartbeat"]>();
  expectTypeOf<PositionChange>().toExtend<Schemas["PositionChange"]>();
  expectTypeOf<Schemas["PositionBody"]>().toExtend<PositionChange>();
  expectTypeOf<Schemas["Me"]>().toExtend<Me>();
  expectTypeOf<Solid<Schemas["TitleSummary"]>>().toExtend<TitleSummary>();
  expectTypeOf<Solid<Schemas["TitleDetail"]>>().toExtend<TitleDetail>();
});
