// Keeps a person signed in, in all tabs of a browser at once. No DOM and no dependencies: copy it into an app of yours.
//
// The access token is in the memory of each tab, the refresh token in a cookie that no script can read. One tab refreshes for
// all: a Web Lock makes sure that it is one, a BroadcastChannel carries its updates to the others. Each update has a time, and a
// tab ignores one that is older than the last. Only `invalid_grant` and a sign-out sign a person out: while the token service is
// unavailable, the access token is used until it expires, and the refresh is tried again and again.
//
// The token service's own routes take no token that other services receive as well. A second token for them is fetched when a tab
// needs one, by a refresh that names the token service. The tabs share it like the first, and it is sent nowhere else.

const FRESH_SHARE = 0.8; // of an access token's life; then the next one is fetched
const TIMEOUT = 10_000; // ms for a response; less than the refresh token's grace period, so that a late one does no harm
const OTHER_TABS = 150; // ms in which another tab sends its token
const RETRY = { first: 1_000, max: 30_000 }; // ms

/** No one is signed in. */
export class SignedOutError extends Error {}

/** The token service is unavailable. `retryAfter`: ms after which to try again, if it says so. */
export class UnavailableError extends Error {
  constructor(message, retryAfter = 0) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

/** The token service refused a request. `code` is the error code of RFC 6749 or of the problem, `message` its description, `status` that of HTTP. */
export class OAuthError extends Error {
  constructor({ error = "", error_description = "", code = error, detail = error_description }, status) {
    super(detail || code || "The request was refused.");
    this.code = code;
    this.status = status;
  }
}

/**
 * Dispatches the event `change` when anything public has changed. Its `detail`: `signed-in`, `refreshed`, `signed-out`, the same
 * with `-elsewhere` for the work of another tab, `received` for a token from another tab, `offline`.
 */
export class Session extends EventTarget {
  /** `starting`, `signed-in` or `signed-out`. */
  state = "starting";
  /** Whether the token service was unavailable at the last attempt of any tab. */
  isOffline = false;
  #token = null; // { text, freshUntil, expiresAt }, times in ms since the epoch
  #accountToken = null; // the same, for the token service's own routes
  #fetchingAccountToken = null;
  #updatedAt = 0;
  #failures = 0;
  #retryAt = 0;
  #renewing = null;
  #timer;

  /** `issuer`: the URL of the token service, as it stands in its settings; `clientId`: a client with a refresh cookie, and this page's origin on its list. */
  constructor({ issuer, clientId }) {
    super();
    this.issuer = issuer.replace(/\/$/, "");
    this.audience = issuer;
    this.clientId = clientId;
    this.lock = `authmint ${clientId}`;
    this.channel = new BroadcastChannel(this.lock);
    this.channel.onmessage = ({ data }) => this.#receive(data);
    globalThis.addEventListener("online", () => this.#wake());
    globalThis.document?.addEventListener("visibilitychange", () => this.#wake());
  }

  /** When the access token expires, in ms since the epoch; null without one. */
  get expiresAt() {
    return this.#token?.expiresAt ?? null;
  }

  /** Restore the session: from another tab, else from the token service. Throws nothing. */
  async start() {
    await this.#renew();
  }

  /** Throws OAuthError for a wrong username or password, UnavailableError. */
  async signIn(username, password) {
    await this.#withLock(async () => this.#publish("signed-in", await this.#requestToken({ grant_type: "password", username, password })));
  }

  /** Revoke this browser's session, in all its tabs; `everywhere`: and those on other devices. Throws UnavailableError, OAuthError. */
  async signOut({ everywhere = false } = {}) {
    if (everywhere) await this.signOutElsewhere();
    await this.#withLock(async () => {
      await this.#post("/revoke", this.#form({}));
      this.#publish("signed-out", null);
    });
  }

  /** Revoke the sessions on all other devices. The cookie is renewed: a copy of it is worth nothing. Throws as `signOut`. */
  async signOutElsewhere() {
    await this.#prove("/account/v1/sessions/revoke-others", { method: "POST" });
  }

