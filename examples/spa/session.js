// Keeps a person signed in, in all tabs of a browser at once. No DOM and no dependencies: copy it into an app of yours.
//
// The access token is in the memory of each tab, the refresh token in a cookie that no script can read. One tab refreshes for
// all: a Web Lock says whose turn it is, a BroadcastChannel carries the news. Each piece of news has a time, and what is older
// than the last one heard is ignored. Only `invalid_grant` and a sign-out sign anybody out: while the token service is away, the
// access token goes on being used until it has expired, and the next one is asked for again and again.

const FRESH = 0.8; // the share of an access token's life after which the next one is fetched
const PATIENCE = 10_000; // ms for an answer; less than the refresh token's grace period, so that a late one does no harm
const OTHERS = 150; // ms in which another tab tells that it has a token
const RETRY = { first: 1_000, most: 30_000 }; // ms

/** Nobody is signed in. */
export class SignedOutError extends Error {}

/** The token service cannot be reached, or not now. `retryAfter`: ms that it asks to wait. */
export class UnavailableError extends Error {
  constructor(message, retryAfter = 0) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** The token service said no. `code` is the word of RFC 6749, `message` its sentence. */
export class Refused extends Error {
  constructor({ error = "", error_description = "" }) {
    super(error_description || error || "The request was refused.");
    this.code = error;
  }
}

/** Sends the event `change` when anything that can be read here has changed; its `detail` is a word for what happened. */
export class Session extends EventTarget {
  /** `starting`, `signed-in` or `signed-out`. */
  state = "starting";
  /** Whether the token service could not be reached at the last attempt, of whichever tab. */
  isAway = false;
  #token = null; // { text, freshUntil, expiresAt }, times in ms since the epoch
  #heardAt = 0;
  #failures = 0;
  #retryAt = 0;
  #renewing = null;
  #timer;

  /** `issuer`: the URL of the token service; `clientId`: a client with a refresh cookie, and this page's origin on its list. */
  constructor({ issuer, clientId }) {
    super();
    this.issuer = issuer.replace(/\/$/, "");
    this.clientId = clientId;
    this.lock = `authmint ${clientId}`;
    this.channel = new BroadcastChannel(this.lock);
    this.channel.onmessage = ({ data }) => this.#hear(data);
    globalThis.addEventListener("online", () => this.#wake());
    globalThis.document?.addEventListener("visibilitychange", () => this.#wake());
  }

  /** When the access token expires, in ms since the epoch; null without one. */
  get expiresAt() {
    return this.#token?.expiresAt ?? null;
  }

  /** Finds out who is signed in: from another tab, else from the token service. Throws nothing. */
  async start() {
    await this.#renew();
  }

  /** Throws Refused for a wrong name or password, UnavailableError. */
  async signIn(username, password) {
    await this.#inTurn(async () => this.#tell("signed in", await this.#ask({ grant_type: "password", username, password })));
  }

  /** Ends this browser's session, in all its tabs; `everywhere`: and those on all other devices. Throws UnavailableError, Refused. */
  async signOut({ everywhere = false } = {}) {
    const bearer = everywhere ? await this.accessToken() : null;
    await this.#inTurn(async () => {
      if (bearer) await this.#post("/account/v1/sessions", { method: "DELETE", headers: { Authorization: `Bearer ${bearer}` } });
      await this.#post("/revoke", this.#form({}));
      this.#tell("signed out", null);
    });
  }

  /** A token that has not expired. Throws SignedOutError, or UnavailableError when there is none left and no other to be had. */
  async accessToken() {
    if (!this.#isGood("expiresAt")) await this.#renew();
    if (this.#isGood("expiresAt")) return this.#token.text;
    throw this.state === "signed-out" ? new SignedOutError("Nobody is signed in.") : new UnavailableError("There is no access token.");
  }

  /** As `fetch`, with the access token; once more with a new one if a service does not take it, because its session has ended. */
  async fetch(url, options = {}) {
    const text = await this.accessToken();
    const answer = await fetch(url, withToken(options, text));
    if (answer.status !== 401) return answer;
    if (this.#token?.text === text) this.#token = null;
    return fetch(url, withToken(options, await this.accessToken()));
  }

  // Whose turn it is

  #inTurn(work) {
    return navigator.locks.request(this.lock, work);
  }

  #renew() {
    this.#renewing ??= this.#inTurn(() => this.#renewInTurn()).finally(() => {
      this.#renewing = null;
      this.#schedule();
    });
    return this.#renewing;
  }

