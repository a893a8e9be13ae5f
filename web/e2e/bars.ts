/** The colour bars of the films that tests protect, and how to tell from a photograph whether they are seen. */

/** Runs in the page: how far the photograph is from the bars, 0 to 255, at the worst of them. */
export async function offBars(png: string): Promise<number> {
  const picture = new Image();
  picture.src = `data:image/png;base64,${png}`;
  await picture.decode();
  const canvas = new OffscreenCanvas(picture.width, picture.height).getContext("2d")!;
  canvas.drawImage(picture, 0, 0);
  const bars = [
    [180, 180, 180],
    [180, 180, 16],
    [16, 180, 180],
    [16, 180, 16],
    [180, 16, 180],
    [180, 16, 16],
    [16, 16, 180],
  ];
  const off = bars.map((bar, i) => {
    const { data } = canvas.getImageData((picture.width * (i + 0.5)) / 7, picture.height / 3, 1, 1);
    return Math.max(...bar.map((value, channel) => Math.abs(value - data[channel])));
  });
  return Math.max(...off);
}
