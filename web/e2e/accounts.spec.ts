/**
 * From an empty service to its second device: the first operator comes by the link that `essaim serve` printed, invites
 * somebody, who signs up, plays, sees where they are signed in, and signs out everywhere. Pictures of the pages are written
 * to test-results/.
 */

import { expect, type Page, test } from "@playwright/test";
import { addClip, playsPast } from "./film";
import { dataFolder, run, type Service, startServe } from "./service";

const film = "for-members";
const password = "a long enough password";
let service: Service;

test.beforeAll(async () => {
  const data = dataFolder();
  addClip(data, { id: film, title: "A hive of our own", seconds: 12, size: "360p", open: false });
  service = await startServe(data);
});

test.afterAll(() => service.stop());

const sizes = [
  { name: "phone", width: 390, height: 844 },
  { name: "tv", width: 1920, height: 1080 },
  { name: "laptop", width: 1280, height: 800 },
];

/** Takes pictures of a page at the three sizes, and sees that nothing sticks out. */
async function pictures(page: Page, name: string): Promise<void> {
  for (const size of sizes) {
    await page.setViewportSize(size);
    const [content, room] = await page.evaluate(() => [
      document.documentElement.scrollWidth,
      document.documentElement.clientWidth,
    ]);
    expect(content, `${name} at the size of a ${size.name}`).toBeLessThanOrEqual(room);
    await page.screenshot({ path: `test-results/${name}-${size.name}.png`, fullPage: true });
  }
}

test("the first operator invites a member, who plays, sees their devices and signs out everywhere", async ({
  page,
  browser,
}) => {
  test.setTimeout(90_000);
  // The link that serve printed is lost; another takes its place.
  const link = run(["admin", "operator-link", "--url", service.url, "--data", service.data]).trim();
  await page.goto(link);
  await expect(page.getByRole("heading", { level: 1, name: "Become the operator" })).toBeVisible();
  expect(page.url()).toBe(`${service.url}/join`); // without the token
  await page.getByLabel("Name").fill("grace");
  await page.getByLabel("Password").fill(password);
  await pictures(page, "join");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: "Members" })).toBeVisible();

  await page.getByLabel("Whom it is for").fill("Ada");
  await page.getByRole("button", { name: "Make a link" }).click();
  const invitation = await page.getByLabel("A link for Ada").inputValue();
  await expect(page.getByRole("combobox", { name: "Role of grace" })).toHaveValue("operator");
  await pictures(page, "members");

  // What it saves, the switch, and who changed what.
  await page.getByRole("link", { name: "The switch" }).click();
  await expect(page.getByRole("heading", { name: "Viewers exchange pieces" })).toBeVisible();
  await page.getByLabel("Why").fill("a rehearsal of the switch");
  await page.getByRole("button", { name: "Switch off everywhere" }).click();
  await expect(page.getByRole("heading", { name: "Everything comes from the server" })).toBeVisible();
  const policy = async () =>
    (await (await page.request.get(`${service.url}/api/v1/operator/policy`)).json()) as Record<string, unknown>;
  expect(await policy()).toMatchObject({ p2p: false, who: "grace", why: "a rehearsal of the switch" });
  await page.getByRole("button", { name: "Switch on" }).click();
  await expect(page.getByRole("heading", { name: "Viewers exchange pieces" })).toBeVisible();
  await page.getByLabel("Price of a GB of egress").fill("0.02");
  await page.getByLabel("Currency").fill("EUR");
  await page.getByLabel("Networks without peers").fill("AS64500\nnonsense");
  await page.getByRole("button", { name: "Put into force" }).click();
  await expect(page.getByRole("alert")).toHaveText(/nonsense/);
  await page.getByLabel("Networks without peers").fill("AS64500");
  await page.getByRole("button", { name: "Put into force" }).click();
  await expect(page.getByText(/^Version \d+ is in force\.$/)).toBeVisible();
  expect(await policy()).toMatchObject({ p2p: true, price_per_gb: 0.02, currency: "EUR", networks_off: ["AS64500"] });
  await pictures(page, "policy");
  await page.getByRole("link", { name: "Audit log" }).click();
  await expect(page.getByRole("cell", { name: /a rehearsal of the switch/ }).first()).toBeVisible();
  await pictures(page, "audit");
  await page.getByRole("link", { name: "Savings" }).click();
  await expect(page.getByRole("row", { name: /Start-up/ })).toContainText("too few viewers to tell");
  await expect(page.getByRole("link", { name: "Download as CSV" })).toHaveAttribute("href", /savings\.csv\?from=/);
  await pictures(page, "savings");
  await page.getByRole("link", { name: "Members", exact: true }).last().click();
  await expect(page.getByRole("heading", { level: 1, name: "Members" })).toBeVisible();

  const context = await browser.newContext();
  const ada = await context.newPage();
  await ada.goto(invitation);
  await expect(ada.getByRole("heading", { level: 1, name: "You are invited" })).toBeVisible();
  await ada.getByLabel("Name").fill("grace");
  await ada.getByLabel("Password").fill(password);
  await ada.keyboard.press("Enter");
  await expect(ada.getByRole("alert")).toHaveText("That name is taken. Choose another.");
  await ada.getByLabel("Name").fill("ada");
  await ada.keyboard.press("Enter");
  await expect(ada.getByRole("heading", { name: "A hive of our own" }).first()).toBeVisible();
  await ada.goto(`${service.url}/watch/${film}?debug=1`);
  await playsPast(ada, 2);

  // A second device.
  const other = await browser.newContext({
    userAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
  });
  expect((await other.request.post(`${service.url}/api/v1/session`, { data: { name: "ada", password } })).ok()).toBe(
    true,
  );
  await ada.goto(`${service.url}/account`);
  await expect(ada.getByText("Firefox · Linux")).toBeVisible();
  await expect(ada.getByText("This device")).toHaveCount(1);
  await expect(ada.getByText("Standard · 4 films at once")).toBeVisible();
  await pictures(ada, "account");
  await ada.getByRole("button", { name: "Sign out everywhere" }).click();
  await expect(ada.getByRole("heading", { level: 1, name: "Welcome back" })).toBeVisible();
  for (const one of [context, other]) expect((await one.request.get(`${service.url}/api/v1/me`)).status()).toBe(401);
  await ada.goto(`${service.url}/account`);
  await expect(ada).toHaveURL(`${service.url}/sign-in?next=/account`);
  await ada.goto(invitation);
  await expect(ada.getByRole("heading", { level: 1, name: "This link is no longer good" })).toBeVisible();
  await context.close();
  await other.close();

  // The operator ends a plan, and the page says what is so after a reload.
  await page.getByLabel("Search names").fill("ad");
  await expect(page.getByRole("listitem")).toHaveCount(1);
  await page.getByRole("combobox", { name: "State of the plan of ada" }).selectOption("ended");
  await expect(page.getByRole("status").filter({ hasText: "Saved." })).toHaveCount(1);
  await page.reload();
  await expect(page.getByRole("combobox", { name: "State of the plan of ada" })).toHaveValue("ended");
});
