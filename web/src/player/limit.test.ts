import type shaka from "shaka-player/dist/shaka-player.dash-es2021";
import { expect, test } from "vitest";
import { limitHeight } from "./limit";

/** As much of Shaka as a limit asks. */
function house(playing: number | undefined) {
  const said: unknown[] = [];
  const tracks = [360, 480, 1080].flatMap((height) =>
    [1, 2].map((audioId) => ({ height, audioId, bandwidth: height, active: height === playing && audioId === 2 })),
  );
  const player = {
    getVariantTracks: () => tracks,
    selectVariantTrack: (...args: unknown[]) => said.push(args),
    configure: (config: unknown) => said.push(config),
  } as unknown as shaka.Player;
  return {
    player,
    said,
    track: (height: number, audioId: number) => tracks.find((t) => t.height === height && t.audioId === audioId),
  };
}

const restricted = { restrictions: { maxHeight: 719 } };

test("a player of a better picture steps down, with its sound, and drops what it held of it", () => {
  const { player, said, track } = house(1080);
  limitHeight(player, 719);
  expect(said).toEqual([[track(480, 2), true, 2], restricted]);
});

test("one that plays no better picture is only kept from them", () => {
  for (const playing of [480, undefined]) {
    const { player, said } = house(playing);
    limitHeight(player, 719);
    expect(said).toEqual([restricted]);
  }
});

test("without a limit nothing is forbidden", () => {
  for (const limit of [undefined, 0]) {
    const { player, said } = house(1080);
    limitHeight(player, limit);
    expect(said).toEqual([]);
  }
});
