/** Chooses the one sentence that says what one sees now. It claims only what the room's figures show. */

import { server, type Room } from "./model";
import { list, percent, rate, type RoomWords } from "./words";

/** What the sentence depends on, beside the room. */
export interface Scene {
  /** Seconds until the second viewer joins; undefined once it has. */
  joinsIn: number | undefined;
  lying: boolean;
  /** When viewer 1 came back as a new peer after it had lied, in ms; undefined: it did not. */
  honestAt: number | undefined;
  now: number;
}

/** For how long the newest viewer's arrival and the end of a lie are what matters most, in ms. */
const freshMs = 8_000;
/** For how long a refused block is told of: until it has been fetched again, and that has been read. */
const incidentMs = 20_000;

/** A sentence, and which one it is: its figures may change while it stays the same. */
export interface Told {
  key: string;
  text: string;
}

/** The sentence of the moment. */
export function tell(room: Room, words: RoomWords, scene: Scene): Told {
  const { story } = words;
  const { now } = scene;
  if (scene.joinsIn !== undefined) return said("soon", story.soon);

  const incident = room.incidents.at(-1);
  if (scene.lying) {
    const victims = room.bannedBy(1);
    if (incident && now - incident.at < incidentMs) {
      const liar = words.node(incident.liar);
      const { victim, piece, again } = incident;
      const key = `${victim}/${piece}`;
      return again === undefined
        ? said(`refused ${key}`, story.refused(victim, piece, liar))
        : said(`again ${key}`, story.fetchedAgain(victim, piece, liar, words.node(again)));
    }
    if (victims.length === 0) return said("lies", story.liesWaiting);
    return said(`banned ${victims.join()}`, story.stillBanned(list(words, victims.map(words.node))));
  }
  if (scene.honestAt !== undefined && now - scene.honestAt < freshMs) return said("honest", story.honest);

  const viewers = [...room.viewers.values()];
  const lines = room.lines(now);
  const known = viewers.filter((v) => v.stats);
  if (known.length > 0 && known.every((v) => v.stats!.ended)) return said("ended", story.ended);
  if (known.length > 0 && known.every((v) => v.stats!.paused && !v.stats!.ended && v.stats!.positionMs > 0)) {
    return said("paused", story.paused);
  }
  const met = (n: number) => lines.some((l) => l.from !== server && (l.from === n || l.to === n) && l.state === "up");
  const newest = viewers.reduce((a, b) => (b.since > a.since ? b : a), viewers[0]!);
  if (room.server?.tracker_stopped) {
    if (newest && !met(newest.n)) return said(`stopped ${newest.n}`, story.trackerStoppedNew(newest.n));
    return said("stopped", story.trackerStopped);
  }
  if (room.server?.throttled) return said("throttled", story.throttled(rate(words, room.server.rate_bps / 1000)));
  if (newest && !met(newest.n)) {
    return viewers.length > 1 ? said(`meeting ${newest.n}`, story.meeting(newest.n)) : said("first", story.first);
  }

  const all = lines.reduce((sum, l) => sum + l.kbps, 0);
  const fromViewers = lines.filter((l) => l.from !== server).reduce((sum, l) => sum + l.kbps, 0);
  if (all === 0) return said("idle", story.idle);
  if (fromViewers === all) return said("rests", story.serverIdle);
  return fromViewers > 0 ? said("sharing", story.sharing(percent(words, fromViewers, all))) : said("own", story.ownWay);
}

function said(key: string, text: string): Told {
  return { key, text };
}
