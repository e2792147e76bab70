// The routes of the token service that session.js needs. Every response is checked: what is not one of a token service, such as
// the page of a hotel's network, counts as unavailable, whatever its status.

const FRESH_SHARE = 0.8; // of an access token's life; then the next one is fetched
const MAX_LIFE = 10 * 366 * 86_400; // s; what says that it lives longer is no token
export const TIMEOUT = 10_000; // ms for a response; less than the refresh token's grace period, so that a late one does no harm

/** The token service is unavailable. `retryAfter`: ms after which to try again, if it says so; `status`: that of HTTP, if there is one. */
export class UnavailableError extends Error {
  constructor(message, retryAfter = 0, status = null) {
    super(message);
    this.retryAfter = retryAfter;
    this.status = status;
  }
}

/** The token service refused a request. `code` is the error code of RFC 6749 or of the problem, `message` its description, `status` that of HTTP. */
export class OAuthError extends Error {
  constructor({ error, error_description, code, detail }, status) {
    super([detail, error_description, code, error].find(isText));
    this.code = [code, error].find(isText);
    this.status = status;
  }
}

/** Each method throws UnavailableError or OAuthError. */
export class TokenService {
  #clientId;

  /** `clientId`: a client with a refresh cookie, which the browser sends along and keeps. */
  constructor(issuer, clientId) {
    this.url = issuer.replace(/\/$/, "");
    this.#clientId = clientId;
  }

  /** The URL of a path of the token service. A text that leads elsewhere is a TypeError: a token goes along. */
  urlOf(path) {
    const url = new URL(this.url + path).href;
    if (!String(path).startsWith("/") || !url.startsWith(`${this.url}/`)) throw new TypeError("This is no path of the token service.");
    return url;
  }

  /** `form`: the grant. The token: { text, freshUntil, expiresAt }, times in ms since the epoch. */
  async requestToken(form) {
    const sentAt = Date.now();
    const { access_token: text, token_type: type, expires_in: seconds } = await this.#post("/token", form);
    const isBearerToken = isTokenText(text) && /^bearer$/i.test(type);
    if (!isBearerToken || !Number.isFinite(seconds) || seconds < 1 || seconds > MAX_LIFE) {
      throw new UnavailableError("The response has no access token.");
    }
    return { text, freshUntil: sentAt + seconds * 1000 * FRESH_SHARE, expiresAt: sentAt + seconds * 1000 };
  }

  /** Revoke the session of the cookie. */
  async revoke() {
    await this.#post("/revoke", {});
  }

  /** Revoke the person's other sessions. Whether this one was kept. */
  async revokeOthers(bearer) {
    return this.#prove("/account/v1/sessions/revoke-others", bearer, { method: "POST" });
  }

  /** Change the password, and do the same. */
  async changePassword(bearer, currentPassword, newPassword) {
    const body = new URLSearchParams({ current_password: currentPassword, new_password: newPassword });
    return this.#prove("/account/v1/password", bearer, { method: "PUT", body });
  }

  async #prove(path, bearer, options) {
    // The cookie proves that this is the session itself. Without it this session would be revoked, too.
    const { this_session } = await this.#send(path, { ...options, headers: { Authorization: `Bearer ${bearer}` } });
    if (this_session !== "kept" && this_session !== "revoked") throw new UnavailableError("The response says nothing of this session.");
    return this_session === "kept";
  }

  #post(path, form) {
    return this.#send(path, { method: "POST", body: new URLSearchParams({ client_id: this.#clientId, ...form }) });
  }

  async #send(path, options) {
    let response, content;
    try {
      // `keepalive`: a reload must not lose the response, and the cookie that comes with it. No redirect is followed: what is sent
      // here is for the token service alone.
      const always = { credentials: "include", keepalive: true, redirect: "error", signal: AbortSignal.timeout(TIMEOUT) };
      response = await fetch(this.url + path, { ...options, ...always });
      content = await response.text();
    } catch (error) {
      throw new UnavailableError(String(error.message));
    }
    const members = asObject(content);
    const isError = [members?.code, members?.error].some(isText);
    if (response.status === 200 && members && !isError) return members;
    const isRefusal = 400 <= response.status && response.status < 500 && response.status !== 429;
    if (isRefusal && isError) throw new OAuthError(members, response.status);
    throw new UnavailableError(`The token service responds ${response.status}.`, retryAfter(response), response.status);
  }
}

/** Whether a message of another tab has a token in it. */
export function isToken(value) {
  return isTokenText(value?.text) && Number.isFinite(value.freshUntil) && Number.isFinite(value.expiresAt);
}

function isTokenText(value) {
  return isText(value) && /^[\x21-\x7e]+$/.test(value);
}

function isText(value) {
  return typeof value === "string" && value !== "";
}

function asObject(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** ms, from a number of seconds or a date (RFC 9110, section 10.2.3); 0 without either. */
function retryAfter(response) {
  const value = response.headers.get("Retry-After") ?? "";
  const pause = /^\d+$/.test(value) ? 1000 * Number(value) : Date.parse(value) - Date.now();
  return pause > 0 ? pause : 0;
}
