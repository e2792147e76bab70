// The orders API, as the page needs it. `send` is Session.fetch: it brings the access token.

/** The service said no, in a sentence for people. */
export class OrderRefused extends Error {}

export class Orders {
  constructor(url, send) {
    this.url = `${url.replace(/\/$/, "")}/orders`;
    this.send = send;
  }

  /** [{ id, item, quantity, invoice? }], the newest first. */
  async list() {
    return (await this.#ask({})).reverse();
  }

  async place(item, quantity) {
    const body = JSON.stringify({ item, quantity });
    return this.#ask({ method: "POST", headers: { "Content-Type": "application/json" }, body });
  }

  async #ask(options) {
    const answer = await this.send(this.url, options);
    if (answer.ok) return answer.json();
    throw new OrderRefused(await reason(answer));
  }
}

async function reason(answer) {
  if (answer.status !== 422) return `The orders service answers ${answer.status}.`;
  const { detail } = await answer.json();
  return detail.map(({ field, problem }) => `${field}: ${problem}`).join("; ");
}
