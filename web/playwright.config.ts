import { defineConfig } from "@playwright/test";

/**
 * Browser tests against the real binary. ESSAIM_URL names a demonstration that runs already; without it the tests start
 * `bin/essaim demo` themselves. WebRTC needs an interface other than the loopback: see e2e/netns.sh.
 */
export default defineConfig({
  testDir: "e2e",
  outputDir: "test-results/runs",
  timeout: 150_000, // what passes takes a tenth of it; a busy machine must not make it fail
  expect: { timeout: 15_000 },
  // Chromium decodes on the processor here. Where viewers exchange a film and stalls are counted, one browser at a time has the
  // machine to itself; where pages are looked at, and what is
  // asked is whether rather than how fast, two files go side by side. `make test-browser` runs one project after the other.
  workers: 2,
  projects: [
    {
      name: "pages",
      testMatch:
        /(pages|browse|watch|members|accounts|limits|encryption|protected|webtorrent|connections|revocation)\.spec\.ts$/,
    },
    {
      name: "swarms",
      testIgnore:
        /(pages|browse|watch|members|accounts|limits|encryption|protected|webtorrent|connections|revocation)\.spec\.ts$/,
      workers: 1,
    },
  ],
  // What takes long and changes seldom: `make soak`.
  grepInvert: process.env.ESSAIM_SOAK ? undefined : /@soak/,
  fullyParallel: false,
  forbidOnly: true,
  reporter: [["list"]],
  use: {
    locale: "en-GB",
    // No pictures: to draw them takes a quarter of the machine from the viewers under test.
    trace: { mode: "retain-on-failure", screenshots: false, sources: true, snapshots: true },
    launchOptions: {
      executablePath: process.env.ESSAIM_CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--autoplay-policy=no-user-gesture-required",
      ],
    },
  },
});
