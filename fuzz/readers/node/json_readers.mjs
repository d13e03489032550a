// JSON readers from npm.

import { Readable } from "node:stream";

import { JSON_FRAMEWORKS } from "./frameworks.mjs";
import { ABSENT, modelOf, serve } from "./worker.mjs";

/** A reader of text, by the function that the loaded module has for it. */
const text = (name, parse) => async () => {
  const library = await import(name);
  const call = parse(library.default ?? library, library);
  return (_, body) => modelOf(call(body.toString()));
};

/** Returns the value that a stream has for `model`; several are shown as they are. */
const only = (values) => (values.length > 1 ? values : values.length === 1 ? values[0] : ABSENT);

/** Reads by a stream that emits the values at the top-level `model`. */
const stream = (name, make, value = (data) => data) => async () => {
  const library = await import(name);
  return (_, body) =>
    new Promise((resolve, reject) => {
      const values = [];
      const parser = make(library.default ?? library, library);
      parser.on("data", (data) => values.push(value(data)));
      parser.on("error", reject);
      parser.on("end", () => resolve(only(values)));
      Readable.from([body], { objectMode: false }).pipe(parser);
    });
};

const READERS = {
  "JSON.parse": async () => (_, body) => modelOf(JSON.parse(body.toString())),
  eval: async () => (_, body) => modelOf((0, eval)(`(${body})`)),
  json5: text("json5", (json5) => json5.parse),
  hjson: text("hjson", (hjson) => hjson.parse),
  "jsonc-parser": text("jsonc-parser", (jsonc) => (body) => {
    const errors = [];
    const data = jsonc.parse(body, errors);
    if (errors.length) throw new Error(JSON.stringify(errors));
    return data;
  }),
  "jsonc-parser tolerant": text("jsonc-parser", (jsonc) => (body) => jsonc.parse(body)),
  "jsonc-parser tree": text("jsonc-parser", (jsonc) => (body) => {
    const node = jsonc.findNodeAtLocation(jsonc.parseTree(body), ["model"]);
    return { model: node && jsonc.getNodeValue(node) };
  }),
  "comment-json": text("comment-json", (comment) => comment.parse),
  "strip-json-comments": text("strip-json-comments", (strip) => (body) => JSON.parse(strip(body))),
  "relaxed-json": text("relaxed-json", (rjson) => rjson.parse),
  "relaxed-json tolerant": text("relaxed-json", (rjson) => (body) =>
    rjson.parse(body, { relaxed: true, tolerant: true, warnings: false }),
  ),
  "really-relaxed-json": text("really-relaxed-json", ({ toJson }) => (body) =>
    JSON.parse(toJson(body)),
  ),
  jsonlint: text("jsonlint", (jsonlint) => (body) => jsonlint.parse(body)),
  "@prantlf/jsonlint": text("@prantlf/jsonlint", (jsonlint) => (body) => jsonlint.parse(body)),
  "@prantlf/jsonlint json5": text("@prantlf/jsonlint", (jsonlint) => (body) =>
    jsonlint.parse(body, { mode: "json5" }),
  ),
  "@streamparser/json": async () => {
    const { JSONParser } = await import("@streamparser/json");
    return (_, body) => {
      const values = [];
      const parser = new JSONParser({ paths: ["$.model"] });
      parser.onValue = ({ value }) => values.push(value);
      parser.write(body);
      return only(values);
    };
  },
  "@streamparser/json whole": async () => {
    const { JSONParser } = await import("@streamparser/json");
    return (_, body) => {
      let data;
      const parser = new JSONParser();
      parser.onValue = ({ value, stack }) => {
        if (stack.length === 0) data = value;
      };
      parser.write(body);
      return modelOf(data);
    };
  },
  JSONStream: stream("JSONStream", (library) => library.parse("model")),
  jsonparse: async () => {
    const Parser = (await import("jsonparse")).default;
    return (_, body) => {
      const values = [];
      const parser = new Parser();
      parser.onError = (error) => {
        throw error;
      };
      parser.onValue = function (value) {
        if (this.stack.length === 1 && this.key === "model") values.push(value);
      };
      parser.write(body);
      return only(values);
    };
  },
  clarinet: async () => {
    const clarinet = (await import("clarinet")).default;
    return (_, body) => {
      const values = [];
      const parser = clarinet.parser();
      let depth = 0;
      let key;
      parser.onerror = (error) => {
        throw error;
      };
      parser.onopenobject = (first) => {
        depth++;
        if (depth === 1) key = first;
      };
      parser.onkey = (next) => {
        if (depth === 1) key = next;
      };
      parser.onopenarray = () => depth++;
      parser.oncloseobject = parser.onclosearray = () => depth--;
      parser.onvalue = (value) => {
        if (depth === 1 && key === "model") values.push(value);
      };
      parser.write(body.toString()).close();
      return only(values);
    };
  },
  "json-bigint": text("json-bigint", (bigint) => bigint.parse),
  "true-json-bigint": text("true-json-bigint", (bigint) => bigint.parse ?? bigint().parse),
  "json-with-bigint": text("json-with-bigint", (_, { JSONParse }) => JSONParse),
  "lossless-json": text("lossless-json", (lossless) => (body) => lossless.parse(body)),
  "secure-json-parse": text("secure-json-parse", (secure) => (body) => secure.parse(body)),
  "secure-json-parse remove": text("secure-json-parse", (secure) => (body) =>
    secure.parse(body, { protoAction: "remove", constructorAction: "remove" }),
  ),
  "@hapi/bourne": text("@hapi/bourne", (bourne) => (body) => bourne.parse(body)),
  jju: text("jju", (jju) => (body) => jju.parse(body)),
  "jju json": text("jju", (jju) => (body) => jju.parse(body, { mode: "json" })),
  "js-yaml": text("js-yaml", (yaml, { load }) => (body) => (load ?? yaml.load)(body)),
  "js-yaml json": text("js-yaml", (yaml, { load }) => (body) =>
    (load ?? yaml.load)(body, { json: true }),
  ),
  yaml: text("yaml", (yaml) => (body) => yaml.parse(body)),
  "yaml 1.1": text("yaml", (yaml) => (body) => yaml.parse(body, { version: "1.1", merge: true })),
  "yaml-js": text("yaml-js", (yaml) => (body) => yaml.load(body)),
  yamljs: text("yamljs", (yaml) => (body) => yaml.parse(body)),
  "parse-json": text("parse-json", (parse) => (body) => parse(body)),
  "json-parse-even-better-errors": text("json-parse-even-better-errors", (parse, library) => (body) =>
    (library.parseJson ?? parse)(body),
  ),
  "json-to-ast": text("json-to-ast", (parse) => (body) => {
    const members = parse(body, { loc: false }).children;
    return Object.fromEntries(members.map(({ key, value }) => [key.value, value.value]));
  }),
  "json-source-map": text("json-source-map", (map) => (body) => map.parse(body).data),
  jsonrepair: text("jsonrepair", (_, { jsonrepair }) => (body) => JSON.parse(jsonrepair(body))),
  "dirty-json": text("dirty-json", (dirty) => (body) => dirty.parse(body)),
  "best-effort-json-parser": text("best-effort-json-parser", (_, { parse }) => (body) => parse(body)),
  "partial-json": text("partial-json", (_, { parse }) => (body) => parse(body)),
  "partial-json-parser": text("partial-json-parser", (parse) => (body) => parse(body)),
  jsonic: text("jsonic", (_, { Jsonic }) => (body) => Jsonic(body)),
  "json-loose": text("json-loose", (loose) => (body) => JSON.parse(loose(body))),
  "loose-json": text("loose-json", (loose) => (body) => loose(body)),
  cjson: text("cjson", (cjson) => (body) => cjson.parse(body)),
  jsonminify: text("jsonminify", (minify) => (body) => JSON.parse(minify(body))),
  destr: text("destr", (_, { destr }) => (body) => destr(body)),
  "@humanwhocodes/momoa": text("@humanwhocodes/momoa", (_, { parse, evaluate }) => (body) =>
    evaluate(parse(body)),
  ),
  "@humanwhocodes/momoa json5": text("@humanwhocodes/momoa", (_, { parse, evaluate }) => (body) =>
    evaluate(parse(body, { mode: "json5" })),
  ),
  "json-custom-numbers": text("json-custom-numbers", (_, { parse }) => (body) => parse(body)),
  "incomplete-json-parser": text("incomplete-json-parser", (_, { IncompleteJsonParser }) => (body) =>
    IncompleteJsonParser.parse(body),
  ),
  "json-6": text("json-6", (json6) => (body) => json6.parse(body)),
  "json-fixer": text("json-fixer", (fix) => (body) => fix(body).data),
  ejson: text("ejson", (ejson) => (body) => ejson.parse(body)),
  "big-json": async () => {
    const json = (await import("big-json")).default;
    return async (_, body) => modelOf(await json.parse({ body }));
  },
  "@discoveryjs/json-ext": async () => {
    const { parseChunked } = await import("@discoveryjs/json-ext");
    return async (_, body) => modelOf(await parseChunked([body]));
  },
};

await serve({ ...READERS, ...JSON_FRAMEWORKS });
