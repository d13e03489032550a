// What the Node scenarios share: an operation's expectations, and its report to the runner.

export const URL_BASE = process.env.CLIENTS_URL;
const CONTROL = process.env.CLIENTS_CONTROL;
const ONLY = process.env.CLIENTS_OPERATION;

// Runs an operation of a client, and reports the models that it read. See scenario.py.
export async function operation(name, call, { asks = null, upstream, reads } = {}) {
  if (ONLY && ONLY !== name) return;
  upstream ??= asks ? "replaced" : "as sent";
  reads ??= asks;
  for (const compresses of ["asked", "always"]) {
    await post("begin", { operation: name, compresses, asks, upstream, reads });
    await post("end", { error: await errorOf(call, reads) });
  }
}

async function errorOf(call, reads) {
  try {
    const models = (await call()) ?? null;
    if (models?.length === 0) return "the client read no model";
    const wrong = models?.find((model) => model !== reads);
    return wrong === undefined ? null : `the client read model ${wrong}, not ${reads}`;
  } catch (exception) {
    return `${exception.constructor.name}: ${exception.message}`;
  }
}

export function expect(condition, message) {
  if (!condition) throw new Error(message);
}

// Returns the exception of a call that must fail.
export async function raises(kind, call) {
  try {
    await call();
  } catch (exception) {
    if (exception instanceof kind) return exception;
    throw exception;
  }
  throw new Error(`no ${kind.name}`);
}

export async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

async function post(event, fields) {
  const response = await fetch(`${CONTROL}/${event}`, {
    method: "POST",
    body: JSON.stringify(fields),
  });
  await response.text();
}
