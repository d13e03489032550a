// Web frameworks and middleware from npm, whose requests have both JSON and forms.

import { Readable } from "node:stream";

import inject from "light-my-request";

import { ABSENT, modelOf } from "./worker.mjs";

/** Reads by a server's function of a request and a response that responds with the model. */
function injected(dispatch) {
  return async (contentType, body) => {
    const headers = { "content-type": contentType, "content-length": `${body.length}` };
    const response = await inject(dispatch, { method: "POST", url: "/", headers, payload: body });
    return received(response.statusCode, response.payload);
  };
}

function received(status, payload) {
  if (status !== 200) throw new Error(`${status}: ${payload}`);
  const { model } = JSON.parse(payload);
  return model ?? ABSENT;
}

/** Takes a file for no value. */
const fields = (read) => async (contentType, body) => {
  const model = await read(contentType, body);
  return typeof model === "string" ? model : ABSENT;
};

/** Reads by a function of a `Request` that returns a `Response` with the model. */
function fetched(fetch) {
  return async (contentType, body) => {
    const headers = { "content-type": contentType, "content-length": `${body.length}` };
    const init = { method: "POST", headers, body };
    const response = await fetch(new Request("http://localhost/", init));
    return received(response.status, await response.text());
  };
}

/** Makes a request of Node's HTTP server. */
export function incoming(contentType, body) {
  const request = Readable.from([body], { objectMode: false });
  request.headers = { "content-type": contentType, "content-length": `${body.length}` };
  request.method = "POST";
  request.url = "/";
  return request;
}

/** Reads by middleware of Express. */
async function express(...middleware) {
  const app = (await import("express")).default();
  app.use(...middleware);
  app.post("/", (request, response) => response.json(replied(request.body)));
  app.use((error, request, response, next) => response.status(400).end(`${error}`));
  return injected(app);
}

const replied = (body) => {
  const model = modelOf(body);
  return model === ABSENT ? {} : { model };
};

async function koa(middleware) {
  const Koa = (await import("koa")).default;
  const app = new Koa();
  app.silent = true;
  app.use(middleware);
  app.use((context) => {
    context.body = replied(context.request.body);
  });
  return injected(app.callback());
}

async function fastify(plugins = []) {
  const app = (await import("fastify")).default();
  for (const [plugin, options] of plugins) await app.register(plugin, options);
  app.post("/", async (request) => replied(request.body));
  await app.ready();
  return injected(app.routing);
}

async function hapi() {
  const server = (await import("@hapi/hapi")).default.server({ debug: false });
  const payload = { multipart: { output: "data" } };
  const handler = (request) => replied(request.payload);
  server.route({ method: "POST", path: "/", options: { payload }, handler });
  await server.initialize();
  return async (contentType, body) => {
    const headers = { "content-type": contentType, "content-length": `${body.length}` };
    const response = await server.inject({ method: "POST", url: "/", headers, payload: body });
    return received(response.statusCode, response.payload);
  };
}

async function hono(parse) {
  const { Hono } = await import("hono");
  const app = new Hono();
  app.post("/", async (context) => context.json(replied(await parse(context.req))));
  app.onError((error, context) => context.text(`${error}`, 400));
  return fetched(app.fetch);
}

async function h3(parse) {
  const library = await import("h3");
  const app = new library.H3({ silent: true });
  app.post("/", async (event) => replied(await parse(library, event)));
  return fetched(app.fetch.bind(app));
}

async function elysia() {
  const { Elysia } = await import("elysia");
  const app = new Elysia({ aot: false }).post("/", ({ body }) =>
    Response.json(replied(body)),
  );
  return fetched(app.handle.bind(app));
}

async function bodyParser() {
  return (await import("body-parser")).default.json();
}

async function koaBody() {
  return (await import("koa-body")).koaBody({ multipart: true });
}

export const JSON_FRAMEWORKS = {
  express: async () => express((await import("express")).default.json()),
  "body-parser": async () => express(await bodyParser()),
  fastify: async () => fastify(),
  "koa-body": async () => koa(await koaBody()),
  "koa-bodyparser": async () => koa((await import("koa-bodyparser")).default()),
  hapi: async () => hapi(),
  hono: async () => hono((request) => request.json()),
  h3: async () => h3((library, event) => library.readBody(event)),
  elysia: async () => elysia(),
  "co-body": async () => {
    const parse = (await import("co-body")).default;
    return async (contentType, body) => modelOf(await parse.json(incoming(contentType, body)));
  },
  micro: async () => {
    const { json } = await import("micro");
    return async (contentType, body) => modelOf(await json(incoming(contentType, body)));
  },
  fetch: async () => async (contentType, body) => {
    const response = new Response(body, { headers: { "content-type": contentType } });
    return modelOf(await response.json());
  },
};

export const FORM_FRAMEWORKS = {
  multer: async () => express((await import("multer")).default().any()),
  "express-fileupload": async () => express((await import("express-fileupload")).default()),
  "connect-multiparty": async () => express((await import("connect-multiparty")).default()),
  "@koa/multer": async () => koa((await import("@koa/multer")).default().any()),
  "koa-body": async () => koa(await koaBody()),
  "@fastify/multipart": async () => {
    const plugin = (await import("@fastify/multipart")).default;
    return fields(await fastify([[plugin, { attachFieldsToBody: "keyValues" }]]));
  },
  hapi: async () => fields(await hapi()),
  hono: async () => fields(await hono((request) => request.parseBody())),
  h3: async () =>
    fields(await h3(async (_, event) => Object.fromEntries(await event.req.formData()))),
  elysia: async () => fields(await elysia()),
};
