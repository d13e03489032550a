// Form readers from npm.

import { Readable, Writable } from "node:stream";

import { FORM_FRAMEWORKS, incoming } from "./frameworks.mjs";
import { ABSENT, serve } from "./worker.mjs";

/** Returns the value that a form has for `model`; several are shown as they are. */
const only = (values) => (values.length > 1 ? values : values.length === 1 ? values[0] : ABSENT);

/** Returns `ABSENT` for a file, which is no form value. */
const field = (value) => (typeof value === "string" ? value : ABSENT);

const boundaryOf = (contentType) => /boundary=(?:"([^"]*)"|([^;]*))/i.exec(contentType);

const busboy = (name) => async () => {
  const make = (await import(name)).default;
  return (contentType, body) =>
    new Promise((resolve, reject) => {
      const values = [];
      const parser = make({ headers: { "content-type": contentType } });
      parser.on("field", (name, value) => name === "model" && values.push(value));
      parser.on("file", (name, file) => file.resume());
      parser.on("error", reject);
      const done = () => resolve(only(values));
      parser.on("close", done).on("finish", done);
      parser.end(body);
    });
};

const webForm = (make) => async () => {
  const Response = await make();
  return async (contentType, body) => {
    const form = await new Response(body, { headers: { "content-type": contentType } }).formData();
    return field(form.get("model") ?? ABSENT);
  };
};

const READERS = {
  busboy: busboy("busboy"),
  "@fastify/busboy": busboy("@fastify/busboy"),
  formidable: async () => {
    const { formidable } = await import("formidable");
    return async (contentType, body) => {
      const discard = () => new Writable({ write: (chunk, encoding, done) => done() });
      const form = formidable({ fileWriteStreamHandler: discard, allowEmptyFiles: true, minFileSize: 0 });
      const [fields] = await form.parse(incoming(contentType, body));
      return only(fields.model ?? []);
    };
  },
  multiparty: async () => {
    const { Form } = (await import("multiparty")).default;
    return (contentType, body) =>
      new Promise((resolve, reject) => {
        const values = [];
        const form = new Form();
        form.on("field", (name, value) => name === "model" && values.push(value));
        form.on("part", (part) => part.resume());
        form.on("error", reject);
        form.on("close", () => resolve(only(values)));
        form.parse(incoming(contentType, body));
      });
  },
  dicer: async () => {
    const Dicer = (await import("dicer")).default;
    return (contentType, body) =>
      new Promise((resolve, reject) => {
        const values = [];
        const [, quoted, token] = boundaryOf(contentType);
        const parser = new Dicer({ boundary: quoted ?? token });
        parser.on("part", (part) => {
          let name;
          const chunks = [];
          part.on("header", (head) => {
            const disposition = head["content-disposition"]?.[0] ?? "";
            name = /;\s*filename=/.test(disposition)
              ? undefined
              : /;\s*name="?([^";]*)/.exec(disposition)?.[1];
          });
          part.on("data", (chunk) => chunks.push(chunk));
          part.on("end", () => name === "model" && values.push(Buffer.concat(chunks).toString()));
          part.on("error", reject);
        });
        parser.on("error", reject);
        parser.on("finish", () => resolve(only(values)));
        parser.end(body);
      });
  },
  "parse-multipart-data": async () => {
    const { getBoundary, parse } = await import("parse-multipart-data");
    return (contentType, body) => {
      const parts = parse(body, getBoundary(contentType));
      const named = parts.filter(({ name, filename }) => name === "model" && !filename);
      return only(named.map(({ data }) => data.toString()));
    };
  },
  "@mjackson/multipart-parser": async () => {
    const { parseMultipartRequest } = await import("@mjackson/multipart-parser");
    return multipartRequest(parseMultipartRequest);
  },
  "@remix-run/multipart-parser": async () => {
    const { parseMultipartRequest } = await import("@remix-run/multipart-parser");
    return multipartRequest(parseMultipartRequest);
  },
  "@remix-run/form-data-parser": async () => {
    const { parseFormData } = await import("@remix-run/form-data-parser");
    return async (contentType, body) =>
      field((await parseFormData(request(contentType, body))).get("model") ?? ABSENT);
  },
  "@web3-storage/multipart-parser": async () => {
    const { iterateMultipart } = await import("@web3-storage/multipart-parser");
    return async (contentType, body) => {
      const [, quoted, token] = boundaryOf(contentType);
      const values = [];
      for await (const part of iterateMultipart(Readable.toWeb(Readable.from([body])), quoted ?? token)) {
        if (part.name === "model" && !part.filename) values.push(Buffer.from(part.data));
      }
      return only(values);
    };
  },
  "lambda-multipart-parser": async () => {
    const { parse } = (await import("lambda-multipart-parser")).default;
    return async (contentType, body) => {
      const headers = { "content-type": contentType };
      const event = { headers, body: body.toString("base64"), isBase64Encoded: true };
      return (await parse(event)).model ?? ABSENT;
    };
  },
  undici: webForm(async () => (await import("undici")).Response),
  fetch: webForm(async () => Response),
  "node-fetch": webForm(async () => (await import("node-fetch")).Response),
};

function request(contentType, body) {
  const headers = { "content-type": contentType, "content-length": `${body.length}` };
  return new Request("http://localhost/", { method: "POST", headers, body });
}

function multipartRequest(parse) {
  return async (contentType, body) => {
    const values = [];
    for await (const part of parse(request(contentType, body))) {
      if (part.name === "model" && part.filename === undefined) values.push(part.text);
    }
    return only(values);
  };
}

await serve({ ...READERS, ...FORM_FRAMEWORKS });
