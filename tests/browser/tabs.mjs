// Does to the tabs of one browser what it is told: one JSON array a line on standard input, [what, …arguments], and one answer
// a line on standard output. Tabs have numbers. Notes down every request, every state the pages were in, and every complaint.

import { createInterface } from "node:readline";
import { startBrowser } from "./browser.mjs";

const SECONDS = 20;
const browser = await startBrowser();
const notes = { escaped: browser.escaped, requests: [], states: [], problems: [] };
let context, tabs;

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
  look: (tab, expression) => tabs[tab].evaluate(expression),
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
    context.on("request", (request) => notes.requests.push(request.url()));
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
    const [what, ...details] = JSON.parse(line);
    let answer;
    try {
      answer = { answer: await commands[what](...details) };
    } catch (error) {
      answer = { error: String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
} finally {
  await context.close();
  browser.stop();
}
