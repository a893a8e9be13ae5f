/** Which RTCPeerConnections a page makes, and what becomes of them: told by the page's own constructor, not by the player. */

import type { BrowserContext, Page } from "@playwright/test";

type Watched = Window & { connectionsMade: RTCPeerConnection[] };

/** Keeps every RTCPeerConnection that the context's pages make from now on, see `connections`. */
export async function watchConnections(context: BrowserContext): Promise<void> {
  await context.addInitScript(() => {
    const made: RTCPeerConnection[] = [];
    Object.assign(window, { connectionsMade: made });
    if (!window.RTCPeerConnection) return; // a test may have taken it away
    window.RTCPeerConnection = new Proxy(window.RTCPeerConnection, {
      construct(target, args: [RTCConfiguration?]) {
        const connection = new target(...args);
        made.push(connection);
        return connection;
      },
    });
  });
}

/** The states of all connections that the page has ever made, in order. */
export function connections(page: Page): Promise<RTCPeerConnectionState[]> {
  return page.evaluate(() => (window as unknown as Watched).connectionsMade.map((each) => each.connectionState));
}
