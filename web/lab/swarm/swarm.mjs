/**
 * A steady swarm of npm's unmodified bittorrent-tracker clients, as `essaim bench swarm --webtorrent` holds it beside one of our own
 * viewers: node swarm.mjs TRACKER INFO_HASH PEERS SECONDS MILLISECONDS_BETWEEN. It announces as that client does: five offers at
 * a time, at the interval that the tracker names, each offer given up after 50 s. What becomes of a peer is what webtorrent does: a
 * second connection to the same one is closed. Only WebRTC is a stand-in (webrtc.mjs). Prints {"pairs": …}.
 */
import { register } from "node:module";

register("./hooks.mjs", import.meta.url);
const { default: Client } = await import("bittorrent-tracker/client");

const [tracker, infoHash, peers, seconds, between] = process.argv.slice(2);
const pairs = new Set();
const clients = [];

function join(number) {
  const peerId = Buffer.from(`-WW0301-${String(number).padStart(12, "0")}`).toString("hex");
  // Clients of one process share a socket for each address: a query makes it one's own.
  const client = new Client({
    infoHash,
    peerId,
    port: 6881,
    announce: [`${tracker}?peer=${number}`],
    getAnnounceOpts: () => ({ left: 1 }),
  });
  const neighbours = new Map();
  client.on("error", (error) => fail(error));
  client.on("warning", (error) => fail(error));
  client.on("peer", (peer) => {
    if (neighbours.has(peer.id)) {
      peer.destroy();
      return;
    }
    neighbours.set(peer.id, peer);
    peer.on("error", () => {});
    peer.on("connect", () => pairs.add([peerId, peer.id].sort().join(" ")));
    peer.on("close", () => {
      if (neighbours.get(peer.id) === peer) neighbours.delete(peer.id);
    });
  });
  client.start();
  clients.push(client);
}

function fail(error) {
  console.error(error);
  process.exit(1);
}

for (let number = 0; number < Number(peers); number++) setTimeout(join, number * Number(between), number);
setTimeout(
  () => {
    process.stdout.write(JSON.stringify({ pairs: pairs.size }) + "\n", () => process.exit(0));
  },
  Number(seconds) * 1000,
);
