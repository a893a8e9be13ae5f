/** Starts the real binary for a test, with a data folder of its own, and ends it. */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

/** The binary under test, built by `make build`. */
export const binary = resolve(process.env.ESSAIM_BIN ?? "../bin/essaim");

/** The demo film's packaged files. */
export const filmFolder = resolve("../internal/demo/film");

/** A running `essaim demo` or `essaim serve`. */
export interface Service {
  url: string;
  data: string;
  /** An operator's token for this service. */
  token: string;
  /** Ends it, and removes its data. */
  stop(): Promise<void>;
  /** Ends it as a failure would (SIGKILL), and leaves its data. */
  kill(): Promise<void>;
}

/** Runs the binary to its end and returns what it wrote to standard output; throws on another exit status than 0. */
export function run(args: string[], input = ""): string {
  return execFileSync(binary, args, { encoding: "utf8", input, stdio: ["pipe", "pipe", "inherit"], timeout: 300_000 });
}

/** A folder for a test's data, removed by `Service.stop`. */
export function dataFolder(): string {
  return mkdtempSync(join(tmpdir(), "essaim-e2e-"));
}

/** A port of this machine that nobody listens on just now. */
export async function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const server = createServer();
    server.once("error", failed);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" && address ? address.port : 0));
    });
  });
}

/** Starts `essaim demo` and resolves once it says that it is ready. */
export function startDemo(data = dataFolder(), args: string[] = []): Promise<Service> {
  return start("demo", data, args);
}

/** Starts `essaim serve` on a folder that has its films and members, and resolves once it says that it is ready. */
export function startServe(data: string, args: string[] = []): Promise<Service> {
  return start("serve", data, args);
}

async function start(command: "demo" | "serve", data: string, args: string[]): Promise<Service> {
  const port = await freePort();
  // Nobody is held out: whom chance chose would not share.
  if (command === "serve" && !args.includes("--hold-out")) args = ["--hold-out", "0", ...args];
  const child: ChildProcess = spawn(binary, [command, "--listen", `127.0.0.1:${port}`, "--data", data, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  child.stdout?.on("data", (bytes: Buffer) => (said += bytes.toString()));
  child.stderr?.on("data", (bytes: Buffer) => (said += bytes.toString()));
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries++) {
    if (child.exitCode !== null || tries > 300) {
      child.kill();
      throw new Error(`essaim ${command} did not get ready:\n${said}`);
    }
    const ready = await fetch(`${url}/readyz`).then(
      (response) => response.ok,
      () => false,
    );
    if (ready) break;
    await new Promise((done) => setTimeout(done, 100));
  }
  const token = run(["admin", "token", "--role", "operator", "--data", data]).trim();
  return {
    url,
    data,
    token,
    async stop() {
      child.kill("SIGTERM");
      await ended;
      rmSync(data, { recursive: true, force: true });
      rmSync(`${data}.master-key`, { force: true });
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** What the origin says it sent. */
export interface Traffic {
  origin_bytes: number;
  titles: Record<string, number>;
  sessions: Record<string, number>;
}

/** Asks the service for the origin's own count. */
export async function traffic(service: Service): Promise<Traffic> {
  const response = await fetch(`${service.url}/api/v1/operator/traffic`, {
    headers: { authorization: `Bearer ${service.token}` },
  });
  if (!response.ok) throw new Error(`traffic: ${response.status}`);
  return (await response.json()) as Traffic;
}
