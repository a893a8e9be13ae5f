/**
 * Revocation, end to end: two members watch in browsers of their own; one signs out, or the operator revokes it. Within five
 * seconds its sockets and its data channels are closed, and from then on it gets nothing more from tracker, peer or, of what
 * is for members, origin; the other plays on. What is open to all stays open: there the origin sends it bytes as it would a
 * stranger, but no more for its session.
 */

import { type Browser, type BrowserContext, expect, type Page, test, type WebSocket } from "@playwright/test";
import { addClip, playsOn, playsPast, session, stats } from "./film";
import * as peers from "./peers";
import { dataFolder, run, type Service, startDemo, traffic } from "./service";

/** The promise, in ms. */
const within = 5_000;
const open = "essaim-demo";
const closed = "for-members";

let service: Service;
/** Of the demonstration's members, two. */
let names: string[];

test.describe.configure({ mode: "serial", timeout: 240_000 });

test.beforeAll(async () => {
  const data = dataFolder();
  addClip(data, { id: closed, title: "For members", seconds: 120, size: "360p", open: false });
  service = await startDemo(data);
  const { members } = (await (await fetch(`${service.url}/api/v1/demo`)).json()) as { members: string[] };
  names = members.slice(0, 2);
  expect(names).toHaveLength(2);
});

test.afterAll(() => service.stop());

/** A member's browser, with a page that shares what it watches. */
class Member {
  readonly sockets: WebSocket[] = [];

  private constructor(
    readonly name: string,
    readonly context: BrowserContext,
    readonly page: Page,
  ) {
    page.on("websocket", (socket) => this.sockets.push(socket));
  }

  static async watching(browser: Browser, name: string): Promise<Member> {
    const context = await browser.newContext({ viewport: { width: 640, height: 360 } });
    await peers.watchConnections(context);
    const signedIn = await context.request.post(`${service.url}/demo/sign-in`, { data: { name } });
    expect(signedIn.ok()).toBe(true);
    const member = new Member(name, context, await context.newPage());
    await member.page.goto(`${service.url}/room/viewer?n=1&title=${open}`);
    return member;
  }

  stats = () => stats(this.page);
  connections = () => peers.connections(this.page);

  /** Whether there is neither socket nor channel. */
  async alone(): Promise<boolean> {
    const { peers } = await this.stats();
    const states = await this.connections();
    return peers === 0 && states.every((state) => state === "closed") && this.sockets.every((s) => s.isClosed());
  }
}

/** Each says what its players do, and returns when it was asked for, once it was done. */
const ways: [string, RegExp, (member: Member) => Promise<number>][] = [
  [
    "who signs out, in another tab,",
    /This device was signed out, so the film has stopped\./,
    async ({ context }) => {
      const tab = await context.newPage();
      await tab.goto(service.url);
      const button = tab.getByRole("button", { name: "Sign out" });
      await expect(button).toBeVisible();
      const asked = Date.now();
      await button.click();
      await expect(tab.getByRole("link", { name: "Sign in" })).toBeVisible();
      return asked;
    },
  ],
  [
    "whom the operator revokes",
    /The operator has stopped this film\./,
    ({ name }) => {
      const asked = Date.now();
      const said = run(["admin", "revoke", "--member", name, "--data", service.data, "--json"]);
      expect(JSON.parse(said)).toEqual({ ended: 1 });
      return Promise.resolve(asked);
    },
  ],
];

for (const [who, says, revoke] of ways) {
  test(`${who} loses sockets and channels within five seconds, and gets nothing more`, async ({ browser }) => {
    const other = await Member.watching(browser, names[0]);
    const member = await Member.watching(browser, names[1]);
    const shut = await member.context.newPage(); // what is for members, beside what is shared
    await shut.goto(`${service.url}/watch/${closed}?debug=1`);
    for (const { page } of [member, other]) {
      await page.waitForFunction(() => {
        const { peers, peerBytes, sentBytes } = window.essaimDebug!.stats();
        return peers === 1 && peerBytes + sentBytes > 0;
      });
    }
    expect(member.sockets.map((socket) => [new URL(socket.url()).pathname, socket.isClosed()])).toEqual([
      ["/tracker", false],
    ]);
    await playsPast(shut, 2);
    const { id } = await session(member.page);
    const { id: shutId } = await session(shut);

    const asked = await revoke(member);
    await expect.poll(() => member.alone(), { timeout: within * 2, intervals: [50] }).toBe(true);
    // What was made ready for nobody stays new until it is closed.
    const ended = async () => (await other.connections()).every((state) => state === "closed" || state === "new");
    await expect.poll(ended, { timeout: within * 2, intervals: [50] }).toBe(true);
    // Its players stop and say why, the one beside, which has no socket of the tracker's, by its stream of events.
    const why = shut.getByRole("alert");
    await expect(why).toHaveText(says, { timeout: within * 2 });
    await expect(member.page.getByText(says)).toBeVisible({ timeout: within * 2 });
    const took = Date.now() - asked;
    console.log(`sockets and channels were closed, and both players had stopped, ${took} ms after it was asked for`);
    expect(took).toBeLessThan(within);
    expect(await shut.locator("video").evaluate((video: HTMLVideoElement) => video.paused)).toBe(true);

    // From here on nothing: not while the other plays eight seconds more, and not by asking.
    const before = await member.stats();
    const sent = (await traffic(service)).sessions;
    const sockets = member.sockets.length;
    const made = (await member.connections()).length;
    await playsOn(other.page, 8);
    const now = (await traffic(service)).sessions;
    expect(now[id] ?? 0, "bytes of the origin for the session that shared").toBe(sent[id] ?? 0);
    expect(now[shutId], "bytes of what is for members").toBe(sent[shutId]);
    const after = await member.stats();
    expect(after).toMatchObject({ peerBytes: before.peerBytes, sentBytes: before.sentBytes, peers: 0 });
    expect(member.sockets.length, "sockets opened since").toBe(sockets);
    expect((await member.connections()).length, "connections made since").toBe(made);
    expect(await other.stats()).toMatchObject({ stalls: 0, badBlocks: 0, peers: 0 });
    await member.context.close();
    await other.context.close();
  });
}
