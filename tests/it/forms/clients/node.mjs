// usage: node.mjs CLIENT URL

import { readFileSync } from "node:fs";

const names = JSON.parse(readFileSync(new URL("names.json", import.meta.url)));
const [client, base] = process.argv.slice(2);
const url = `${base}/audio/transcriptions`;
const content = Buffer.from("ID3\r\n--\r\n\xff", "latin1");

if (client === "fetch" || client === "undici") {
  const { fetch, FormData } = client === "fetch" ? globalThis : await import("undici");
  const body = new FormData();
  body.append("model", "whisper-1");
  names.forEach((name, i) =>
    body.append(`file${i}`, new File([content], name, { type: "audio/webm;codecs=opus" })),
  );
  body.append("language", "größe");
  await fetch(url, { method: "POST", body });
} else if (client === "form-data" || client === "axios") {
  const { default: FormData } = await import("form-data");
  const body = new FormData();
  names.forEach((name, i) =>
    body.append(`file${i}`, content, { filename: name, contentType: "audio/mpeg" }),
  );
  body.append("language", "größe");
  body.append("model", "whisper-1");
  if (client === "axios") {
    const { default: axios } = await import("axios");
    await axios.post(url, body);
  } else {
    await new Promise((resolve, reject) =>
      body.submit(url, (error, response) => (error ? reject(error) : resolve(response.resume()))),
    );
  }
} else if (client === "openai") {
  const { default: OpenAI } = await import("openai");
  const api = new OpenAI({ apiKey: "none", baseURL: base });
  await api.audio.transcriptions.create({
    model: "whisper-1",
    file: new File([content], names[0], { type: "audio/mpeg" }),
    timestamp_granularities: ["word"],
  });
}
