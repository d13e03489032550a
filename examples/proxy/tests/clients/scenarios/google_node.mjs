// Google's Gen AI SDK for JavaScript, which names the model in the path. See google_python.py.

import { ApiError, GoogleGenAI } from "@google/genai";
import { URL_BASE, collect, expect, operation, raises } from "./scenario.mjs";

const { models } = new GoogleGenAI({
  apiKey: "k",
  httpOptions: { baseUrl: URL_BASE, timeout: 20_000 },
});
const MODEL = "gemini-3-flash";
const EMBEDDING = "Text-Embedding-BGE-M3";
const contents = "hello – 你好";

await operation(
  "generate",
  async () =>
    expect((await models.generateContent({ model: MODEL, contents })).text === "hello", "no text"),
  { asks: MODEL, reads: "" },
);
await operation(
  "stream",
  async () => {
    const chunks = await collect(await models.generateContentStream({ model: MODEL, contents }));
    expect(chunks.length === 2, `${chunks.length} chunks`);
  },
  { asks: MODEL, reads: "" },
);
await operation(
  "count",
  async () =>
    expect((await models.countTokens({ model: MODEL, contents })).totalTokens === 7, "no count"),
  { asks: MODEL, reads: "" },
);
await operation(
  "embed",
  async () =>
    expect((await models.embedContent({ model: EMBEDDING, contents })).embeddings, "no embeddings"),
  { asks: EMBEDDING, reads: "" },
);
await operation(
  "near miss",
  async () => {
    const error = await raises(ApiError, () =>
      models.generateContent({ model: "gemini-3-flas", contents }),
    );
    expect(error.status === 404, `status ${error.status}`);
    expect(error.message.includes("NOT_FOUND"), error.message);
  },
  { asks: "gemini-3-flas", upstream: "nothing", reads: "" },
);
