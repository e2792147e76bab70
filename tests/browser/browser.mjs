// A headless Chromium that cannot leave loopback: all other requests go to a proxy that refuses and records them.

import { createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

/** `escaped`: the requests to other hosts than loopback. `open()`: a context, each with the same profile. */
export async function startBrowser() {
  const escaped = [];
  const proxy = createServer((request, response) => {
    escaped.push(`${request.method} ${request.url}`);
    response.writeHead(502).end();
  });
  proxy.on("connect", (request, socket) => {
    escaped.push(`CONNECT ${request.url}`);
    socket.end("HTTP/1.1 502 X\r\n\r\n");
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const profile = mkdtempSync(join(tmpdir(), "authmint-browser-"));

  const open = () =>
    chromium.launchPersistentContext(profile, {
      executablePath: process.env.AUTHMINT_TEST_CHROMIUM || "/usr/bin/chromium",
      headless: true,
      args: [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-domain-reliability",
        "--disable-extensions", "--disable-client-side-phishing-detection", "--gaia-url=http://127.0.0.1:9/",
        `--proxy-server=http://127.0.0.1:${proxy.address().port}`, "--proxy-bypass-list=127.0.0.1;localhost",
      ],
    });
  const stop = () => {
    proxy.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { escaped, open, stop };
}
