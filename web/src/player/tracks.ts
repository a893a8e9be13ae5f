/**
 * What a viewer may choose of a film that Shaka plays: the picture's height and the sound. It must never put the viewer's
 * own choice aside by itself.
 */

import type shaka from "shaka-player/dist/shaka-player.dash-es2021";

/** A sound of the film. */
export interface Sound {
  /** BCP 47; empty where it is not known. */
  language: string;
  /** Channels; 0 where that is not known. */
  channels: number;
  /** It is the one that plays. */
  active: boolean;
  /** Its place among the film's sounds. */
  index: number;
}

/** Film that is kept at a change that the viewer asked for, in seconds: the rest is fetched anew, so that it is soon seen. */
const keptSeconds = 4;

/** A language that no film has named: Shaka's word for none. */
const unknownLanguage = "und";

/** The choices of one Shaka player. Make it before the film is loaded. */
export class Tracks {
  #player: shaka.Player;
  #height: number | undefined;

  /** `changed` hears that choices have become known, or that another plays. */
  constructor(player: shaka.Player, changed: () => void) {
    this.#player = player;
    for (const type of ["trackschanged", "variantchanged", "adaptation", "audiotrackchanged", "loaded"]) {
      player.addEventListener(type, changed);
    }
  }

  /** The heights of picture, in lines, the largest first. */
  get heights(): number[] {
    const heights = this.#player.getVariantTracks().map(({ height }) => height ?? 0);
    return [...new Set(heights)].filter((height) => height > 0).sort((a, b) => b - a);
  }

  /** The height that was chosen; undefined: the player chooses. */
  get height(): number | undefined {
    return this.#height;
  }

  /** Keeps to one of `heights`; undefined: the player chooses again. */
  keepHeight(height: number | undefined): void {
    const tracks = this.#player.getVariantTracks();
    const active = tracks.find((track) => track.active);
    const fit = tracks.filter((track) => track.height === height && track.audioId === active?.audioId);
    this.#height = fit.length > 0 ? height : undefined;
    this.#player.configure({ abr: { enabled: this.#height === undefined } });
    const best = fit.sort((a, b) => b.bandwidth - a.bandwidth)[0];
    if (best && !best.active) this.#player.selectVariantTrack(best, true, keptSeconds);
  }

  /** The film's sounds, in its own order. */
  get sounds(): Sound[] {
    return this.#player.getAudioTracks().map(({ language, channelsCount, active }, index) => ({
      language: language === unknownLanguage ? "" : language,
      channels: channelsCount ?? 0,
      active,
      index,
    }));
  }

  /** Plays one of `sounds`, with the picture that plays. */
  hear({ index }: Sound): void {
    const track = this.#player.getAudioTracks().at(index);
    if (track && !track.active) this.#player.selectAudioTrack(track, keptSeconds);
  }
}
