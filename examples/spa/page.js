// Shows the session and the orders, and handles clicks. session.js has the session itself.

import config from "./config.js";
import { Orders, OrderError } from "./orders.js";
import { OAuthError, Session, SignedOutError, UnavailableError } from "./session.js";

const session = new Session(config);
const orders = config.orders ? new Orders(config.orders, (url, options) => session.fetch(url, options)) : null;
const find = (id) => document.getElementById(id);
const refreshes = { own: 0, other: 0 };

session.addEventListener("change", ({ detail: what }) => {
  if (what === "refreshed") refreshes.own += 1;
  if (["refreshed-elsewhere", "received"].includes(what)) refreshes.other += 1;
  show();
});

onSubmit("sign-in", "sign-in-problem", async (form) => {
  await session.signIn(form.username.value.trim(), form.password.value);
  form.reset();
});
onSubmit("place", "order-problem", async (form) => {
  const { item, quantity } = await orders.place(form.item.value, Number(form.quantity.value));
  form.reset();
  form.item.focus();
  await showOrders();
  find("notice").textContent = `Ordered: ${quantity} × ${item}.`;
});
onClick("sign-out", () => signOut({}));
onClick("sign-out-elsewhere", async () => {
  await session.signOutElsewhere();
  find("notice").textContent = "You are signed out everywhere else.";
});
onClick("sign-out-everywhere", () => signOut({ everywhere: true }));

find("with-orders").hidden = !orders;
find("without-orders").hidden = Boolean(orders);
show();
setInterval(showToken, 1000);
await session.start();

function show() {
  showToken();
  showService();
  if (document.body.dataset.state === session.state) return;
  const wasSignedIn = document.body.dataset.state === "signed-in";
  document.body.dataset.state = session.state;
  find("notice").textContent = wasSignedIn ? "You are signed out, here and in all tabs." : "";
  document.querySelector(`[data-shown="${session.state}"] h1`)?.focus();
  if (session.state === "signed-in") greet();
  else clear();
}

function showService() {
  const before = find("token-service").textContent;
  const now = session.isOffline ? "unavailable; trying again" : "available";
  if (before === now) return;
  find("token-service").textContent = now;
  document.body.toggleAttribute("data-offline", session.isOffline);
  find("starting").textContent = session.isOffline
    ? "The token service cannot be reached. Trying again …"
    : "Restoring the session …";
  if (session.state === "signed-in" && before) {
    find("notice").textContent = session.isOffline
      ? "The token service is unavailable. You are still signed in, and orders work until the access token expires."
      : "The token service is available again.";
  }
}

function showToken() {
  const seconds = Math.ceil(((session.expiresAt ?? 0) - Date.now()) / 1000);
  find("access-token").textContent = seconds > 0 ? `in memory, for ${seconds} s more` : "none at the moment";
  find("own-refreshes").textContent = refreshes.own;
  find("other-refreshes").textContent = refreshes.other;
}

async function greet() {
  await Promise.allSettled([showName(), showOrders().catch(problemIn("order-problem"))]);
}

async function showName() {
  const response = await session.fetchAccount("/account/v1");
  if (response.ok) find("name").textContent = (await response.json()).username;
}

async function showOrders() {
  if (!orders) return;
  const placed = await orders.list();
  find("order-problem").textContent = "";
  find("orders").tBodies[0].replaceChildren(...placed.map(row));
  find("orders").hidden = placed.length === 0;
  find("no-orders").hidden = placed.length > 0;
}

function row({ id, item, quantity, invoice }) {
  const line = document.createElement("tr");
  [[id], [item, "item"], [quantity, "number"], [invoice ?? "–", "number"]].forEach(([text, kind = ""]) => {
    const cell = line.insertCell();
    cell.textContent = text;
    cell.className = kind;
  });
  return line;
}

/** Remove everything of this person, so that the next one does not see it. */
function clear() {
  find("name").textContent = "";
  find("order-problem").textContent = "";
  find("orders").tBodies[0].replaceChildren();
  find("place").reset();
}

async function signOut(options) {
  try {
    await session.signOut(options);
  } catch {
    // The page shows that the person is signed out here, and this is true.
    const others = options.everywhere ? "You may still be signed in on other devices" : "This is tried again while the page is open";
    find("notice").textContent = `You are signed out, here and in all tabs. The token service did not confirm it. ${others}.`;
  }
}

function onSubmit(id, problems, work) {
  const form = find(id);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    find(problems).textContent = "";
    await busy(form.querySelector("button"), () => work(form).catch(problemIn(problems)));
  });
}

function onClick(id, work) {
  find(id).addEventListener("click", ({ currentTarget }) => busy(currentTarget, () => work().catch(problemIn("notice"))));
}

async function busy(button, work) {
  button.disabled = true;
  try {
    await work();
  } finally {
    button.disabled = false;
  }
}

function problemIn(id) {
  return (error) => {
    // The whole page shows that the person is signed out.
    if (!(error instanceof SignedOutError)) find(id).textContent = sentence(error);
  };
}

function sentence(error) {
  if (error instanceof UnavailableError) return "The token service cannot be reached. Please try again in a moment.";
  if (error instanceof OAuthError || error instanceof OrderError) return error.message;
  return "The orders service cannot be reached. Please try again in a moment.";
}
