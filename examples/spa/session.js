// Keeps a person signed in, in all tabs of a browser at once. No DOM and no dependencies: copy it and token_service.js into an app
// of yours.
//
// The access token is in the memory of each tab, the refresh token in a cookie that no script can read. One tab refreshes for
// all: a Web Lock makes sure that it is one, a BroadcastChannel carries its updates to the others. Each update has a time, and a
// tab ignores one that is older than the last. Only `invalid_grant` and a sign-out sign a person out: while the token service is
// unavailable, the access token is used until it expires, and the refresh is tried again and again.
//
// A sign-out always ends this session. While the token service cannot be told, a note in `localStorage` says so: no tab refreshes,
// and the page revokes the session as soon as it can, also after the browser was closed.
//
// The token service's own routes take no token that other services receive as well. A second token for them is fetched when a tab
// needs one, by a refresh that names the token service. The tabs share it like the first, and it is sent nowhere else.

import { OAuthError, TIMEOUT, TokenService, UnavailableError, isToken } from "./token_service.js";

export { OAuthError, UnavailableError };

const LOCK_TIMEOUT = 3 * TIMEOUT; // ms to wait for other tabs, which hold the lock for a request each
const OTHER_TABS = 150; // ms in which another tab sends its token
const CLOSED_TAB = 2_000; // ms after which another tab goes on with a sign-out
const RETRY = { first: 1_000, max: 30_000 }; // ms
const MAX_PAUSE = 300_000; // ms without an attempt, whatever the token service asks for
const MAX_TIMER = 3_600_000; // ms; browsers end a timer of more than 25 days at once

