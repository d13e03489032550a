// Vercel's AI SDK with its OpenAI provider, which speaks the Responses API by default.

import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, embed, generateText, streamText } from "ai";
import { URL_BASE, expect, operation, raises } from "./scenario.mjs";

const openai = createOpenAI({ baseURL: `${URL_BASE}/v1`, apiKey: "k" });
const LLM = "Venice-Uncensored";
const EMBEDDING = "Text-Embedding-BGE-M3";
const options = { prompt: "hello – 你好", maxRetries: 0 };

async function generate(model) {
  return [(await generateText({ model, ...options })).response.modelId];
}

async function stream(model) {
  let failure;
  const result = streamText({ model, ...options, onError: ({ error }) => (failure = error) });
  await result.consumeStream();
  if (failure) throw failure;
  return [(await result.response).modelId];
}

await operation("responses", () => generate(openai(LLM)), { asks: LLM });
await operation("responses stream", () => stream(openai(LLM)), { asks: LLM });
await operation("chat", () => generate(openai.chat(LLM)), { asks: LLM });
await operation("chat stream", () => stream(openai.chat(LLM)), { asks: LLM });
// An operator's alias is what the client asked for, and so what it reads.
await operation("chat alias", () => generate(openai.chat("gpt-4o-mini")), { asks: "gpt-4o-mini" });
await operation(
  "embed",
  async () => {
    const { embedding } = await embed({
      model: openai.embedding(EMBEDDING),
      value: "a",
      maxRetries: 0,
    });
    expect(embedding.length === 2, `embedding ${embedding}`);
  },
  // The response names the model, but the SDK does not pass it on.
  { asks: EMBEDDING },
);
await operation(
  "near miss",
  async () => {
    const error = await raises(APICallError, () => generate(openai.chat("venice-uncensord")));
    expect(error.statusCode === 404, `status ${error.statusCode}`);
  },
  { asks: "venice-uncensord", upstream: "nothing", reads: "" },
);