  /** Change the password, and do the same. Throws as `signOut`: the code `wrong_password`, or what is wrong with the new one. */
  async changePassword(currentPassword, newPassword) {
    const body = new URLSearchParams({ current_password: currentPassword, new_password: newPassword });
    await this.#prove("/account/v1/password", { method: "PUT", body });
  }

  /** Return a token that has not expired. Throws SignedOutError; UnavailableError when there is none and no other can be fetched. */
  async accessToken() {
    if (!this.#isGood("expiresAt")) await this.#renew();
    if (this.#isGood("expiresAt")) return this.#token.text;
    throw this.state === "signed-out" ? new SignedOutError("No one is signed in.") : new UnavailableError("There is no access token.");
  }

  /** As `fetch`, with the access token; after a 401 once more with a new one: the token may be of a revoked session. */
  async fetch(url, options = {}) {
    const text = await this.accessToken();
    const response = await fetch(url, withToken(options, text));
    if (response.status !== 401) return response;
    if (this.#token?.text === text) this.#token = null;
    return fetch(url, withToken(options, await this.accessToken()));
  }

  /** The same for a path of the token service's own, such as `/account/v1`, with a token for it alone. */
  async fetchAccount(path, options = {}) {
    const text = await this.#getAccountToken();
    const response = await fetch(this.issuer + path, withToken(options, text));
    if (response.status !== 401) return response;
    if (this.#accountToken?.text === text) this.#accountToken = null;
    return fetch(this.issuer + path, withToken(options, await this.#getAccountToken()));
  }

  async #prove(path, options) {
    const text = await this.#getAccountToken();
    try {
      await this.#postProof(path, options, text);
    } catch (error) {
      if (error.status !== 401) throw error;
      // The token is from before a change of what it may be used for.
      if (this.#accountToken?.text === text) this.#accountToken = null;
      await this.#postProof(path, options, await this.#getAccountToken());
    }
  }

  #postProof(path, options, bearer) {
    // The cookie proves that this is the session itself. Without it this session would be revoked, too. It is replaced: a
    // refresh at the same time would present the old one, and sign the person out.
    return this.#withLock(async () => {
      const { this_session } = await this.#post(path, withToken({ ...options, credentials: "include", keepalive: true }, bearer));
      if (this_session === "revoked") this.#publish("signed-out", null);
    });
  }

  async #getAccountToken() {
    if (!this.#hasAccountToken()) {
      this.#fetchingAccountToken ??= this.#withLock(() => this.#fetchAccountToken()).finally(() => {
        this.#fetchingAccountToken = null;
      });
      await this.#fetchingAccountToken;
    }
    if (this.#accountToken) return this.#accountToken.text;
    throw new SignedOutError("No one is signed in.");
  }

  #hasAccountToken() {
    return this.#accountToken !== null && Date.now() < this.#accountToken.freshUntil;
  }

