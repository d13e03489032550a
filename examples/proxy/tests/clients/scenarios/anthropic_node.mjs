// The Anthropic SDK for TypeScript.

import Anthropic, { BadRequestError, NotFoundError } from "@anthropic-ai/sdk";
import { URL_BASE, collect, expect, operation, raises } from "./scenario.mjs";

const client = new Anthropic({ baseURL: URL_BASE, apiKey: "k", maxRetries: 0, timeout: 20_000 });
// The slug of the catalog's "Claude Sonnet 5".
const MODEL = "claude-sonnet-5";
const hello = [{ role: "user", content: "hello – 你好" }];

const create = (more) =>
  client.messages.create({ model: MODEL, max_tokens: 9, messages: hello, ...more });

await operation("create", async () => [(await create()).model], { asks: MODEL });
await operation(
  "stream",
  async () =>
    (await collect(await create({ stream: true }))).flatMap((event) =>
      event.type === "message_start" ? [event.message.model] : [],
    ),
  { asks: MODEL },
);
await operation(
  "stream helper",
  async () => {
    const stream = client.messages.stream({ model: MODEL, max_tokens: 9, messages: hello });
    return [(await stream.finalMessage()).model];
  },
  { asks: MODEL },
);
await operation(
  "count_tokens",
  async () => {
    const count = await client.messages.countTokens({ model: MODEL, messages: hello });
    expect(count.input_tokens === 7, `${count.input_tokens} tokens`);
  },
  { asks: MODEL, reads: "" },
);
// A near miss of the catalog's model, rejected in Anthropic's dialect.
await operation(
  "not found",
  async () => {
    const error = await raises(NotFoundError, () => create({ model: "claude-sonet-5" }));
    expect(error.error?.type === "error", `type ${error.error?.type}`);
    const type = error.error.error.type;
    expect(type === "not_found_error", `error type ${type}`);
  },
  { asks: "claude-sonet-5", upstream: "nothing", reads: "" },
);
await operation(
  "upstream error",
  async () => {
    const messages = [{ role: "user", content: "please fail" }];
    const error = await raises(BadRequestError, () => create({ messages }));
    const { message } = error.error.error;
    expect(message === `model ${MODEL} is overloaded`, `message ${message}`);
  },
  { asks: MODEL },
);

function check(model) {
  expect(model.type === "model", `type ${model.type}`);
  expect(model.display_name, "no display_name");
  expect(new Date(model.created_at).getFullYear() >= 2024, `created_at ${model.created_at}`);
}

await operation(
  "models list",
  async () => {
    const page = await client.models.list();
    expect(page.has_more === false, `has_more ${page.has_more}`);
    expect(page.last_id === page.data.at(-1).id, `last_id ${page.last_id}`);
    const models = await collect(page);
    models.forEach(check);
    expect(
      models.some((model) => model.id === "Claude Sonnet 5"),
      "no Claude Sonnet 5",
    );
  },
  { upstream: "nothing" },
);
await operation(
  "models retrieve",
  async () => {
    const model = await client.models.retrieve(MODEL);
    check(model);
    expect(model.id === "Claude Sonnet 5", `id ${model.id}`);
  },
  { upstream: "nothing" },
);