/** No one is signed in. */
export class SignedOutError extends Error {}

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
  #replacedAt = { access: 0, account: 0 };
  #timer;

  /** `issuer`: the URL of the token service, as it stands in its settings; `clientId`: a client with a refresh cookie, and this page's origin on its list. */
  constructor({ issuer, clientId }) {
    super();
    this.audience = issuer;
    this.service = new TokenService(issuer, clientId);
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
    if (isEnding(this.lock)) this.#apply({ what: "signed-out", token: null, at: Date.now() });
    await this.#renew();
  }

  /** Throws OAuthError for a wrong username or password, UnavailableError. */
  async signIn(username, password) {
    await this.#withLock(async () => {
      if (isEnding(this.lock)) await this.service.revoke().catch(onlyIfUnavailable);
      const token = await this.service.requestToken({ grant_type: "password", username, password });
      setEnding(this.lock, false);
      this.#publish("signed-in", token);
    });
  }

  /**
   * Sign out here, in all tabs, whatever the token service responds; `everywhere`: and on other devices. Throws UnavailableError and
   * OAuthError, signed out all the same: this session is then revoked later, and those on other devices may go on.
   */
  async signOut(options) {
    const everywhere = options?.everywhere ?? false;
    const problems = [];
    const bearer = this.#hasAccountToken() ? this.#accountToken.text : null;
    // Before the first request: the tab may be closed in the middle of it.
    setEnding(this.lock, true);
    this.#publish("signed-out", null);
    await this.#withLock(async () => {
      const revokeOthers = () => this.#proveWithLock(bearer, (text) => this.service.revokeOthers(text));
      if (everywhere) await revokeOthers().catch((error) => problems.push(error));
      await this.#end();
    }).catch((error) => {
      this.#retryLater(error.retryAfter ?? 0);
      problems.push(error);
    });
    if (problems.length > 0) throw problems[0];
  }

  /** Revoke the sessions on all other devices. The cookie is renewed: a copy of it is worth nothing. Throws UnavailableError, OAuthError. */
  async signOutElsewhere() {
    await this.#prove((bearer) => this.service.revokeOthers(bearer));
  }

  /** Change the password, and do the same. Throws as well: the code `wrong_password`, or what is wrong with the new one. */
  async changePassword(currentPassword, newPassword) {
    await this.#prove((bearer) => this.service.changePassword(bearer, currentPassword, newPassword));
  }

  /** Return a token that has not expired. Throws SignedOutError; UnavailableError when there is none and no other can be fetched. */
  async accessToken() {
    if (!this.#isGood("expiresAt")) await this.#renew();
    if (this.#isGood("expiresAt")) return this.#token.text;
    throw this.state === "signed-out" ? new SignedOutError("No one is signed in.") : new UnavailableError("There is no access token.");
  }

  /**
   * As `fetch`, with the access token; after a 401 once more with a new one, if there is one: the token may be of a revoked session.
   * A body that is a stream is sent once. Throws what `accessToken` throws as well.
   */
  async fetch(input, init) {
    const refuse = async (refused) => {
      if (this.#token?.text === refused && this.#mayReplace("access")) this.#token.freshUntil = 0;
      await this.#renew();
      return this.accessToken();
    };
    return this.#send(new Request(input, init), init, () => this.accessToken(), refuse);
  }

  /** The same for a path of the token service's own, such as `/account/v1`, with a token for it alone. TypeError for any other text. */
  async fetchAccount(path, init) {
    const url = this.service.urlOf(path);
    const refuse = async (refused) => {
      if (this.#accountToken?.text === refused && this.#mayReplace("account")) this.#accountToken = null;
      return this.#getAccountToken();
    };
    return this.#send(new Request(url, init), init, () => this.#getAccountToken(), refuse);
  }

  async #send(request, init, getToken, refuse) {
    const copy = init?.body instanceof ReadableStream ? null : request.clone();
    const text = await abortable(getToken(), request.signal);
    const response = await fetch(withToken(request, text));
    if (response.status !== 401 || !copy) return response;
    const other = await abortable(refuse(text).catch(onlyIfSignedOut), copy.signal);
    if (!other || other === text) return response;
    await response.body?.cancel();
    return fetch(withToken(copy, other));
  }

  #mayReplace(kind) {
    // A service that refuses good tokens as well must not make this page refresh each time.
    if (Math.abs(Date.now() - this.#replacedAt[kind]) < RETRY.max) return false;
    this.#replacedAt[kind] = Date.now();
    return true;
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
      this.#accountToken = await this.service.requestToken({ grant_type: "refresh_token", resource: this.audience });
      this.channel.postMessage({ account: this.#accountToken, at: this.#updatedAt });
    } catch (error) {
      if (error.code !== "invalid_grant") throw error;
      this.#publish("signed-out", null);
    }
  }

  async #prove(work) {
    const bearer = await this.#getAccountToken();
    await this.#withLock(() => this.#proveWithLock(bearer, work));
  }

  async #proveWithLock(bearer, work) {
    // The cookie is replaced: a refresh at the same time would present the old one, and sign the person out.
    const fetchToken = async () => (await this.service.requestToken({ grant_type: "refresh_token", resource: this.audience })).text;
    const isKept = await work(bearer ?? (await fetchToken())).catch(async (error) => {
      if (error.status !== 401) throw error;
      // The token is from before a change of what it may be used for.
      return work(await fetchToken());
    });
    if (!isKept) this.#publish("signed-out", null);
  }

  async #end() {
    await this.service.revoke();
    setEnding(this.lock, false);
    this.#publish("signed-out", null);
  }

  // One tab at a time

  async #withLock(work) {
    try {
      return await navigator.locks.request(this.lock, { signal: AbortSignal.timeout(LOCK_TIMEOUT) }, work);
    } catch (error) {
      throw error.name === "TimeoutError" ? new UnavailableError("Another tab is busy.") : error;
    }
  }

  #renew() {
    this.#renewing ??= this.#withLock(() => this.#renewWithLock())
      .catch(() => this.#retryLater(0))
      .finally(() => {
        this.#renewing = null;
        this.#schedule();
      });
    return this.#renewing;
  }

  async #renewWithLock() {
    // While this tab waited for the lock, another may have refreshed, or found the token service unavailable.
    if (this.#hasNothingToDo()) return;
    try {
      // Unless another tab has done it.
      if (isEnding(this.lock)) await this.#end();
      else if (!(await this.#askOtherTabs())) this.#publish("refreshed", await this.service.requestToken({ grant_type: "refresh_token" }));
    } catch (error) {
      if (error.code === "invalid_grant") this.#publish("signed-out", null);
      else this.#retryLater(error.retryAfter ?? 0);
    }
  }

  #hasNothingToDo() {
    const pause = this.#retryAt - Date.now();
    // A longer one is of a clock that was set back meanwhile.
    return this.#isSettled() || (0 < pause && pause <= MAX_PAUSE);
  }

  #isSettled() {
    return !isEnding(this.lock) && (this.state === "signed-out" || this.#isGood("freshUntil"));
  }

  #isGood(until) {
    return this.#token !== null && Date.now() < this.#token[until];
  }

  #retryLater(retryAfter) {
    this.#failures += 1;
    const pause = Math.min(RETRY.max, RETRY.first * 2 ** (this.#failures - 1));
    const retryAt = Date.now() + Math.min(MAX_PAUSE, Math.max(pause, retryAfter));
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
    if (this.state === "signed-out" && !isEnding(this.lock)) return;
    const pause = Math.max(this.#retryAt, this.#token?.freshUntil ?? 0) - Date.now();
    // With some jitter, so that the tabs do not all ask for the lock at once.
    this.#timer = setTimeout(() => this.#renew(), Math.min(MAX_TIMER, Math.max(0, pause)) + Math.random() * 100);
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
    // That tab may have another version of these files.
    if (!isMessage(message)) return;
    if (message.retryAt) this.#pause(Math.min(message.retryAt, Date.now() + MAX_PAUSE));
    else if (message.what === "received") this.#apply(message);
    else if (message.what) this.#apply({ ...message, what: `${message.what}-elsewhere` });
    else if (message.account && message.at === this.#updatedAt) this.#accountToken = message.account;
    else if (message.ask && this.#isGood("freshUntil")) {
      this.channel.postMessage({ what: "received", token: this.#token, account: this.#accountToken, at: this.#updatedAt });
    }
  }

  #apply({ what, token, account = null, at }) {
    if (at <= this.#updatedAt) return;
    // A refresh that was under way does not undo a sign-out.
    if (token && !what.startsWith("signed-in") && isEnding(this.lock)) return;
    this.#updatedAt = at;
    this.#token = token;
    // The one before may be another person's, who was signed in before this update.
    this.#accountToken = account;
    this.state = token ? "signed-in" : "signed-out";
    this.isOffline = false;
    this.#failures = this.#retryAt = 0;
    // The tab that signs out revokes the session, and asks for the lock just now. Another does it if that one is closed meanwhile.
    if (what === "signed-out-elsewhere" && isEnding(this.lock)) this.#retryAt = Date.now() + CLOSED_TAB;
    this.#schedule();
    this.#dispatch(what);
  }

  #dispatch(what) {
    this.dispatchEvent(new CustomEvent("change", { detail: what }));
  }
}

/** Whether this is what a tab sends: a time to wait until, a question, an update with its time, or a token for the account. */
function isMessage(message) {
  if (typeof message !== "object" || message === null) return false;
  const { retryAt, ask, what, token, account = null, at } = message;
  if (retryAt !== undefined) return Number.isFinite(retryAt);
  if (ask) return true;
  const isUpdate = typeof what === "string" && (token === null || isToken(token));
  return Number.isSafeInteger(at) && (account === null ? isUpdate : isToken(account) && (isUpdate || what === undefined));
}

function withToken(request, text) {
  request.headers.set("Authorization", `Bearer ${text}`);
  return request;
}

/** The promise's result, but an error as soon as the signal is aborted. */
function abortable(promise, signal) {
  return new Promise((resolve, reject) => {
    promise.then(resolve, reject);
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

function onlyIfUnavailable(error) {
  if (error instanceof UnavailableError) throw error;
}

function onlyIfSignedOut(error) {
  if (error instanceof SignedOutError) throw error;
}

// The note of a sign-out that the token service has not heard of yet. It holds nothing of the session. Without storage the
// sign-out is forgotten with the page.

function isEnding(key) {
  try {
    return localStorage.getItem(key) !== null;
  } catch {
    return false;
  }
}

function setEnding(key, isOn) {
  try {
    if (isOn) localStorage.setItem(key, "signing out");
    else localStorage.removeItem(key);
  } catch {
    // Storage is full, or switched off.
  }
}
