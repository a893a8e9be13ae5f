/**
 * Every page at three sizes: nothing sticks out, nothing moves, and axe finds nothing (WCAG 2.2 AA). And what one does there:
 * choose who watches, keep a film, go through rows by arrow keys, search while typing. Pictures are written to
 * test-results/screens, or where ESSAIM_SCREENS says: those in docs/screenshots are of `ESSAIM_SCREENS=../docs/screenshots`.
 */

import AxeBuilder from "@axe-core/playwright";
import { expect, type Page, test } from "@playwright/test";
import { type Service, startDemo } from "./service";

const film = "essaim-demo";
const screens = process.env.ESSAIM_SCREENS ?? "test-results/screens";
const sizes = [
  { name: "phone", width: 390, height: 844 },
  { name: "laptop", width: 1280, height: 800 },
  { name: "tv", width: 1920, height: 1080 },
];
let service: Service;

test.beforeAll(async () => {
  service = await startDemo();
});

test.afterAll(() => service.stop());

/** Holds a page against axe once, and takes its picture at the three sizes. */
async function look(page: Page, name: string): Promise<void> {
  for (const { name: size, width, height } of sizes) {
    await page.setViewportSize({ width, height });
    const [content, room] = await page.evaluate(() => [
      document.documentElement.scrollWidth,
      document.documentElement.clientWidth,
    ]);
    expect(content, `${name} at the size of a ${size}`).toBeLessThanOrEqual(room);
    await page.screenshot({
      path: `${screens}/${name}-${size}.jpg`,
      type: "jpeg",
      quality: 50,
      animations: "disabled",
    });
  }
  // Where fingers press, and words wrap most.
  await page.setViewportSize(sizes[0]);
  const { violations } = await new AxeBuilder({ page })
    .withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"])
    .analyze();
  expect(
    violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html)]),
    name,
  ).toEqual([]);
}

/** A catalogue of many films, of which the demonstration has only one: answers in the shapes that the server declares. */
async function manyFilms(page: Page): Promise<void> {
  const { poster } = (await (await page.request.get(`${service.url}/api/v1/titles/${film}`)).json()) as {
    poster: string;
  };
  const names =
    "Aurora,The Long Harbour,Été 36,Seven Lanterns,Northern Line,The Weavers,Petrichor,Saltwater,A Quiet Engine,Glasshouse";
  const titles = names.split(",").map((name, i) => ({
    id: `film-${i}`,
    name,
    summary: "Of a house by the sea, of those who left it, and of the one who came back.",
    open: i % 3 > 0,
    poster,
    duration_ms: (70 + i * 7) * 60_000,
    year: 1990 + i * 3,
    age: [0, 6, 12, 16][i % 4],
    genres: i % 2 ? ["drama"] : ["comedy", "family"],
  }));
  const episodes = [1, 2, 3, 4].map((n) => ({
    ...titles[0],
    id: `hive-${n}`,
    name: ["The scout", "The dance", "The hollow tree", "Winter"][n - 1],
    duration_ms: 48 * 60_000,
    series: { id: "hive", name: "The Hive", season: n > 2 ? 2 : 1, episode: n > 2 ? n - 2 : n },
    ...(n === 1 && { watched: true, position_ms: 48 * 60_000 }),
    ...(n === 2 && { position_ms: 20 * 60_000 }),
  }));
  const rows = [
    { kind: "continue", titles: [episodes[1], { ...titles[3], position_ms: 50 * 60_000 }] },
    { kind: "new", titles: [...titles.slice(0, 4), episodes[0], ...titles.slice(4)] },
    { kind: "genre", genre: "comedy", titles: titles.filter((_, i) => i % 2 === 0) },
  ];
  await page.route("**/api/v1/titles", (route) => route.fulfill({ json: { titles: [...titles, ...episodes] } }));
  await page.route("**/api/v1/home", (route) => route.fulfill({ json: { rows } }));
  await page.route("**/api/v1/titles/hive-1", (route) => route.fulfill({ json: { ...episodes[0], files: [] } }));
  await page.route("**/api/v1/series/hive", (route) =>
    route.fulfill({ json: { id: "hive", name: "The Hive", summary: titles[0].summary, episodes, next: "hive-2" } }),
  );
  await page.route("**/api/v1/titles/film-1", (route) =>
    route.fulfill({
      json: {
        ...titles[1],
        files: [],
        language: "pt",
        position: {
          title: "film-1",
          position_ms: 1_200_000,
          duration_ms: 4_620_000,
          watched: false,
          at: "2026-01-02T03:04:05Z",
        },
        credits: [
          { name: "Apis Mellifera", job: "director" },
          { name: "Bombus Terrestris", job: "actor", part: "the keeper" },
          { name: "Osmia Cornuta", job: "actor" },
        ],
      },
    }),
  );
}

