// Presses *Authorize* in a Swagger UI page and calls an endpoint, as a person does. Reads its task as JSON from standard input:
// {page, flow, fields: {name: value}, path}. Writes {status, body, requests, escaped} to standard output.

import { text } from "node:stream/consumers";
import { startBrowser } from "./browser.mjs";

const task = JSON.parse(await text(process.stdin));
const browser = await startBrowser();
const { escaped } = browser;
const context = await browser.open();
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
  const response = operation.locator(".live-responses-table tbody tr").first();
  await response.waitFor();
  const status = (await response.locator(".response-col_status").innerText()).trim();
  const body = (await response.locator(".highlight-code").first().innerText()).trim();
  process.stdout.write(JSON.stringify({ status, body, requests, escaped, problems }));
} finally {
  await context.close();
  browser.stop();
}
