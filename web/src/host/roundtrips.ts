/**
 * What a browser's statistics say of the way to one peer. They come from ICE's checks (RFC 7675), every few seconds: what
 * has been read already must not pass for something new, because the engine yields to what it is told.
 */

/** The fields of a candidate pair's statistics (webrtc-stats) that count here; older browsers lack some. */
interface PairStats {
  id: string;
  type: string;
  state?: string;
  nominated?: boolean;
  selected?: boolean; // Firefox's own
  currentRoundTripTime?: number; // seconds
  totalRoundTripTime?: number; // seconds
  responsesReceived?: number;
}

/** One connection's round trips. */
export class RoundTrips {
  private pair = "";
  private answers = 0;
  private total = 0;

  /** The mean of the round trips measured since the last call, in whole microseconds; 0: there were none, or none are told. */
  read(report: Iterable<[string, unknown]>): number {
    const pair = selectedPair(report);
    if (!pair) return 0;
    const { responsesReceived: answers, totalRoundTripTime: total, currentRoundTripTime: current = 0 } = pair;
    if (answers === undefined) return micros(current);
    const known = pair.id === this.pair ? { answers: this.answers, total: this.total } : { answers: 0, total: 0 };
    this.pair = pair.id;
    this.answers = answers;
    this.total = total ?? 0;
    if (answers <= known.answers) return 0;
    return micros(total === undefined ? current : (total - known.total) / (answers - known.answers));
  }
}

function selectedPair(report: Iterable<[string, unknown]>): PairStats | undefined {
  let chosen: string | undefined;
  const pairs: PairStats[] = [];
  for (const [, value] of report) {
    const s = value as PairStats & { selectedCandidatePairId?: string };
    if (s.type === "transport") chosen = s.selectedCandidatePairId;
    else if (s.type === "candidate-pair") pairs.push(s);
  }
  return (
    pairs.find((p) => p.id === chosen) ??
    pairs.find((p) => p.selected) ??
    pairs.find((p) => p.nominated && p.state === "succeeded")
  );
}

const micros = (seconds: number): number => (seconds > 0 ? Math.max(1, Math.round(seconds * 1e6)) : 0);