  async #fetchAccountToken() {
    // While this tab waited for the lock, another may have fetched one, or signed out.
    if (this.state === "signed-out" || this.#hasAccountToken()) return;
    try {
      this.#accountToken = await this.#requestToken({ grant_type: "refresh_token", resource: this.audience });
      this.channel.postMessage({ account: this.#accountToken, at: this.#updatedAt });
    } catch (error) {
      if (error.code !== "invalid_grant") throw error;
      this.#publish("signed-out", null);
    }
  }

  // One tab at a time

  #withLock(work) {
    return navigator.locks.request(this.lock, work);
  }

  #renew() {
    this.#renewing ??= this.#withLock(() => this.#renewWithLock()).finally(() => {
      this.#renewing = null;
      this.#schedule();
    });
    return this.#renewing;
  }

  async #renewWithLock() {
    // While this tab waited for the lock, another may have refreshed, or found the token service unavailable.
    if (this.#hasNothingToDo() || (await this.#askOtherTabs())) return;
    try {
      this.#publish("refreshed", await this.#requestToken({ grant_type: "refresh_token" }));
    } catch (error) {
      if (error.code === "invalid_grant") this.#publish("signed-out", null);
      else this.#retryLater(error.retryAfter ?? 0);
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

  #retryLater(retryAfter) {
    this.#failures += 1;
    const pause = Math.min(RETRY.max, RETRY.first * 2 ** (this.#failures - 1));
    const retryAt = Date.now() + Math.max(pause, retryAfter);
    this.channel.postMessage({ retryAt });
    this.#pause(retryAt);
  }

  #pause(retryAt) {
    this.isOffline = true;
    this.#retryAt = retryAt;
    this.#schedule();
    this.#dispatch("offline");
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (this.state === "signed-out") return;
    const next = Math.max(this.#retryAt, this.#token?.freshUntil ?? 0);
    // With some jitter, so that the tabs do not all ask for the lock at once.
    this.#timer = setTimeout(() => this.#renew(), Math.max(0, next - Date.now()) + Math.random() * 100);
  }

  #wake() {
    // After a sleep, or when the network is back, there is no reason to wait for the retry.
    if (globalThis.document?.visibilityState === "hidden" || this.#isSettled()) return;
    this.#retryAt = 0;
    this.#renew();
  }

  // Messages between tabs

  #askOtherTabs() {
    return new Promise((resolve) => {
      const done = () => resolve(this.#hasNothingToDo());
      this.addEventListener("change", done, { once: true });
      setTimeout(done, OTHER_TABS);
      this.channel.postMessage({ ask: true });
    });
  }

  #publish(what, token) {
    const update = { what, token, at: Math.max(Date.now(), this.#updatedAt + 1) };
    this.channel.postMessage(update);
    this.#apply(update);
  }

  #receive(message) {
    if (message.retryAt) this.#pause(message.retryAt);
    else if (message.what === "received") this.#apply(message);
    else if (message.what) this.#apply({ ...message, what: `${message.what}-elsewhere` });
    else if (message.account && message.at === this.#updatedAt) this.#accountToken = message.account;
    else if (message.ask && this.#isGood("freshUntil")) {
      this.channel.postMessage({ what: "received", token: this.#token, account: this.#accountToken, at: this.#updatedAt });
    }
  }

  #apply({ what, token, account = null, at }) {
    if (at <= this.#updatedAt) return;
    this.#updatedAt = at;
    this.#token = token;
    // The one before may be another person's, who was signed in before this update.
    this.#accountToken = account;
    this.state = token ? "signed-in" : "signed-out";
    this.isOffline = false;
    this.#failures = this.#retryAt = 0;
    this.#schedule();
    this.#dispatch(what);
  }

  #dispatch(what) {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }

  // Requests to the token service

  async #requestToken(form) {
    const sentAt = Date.now();
    const { access_token: text, expires_in: seconds } = await this.#post("/token", this.#form(form));
    return { text, freshUntil: sentAt + seconds * 1000 * FRESH_SHARE, expiresAt: sentAt + seconds * 1000 };
  }

  #form(fields) {
    // `keepalive`: a reload must not lose the response, and the cookie that comes with it.
    const body = new URLSearchParams({ client_id: this.clientId, ...fields });
    return { method: "POST", credentials: "include", keepalive: true, body };
  }

  async #post(path, options) {
    let response, content;
    try {
      response = await fetch(this.issuer + path, { ...options, signal: AbortSignal.timeout(TIMEOUT) });
      content = (await response.text()) || "{}";
    } catch (error) {
      throw new UnavailableError(String(error.message));
    }
    if (response.status === 429 || response.status >= 500) {
      throw new UnavailableError(`The token service responds ${response.status}.`, 1000 * (Number(response.headers.get("Retry-After")) || 0));
    }
    const members = asObject(content);
    if (!response.ok) throw new OAuthError(members, response.status);
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
