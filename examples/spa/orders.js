// The orders API, as the page needs it. `send` is Session.fetch: it adds the access token.

/** The service refused a request. `message` is a sentence for people. */
export class OrderError extends Error {}

export class Orders {
  constructor(url, send) {
    this.url = `${url.replace(/\/$/, "")}/orders`;
    this.send = send;
  }

  /** [{ id, item, quantity, invoice? }], the newest first. */
  async list() {
    return (await this.#request({})).reverse();
  }

  async place(item, quantity) {
    const body = JSON.stringify({ item, quantity });
    return this.#request({ method: "POST", headers: { "Content-Type": "application/json" }, body });
  }

  async #request(options) {
    const response = await this.send(this.url, options);
    if (response.ok) return response.json();
    throw new OrderError(await reason(response));
  }
}

async function reason(response) {
  if (response.status !== 422) return `The orders service responds ${response.status}.`;
  const { detail } = await response.json();
  return detail.map(({ field, problem }) => `${field}: ${problem}`).join("; ");
}