  async #renewInTurn() {
    // While this tab waited for its turn, another may have done it, or found out that it cannot be done now.
    if (this.#hasNothingToDo() || (await this.#othersKnow())) return;
    try {
      this.#tell("refreshed", await this.#ask({ grant_type: "refresh_token" }));
    } catch (error) {
      if (error.code === "invalid_grant") this.#tell("signed out", null);
      else this.#wait(error.retryAfter ?? 0);
    }
  }

  #hasNothingToDo() {
    return this.#isSettled() || Date.now() < this.#retryAt;
  }

  #isSettled() {
    return this.state === "signed-out" || this.#isGood("freshUntil");
  }

  #isGood(until) {
    return this.#token !== null && Date.now() < this.#token[until];
  }

  #wait(retryAfter) {
    this.#failures += 1;
    const pause = Math.min(RETRY.most, RETRY.first * 2 ** (this.#failures - 1));
    const retryAt = Date.now() + Math.max(pause, retryAfter);
    this.channel.postMessage({ retryAt });
    this.#pause(retryAt);
  }

  #pause(retryAt) {
    this.isAway = true;
    this.#retryAt = retryAt;
    this.#schedule();
    this.#changed("away");
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (this.state === "signed-out") return;
    const next = Math.max(this.#retryAt, this.#token?.freshUntil ?? 0);
    // A little apart, so that the tabs do not all come at once to see that one has been faster.
    this.#timer = setTimeout(() => this.#renew(), Math.max(0, next - Date.now()) + Math.random() * 100);
  }

  #wake() {
    // After a sleep, or when the network is back, there is no reason to sit out the pause.
    if (globalThis.document?.visibilityState === "hidden" || this.#isSettled()) return;
    this.#retryAt = 0;
    this.#renew();
  }

  // What the tabs tell each other

  #othersKnow() {
    return new Promise((resolve) => {
      const done = () => resolve(this.#hasNothingToDo());
      this.addEventListener("change", done, { once: true });
      setTimeout(done, OTHERS);
      this.channel.postMessage({ ask: true });
    });
  }

  #tell(what, token) {
    const news = { what, token, at: Math.max(Date.now(), this.#heardAt + 1) };
    this.channel.postMessage(news);
    this.#learn(news);
  }

  #hear(message) {
    if (message.retryAt) this.#pause(message.retryAt);
    else if (!message.ask) this.#learn({ ...message, what: `${message.what} by another tab` });
    else if (this.#isGood("freshUntil")) {
      this.channel.postMessage({ what: "told", token: this.#token, at: this.#heardAt });
    }
  }

  #learn({ what, token, at }) {
    if (at <= this.#heardAt) return;
    this.#heardAt = at;
    this.#token = token;
    this.state = token ? "signed-in" : "signed-out";
    this.isAway = false;
    this.#failures = this.#retryAt = 0;
    this.#schedule();
    this.#changed(what);
  }

  #changed(what) {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }

  // What the token service is asked

  async #ask(form) {
    const sentAt = Date.now();
    const { access_token: text, expires_in: seconds } = await this.#post("/token", this.#form(form));
    return { text, freshUntil: sentAt + seconds * 1000 * FRESH, expiresAt: sentAt + seconds * 1000 };
  }

  #form(fields) {
    // `keepalive`: a reload must not lose the answer, and the cookie that comes with it.
    const body = new URLSearchParams({ client_id: this.clientId, ...fields });
    return { method: "POST", credentials: "include", keepalive: true, body };
  }

  async #post(path, options) {
    let answer, content;
    try {
      answer = await fetch(this.issuer + path, { ...options, signal: AbortSignal.timeout(PATIENCE) });
      content = (await answer.text()) || "{}";
    } catch (error) {
      throw new UnavailableError(String(error.message));
    }
    if (answer.status === 429 || answer.status >= 500) {
      throw new UnavailableError(`The token service answers ${answer.status}.`, 1000 * (Number(answer.headers.get("Retry-After")) || 0));
    }
    const members = asObject(content);
    if (!answer.ok) throw new Refused(members);
    return members;
  }
}

function withToken(options, text) {
  const headers = new Headers(options.headers);
  headers.set("Authorization", `Bearer ${text}`);
  return { ...options, headers };
}

function asObject(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {};
  }
}
