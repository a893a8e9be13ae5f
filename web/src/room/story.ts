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

/** The sentence of the moment. */
export function tell(room: Room, words: RoomWords, scene: Scene): string {
  const { story } = words;
  const { now } = scene;
  if (scene.joinsIn !== undefined) return scene.joinsIn > 0 ? story.soon(scene.joinsIn) : story.first;

  const incident = room.incidents.at(-1);
  if (scene.lying) {
    const victims = room.bannedBy(1);
    if (incident && now - incident.at < 12_000) {
      const liar = words.node(incident.liar);
      return incident.again === undefined
        ? story.refused(incident.victim, incident.piece, liar)
        : story.fetchedAgain(incident.victim, incident.piece, liar, words.node(incident.again));
    }
    return victims.length > 0 ? story.stillBanned(list(words, victims.map(words.node))) : story.liesWaiting;
  }
  if (scene.honestAt !== undefined && now - scene.honestAt < freshMs) return story.honest;

  const viewers = [...room.viewers.values()];
  const lines = room.lines(now);
  const known = viewers.filter((v) => v.stats);
  if (known.length > 0 && known.every((v) => v.stats!.ended)) return story.ended;
  if (known.length > 0 && known.every((v) => v.stats!.paused && !v.stats!.ended && v.stats!.positionMs > 0)) {
    return story.paused;
  }
  const met = (n: number) => lines.some((l) => l.from !== server && (l.from === n || l.to === n) && l.state === "up");
  const newest = viewers.reduce((a, b) => (b.since > a.since ? b : a), viewers[0]!);
  if (room.server?.tracker_stopped) {
    return newest && !met(newest.n) ? story.trackerStoppedNew(newest.n) : story.trackerStopped;
  }
  if (room.server?.throttled) return story.throttled(rate(words, room.server.rate_bps / 1000));
  if (newest && !met(newest.n)) return viewers.length > 1 ? story.meeting(newest.n) : story.first;

  const all = lines.reduce((sum, l) => sum + l.kbps, 0);
  const fromViewers = lines.filter((l) => l.from !== server).reduce((sum, l) => sum + l.kbps, 0);
  if (all > 0 && fromViewers === all) return story.serverIdle;
  return fromViewers > 0 ? story.sharing(percent(words, fromViewers, all)) : story.meeting(newest?.n ?? 1);
}
