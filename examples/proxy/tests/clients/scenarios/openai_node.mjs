// The OpenAI SDK for Node.

import OpenAI, { BadRequestError, NotFoundError, toFile } from "openai";
import { URL_BASE, collect, expect, operation, raises } from "./scenario.mjs";

const client = new OpenAI({
  baseURL: `${URL_BASE}/v1`,
  apiKey: "k",
  maxRetries: 0,
  timeout: 20_000,
});
const LLM = "Venice-Uncensored";
const EMBEDDING = "Text-Embedding-BGE-M3";
const TTS = "TTS-Kokoro";
const STT = "Whisper-1";
const IMAGE = "venice-sd35";
const messages = [{ role: "user", content: "hello – 你好" }];
const audio = await toFile(Buffer.from("RIFF0000WAVE"), "a.wav", { type: "audio/wav" });
const image = await toFile(Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), "a.png", {
  type: "image/png",
});

const chat = (model, more) => client.chat.completions.create({ model, messages, ...more });

await operation("chat", async () => [(await chat(LLM)).model], { asks: LLM });
await operation(
  "chat stream",
  async () => (await collect(await chat(LLM, { stream: true }))).map((chunk) => chunk.model),
  { asks: LLM },
);
// An operator's alias is what the client asked for, and so what it reads.
await operation("chat alias", async () => [(await chat("gpt-4o-mini")).model], {
  asks: "gpt-4o-mini",
});
// A typo must not end at another model.
await operation(
  "chat near miss",
  async () => {
    const error = await raises(NotFoundError, () => chat("venice-uncensord"));
    expect(error.code === "model_not_found", `code ${error.code}`);
  },
  { asks: "venice-uncensord", upstream: "nothing", reads: "" },
);
await operation(
  "chat error",
  async () => {
    const failing = { messages: [{ role: "user", content: "please fail" }] };
    const error = await raises(BadRequestError, () => chat(LLM, failing));
    expect(error.message.includes(`model ${LLM} is overloaded`), error.message);
  },
  { asks: LLM },
);
// A response to a request without a model: the upstream's ID is replaced by the catalog's name.
await operation(
  "chat retrieve",
  async () => [(await client.chat.completions.retrieve("chatcmpl-1")).model],
  { reads: "venice-uncensored" },
);
await operation(
  "responses",
  async () => [(await client.responses.create({ model: LLM, input: "hi" })).model],
  { asks: LLM },
);
await operation(
  "responses stream",
  async () => {
    const stream = await client.responses.create({ model: LLM, input: "hi", stream: true });
    return (await collect(stream)).flatMap((event) =>
      event.response ? [event.response.model] : [],
    );
  },
  { asks: LLM },
);
await operation(
  "responses retrieve",
  async () => [(await client.responses.retrieve("resp_1")).model],
  { reads: "venice-uncensored" },
);
await operation(
  "embeddings",
  async () => [(await client.embeddings.create({ model: EMBEDDING, input: ["a", "b"] })).model],
  { asks: EMBEDDING },
);
await operation(
  "audio speech",
  async () => {
    const response = await client.audio.speech.create({ model: TTS, voice: "alloy", input: "hi" });
    expect((await response.arrayBuffer()).byteLength === 256, "other audio");
  },
  { asks: TTS, reads: "" },
);
await operation(
  "audio transcription",
  async () => {
    const { text } = await client.audio.transcriptions.create({ model: STT, file: audio });
    expect(text, "no text");
  },
  { asks: STT, reads: "" },
);
// Images have no endpoint of their own: a catalog entry is replaced, and nothing falls back.
await operation(
  "images generate",
  async () =>
    expect((await client.images.generate({ model: IMAGE, prompt: "a cat" })).data, "no data"),
  { asks: IMAGE, reads: "" },
);
await operation(
  "images unknown",
  async () =>
    expect((await client.images.generate({ model: "dall-e-3", prompt: "a cat" })).data, "no data"),
  { asks: "dall-e-3", upstream: "as sent", reads: "" },
);
await operation(
  "images edit",
  async () =>
    expect((await client.images.edit({ model: IMAGE, image, prompt: "a cat" })).data, "no data"),
  { asks: IMAGE, reads: "" },
);
await operation("files create", async () => {
  const file = await toFile(Buffer.from('{"model":"venice-uncensored"}'), "b.jsonl");
  expect((await client.files.create({ file, purpose: "batch" })).id, "no ID");
});
await operation("files content", async () =>
  expect(
    (await (await client.files.content("file-1")).text()).includes("anything"),
    "other content",
  ),
);
await operation(
  "models list",
  async () => {
    const names = (await collect(client.models.list())).map((model) => model.id);
    expect(names.includes("venice-uncensored"), `models ${names}`);
  },
  { upstream: "nothing" },
);
await operation(
  "models retrieve",
  async () =>
    expect((await client.models.retrieve(LLM)).id === "venice-uncensored", "another model"),
  { upstream: "nothing" },
);
