// Presses *Authorize* in a Swagger UI page and calls an endpoint, as a person would. Reads its task as JSON from standard input:
// {page, flow, fields: {name: value}, path}. Writes {status, body, requests, escaped} to standard output.
//
// `escaped` is what the browser tried to send anywhere but to loopback: all of it goes to a proxy that refuses and takes notes.

import { createServer } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { chromium } from "playwright-core";

const task = JSON.parse(await text(process.stdin));
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

const profile = mkdtempSync(join(tmpdir(), "mintmark-browser-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.MINTMARK_TEST_CHROMIUM || "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-domain-reliability",
    "--disable-extensions", "--disable-client-side-phishing-detection", "--gaia-url=http://127.0.0.1:9/",
    `--proxy-server=http://127.0.0.1:${proxy.address().port}`, "--proxy-bypass-list=127.0.0.1;localhost",
  ],
});
const requests = [];
const problems = [];
context.on("request", (request) => requests.push(request.url()));
try {
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(task.page);

  await page.locator(".auth-wrapper > button.authorize").click();
  const form = page.locator(".auth-container").filter({ hasText: `(OAuth2, ${task.flow})` });
  for (const [name, value] of Object.entries(task.fields)) {
    await form.locator(`#${name}`).fill(value);
  }
  await form.locator("button.authorize").click();
  await form.locator("button", { hasText: "Logout" }).waitFor();
  await page.locator(".btn-done").first().click();

  const operation = page.locator(".opblock-get").filter({ has: page.locator(`[data-path="${task.path}"]`) });
  await operation.locator(".opblock-summary-control").click();
  await operation.locator(".try-out__btn").click();
  await operation.locator("button.execute").click();
  const answer = operation.locator(".live-responses-table tbody tr").first();
  await answer.waitFor();
  const status = (await answer.locator(".response-col_status").innerText()).trim();
  const body = (await answer.locator(".highlight-code").first().innerText()).trim();
  process.stdout.write(JSON.stringify({ status, body, requests, escaped, problems }));
} finally {
  await context.close();
  proxy.close();
  rmSync(profile, { recursive: true, force: true });
}
