// Runs commands in the tabs of one browser: one JSON array a line on standard input, [command, …arguments], and one result a line
// on standard output. Tabs have numbers. Records every request, every state of the pages, and every error.

import { createInterface } from "node:readline";
import { startBrowser } from "./browser.mjs";

const SECONDS = 20;
const browser = await startBrowser();
const notes = { escaped: browser.escaped, requests: [], audiences: [], states: [], problems: [] };
let context, tabs;

const endAfter = (seconds) =>
  new Promise((_, reject) => setTimeout(() => reject(new Error(`No end after ${seconds} s.`)), 1000 * seconds).unref());

const commands = {
  async open(url) {
    const page = await context.newPage();
    page.setDefaultTimeout(SECONDS * 1000);
    tabs.push(page);
    await page.goto(url);
    return tabs.length - 1;
  },
  reload: (tab) => tabs[tab].reload().then(() => null),
  close: (tab) => tabs[tab].close().then(() => null),
  fill: (tab, selector, text) => tabs[tab].fill(selector, text).then(() => null),
  click: (tab, selector) => tabs[tab].click(selector).then(() => null),
  wait: (tab, selector) => tabs[tab].waitForSelector(selector).then(() => null),
  text: (tab, selector) => tabs[tab].locator(selector).innerText(),
  evaluate: (tab, expression) => Promise.race([tabs[tab].evaluate(expression), endAfter(2 * SECONDS)]),
  cookies: () => context.cookies(),
  async picture(tab, path, { width, height, scheme }) {
    await tabs[tab].setViewportSize({ width, height });
    await tabs[tab].emulateMedia({ colorScheme: scheme });
    await tabs[tab].screenshot({ path, fullPage: true });
    return null;
  },
  async restart() {
    await context?.close();
    context = await browser.open();
    tabs = [];
    context.on("request", (request) => {
      notes.requests.push(request.url());
      const claims = request.headers().authorization?.split(".")[1];
      if (claims) notes.audiences.push([new URL(request.url()).origin, JSON.parse(Buffer.from(claims, "base64url")).aud]);
    });
    context.on("weberror", (error) => notes.problems.push(String(error.error())));
    context.on("console", (message) => message.type() === "error" && notes.problems.push(message.text()));
    await context.exposeBinding("noteState", (_, state) => notes.states.push(state));
    await context.addInitScript(() => {
      new MutationObserver(() => document.body && globalThis.noteState(document.body.dataset.state ?? "")).observe(document, {
        subtree: true, attributeFilter: ["data-state"],
      });
    });
    return null;
  },
  notes: async () => notes,
};

await commands.restart();
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, ...parameters] = JSON.parse(line);
    let result;
    try {
      result = { value: await commands[command](...parameters) };
    } catch (error) {
      result = { error: String(error) };
    }
    process.stdout.write(`${JSON.stringify(result)}\n`);
  }
} finally {
  await context.close();
  browser.stop();
}
