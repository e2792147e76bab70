// What the test gives a program, and what the program reports: a JSON object on standard input, another one on standard output.
// Programs report the name of each step, as the page has it, with what the step brought.
import { createServer } from "node:http";
import { once } from "node:events";
import { text } from "node:stream/consumers";

export const given = JSON.parse(await text(process.stdin));

export function report(steps) {
  process.stdout.write(JSON.stringify(steps));
}

// Reports whom `verify` takes the bearer of each token for. `isRefusal` knows the library's own errors; any other one ends the program.
export async function validate(verify, isRefusal = () => false, step = "validation") {
  const bearers = {};
  for (const [name, token] of Object.entries(given.tokens)) {
    try {
      bearers[name] = await verify(token);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      bearers[name] = null;
    }
  }
  report({ [step]: bearers });
}

// The same for a service: `listener` answers requests with the `sub` of their token.
export async function validateRequests(listener) {
  const server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  await validate(async (token) => {
    const response = await fetch(`http://127.0.0.1:${server.address().port}/`, { headers: { Authorization: `Bearer ${token}` } });
    const body = await response.text();
    if (![200, 401].includes(response.status)) throw new Error(`${response.status}: ${body}`);
    return response.status === 200 ? body : null;
  });
  server.closeAllConnections();
  server.close();
}