test("every page is whole at three sizes, and axe finds nothing", async ({ page }) => {
  test.setTimeout(240_000);
  await page.addInitScript(() => localStorage.setItem("essaim.share", "no"));
  await page.goto(`${service.url}/`);
  await expect(page.getByRole("heading", { name: "All films" })).toBeVisible();
  await look(page, "home-one-film");
  await page.goto(`${service.url}/sign-in`);
  await expect(page.getByRole("button", { name: "Enter as demo" })).toBeVisible();
  await look(page, "sign-in");
  await page.goto(`${service.url}/nowhere`);
  await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  await look(page, "not-found");

  await page.goto(`${service.url}/sign-in?next=/title/${film}`);
  await page.getByRole("button", { name: "Enter as demo" }).click();
  await expect(page.getByRole("button", { name: "My list" })).toBeVisible();
  await look(page, "title-open");
  await page.goto(`${service.url}/watch/${film}`);
  await expect(page.getByText("Every byte verified")).toBeVisible();
  await look(page, "watch");
  await page.goto(`${service.url}/account`);
  await expect(page.getByRole("heading", { name: "Devices" })).toBeVisible();
  await look(page, "account");
  await page.goto(`${service.url}/profiles`);
  await page.getByRole("button", { name: "Add a profile" }).click();
  await page.getByLabel("Name").fill("Zoé");
  await page.getByLabel("Kids' limit").selectOption({ label: "Up to 6 years" });
  await look(page, "profile");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("button", { name: /^Zoé/ })).toBeVisible();
  await look(page, "profiles");

  await manyFilms(page);
  await page.getByRole("button", { name: /^demo/ }).click();
  await expect(page.getByRole("heading", { name: "Continue watching" })).toBeVisible();
  await look(page, "home");
  await page.goto(`${service.url}/title/film-1`);
  await expect(page.getByText("Apis Mellifera")).toBeVisible();
  await look(page, "title");
  await page.goto(`${service.url}/series/hive`);
  await expect(page.getByRole("link", { name: "Watch S1 E2" })).toBeVisible();
  await look(page, "series");
  await page.goto(`${service.url}/search?q=scenes`);
  await expect(page.getByRole("heading", { level: 3 })).toHaveCount(1);
  await look(page, "search");
});

test("rows are walked by arrow keys alone, and up and down lead from row to row", async ({ page }) => {
  await page.setViewportSize({ width: 1280, height: 800 });
  await manyFilms(page);
  await page.goto(`${service.url}/`);
  const row = page.getByRole("region", { name: "New here" });
  await row.getByRole("link").first().focus();
  for (const name of ["The Long Harbour", "Été 36", "Seven Lanterns", "The Hive"]) {
    await page.keyboard.press("ArrowRight");
    await expect(row.getByRole("link", { name })).toBeFocused();
    await expect(row.getByRole("link", { name })).toBeInViewport({ ratio: 0.9 });
  }
  await page.keyboard.press("ArrowDown");
  await expect(page.getByRole("region", { name: "Comedy" }).locator("a:focus")).toHaveCount(1);
  await page.keyboard.press("ArrowUp");
  await expect(row.locator("a:focus")).toHaveCount(1);
});

test("a child's profile is shown what is rated for it, keeps a list, and finds while typing, accents aside", async ({
  page,
}) => {
  await page.goto(`${service.url}/sign-in`);
  await page.getByRole("button", { name: "Enter as" }).nth(1).click();
  await expect(page).toHaveURL(`${service.url}/`);
  await page.goto(`${service.url}/profiles`);
  await page.getByRole("button", { name: "Add a profile" }).click();
  await page.getByLabel("Name").fill("Zoé");
  await page.getByLabel("Kids' limit").selectOption({ label: "Only for all ages" });
  await page.getByLabel("Language of the pages").selectOption("fr");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: /^Zoé/ }).click();
  await expect(page.getByRole("heading", { name: "Tous les films" })).toBeVisible();
  await page.goto(`${service.url}/title/${film}`);
  await page.getByRole("button", { name: "Ma liste" }).click();
  await expect(page.getByRole("button", { name: "Ma liste" })).toHaveAttribute("aria-pressed", "true");
  await page.goto(`${service.url}/`);
  await expect(page.getByRole("region", { name: "Ma liste" }).getByRole("link")).toHaveCount(1);
  await page.getByRole("link", { name: "Chercher" }).click();
  await page.getByRole("searchbox").pressSequentially("SCÈNÉS");
  await expect(page.getByRole("status")).toHaveText("1 titre trouvé");
  await expect(page).toHaveURL(/q=SC/);
  await page.getByRole("searchbox").fill("nobody would call it that");
  await expect(page.getByText("Rien trouvé")).toBeVisible();
});
