// Serves readers to the script: the common part of the Node workers. ../python/worker.py describes
// the protocol; an outcome more is `H`, for a promise that stays pending for a second.

import { readSync, writeSync } from "node:fs";

export const ABSENT = Symbol("absent");

/** Returns what a program reads as `data.model`. */
export function modelOf(data) {
  if (typeof data !== "object" || data === null) throw new TypeError(`not an object: ${data}`);
  return data.model ?? ABSENT;
}

/** Repeats a call while its pipe, which some reader has made non-blocking, is full or empty. */
function blocking(call) {
  for (;;) {
    try {
      return call();
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

function readExactly(length) {
  const buffer = Buffer.alloc(length);
  for (let at = 0; at < length; ) {
    const count = blocking(() => readSync(0, buffer, at, length - at));
    if (count === 0) process.exit(0);
    at += count;
  }
  return buffer;
}

const readNumber = () => readExactly(4).readUInt32BE();
const readField = () => readExactly(readNumber());

function number(value) {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
}

function write(parts) {
  const buffer = Buffer.concat(parts);
  for (let at = 0; at < buffer.length; ) {
    at += blocking(() => writeSync(1, buffer, at));
  }
}

function writeFields(fields, parts = []) {
  for (const field of fields) {
    const buffer = Buffer.from(field);
    parts.push(number(buffer.length), buffer);
  }
  write(parts);
}

function show(value) {
  if (value === ABSENT || value === undefined || value === null) return "A";
  if (Buffer.isBuffer(value)) return Buffer.concat([Buffer.from("V"), value]);
  if (value instanceof String) value = `${value}`;
  if (typeof value === "string") return `V${value}`;
  try {
    return `V${typeof value}: ${JSON.stringify(value)}`;
  } catch {
    return `V${typeof value}`;
  }
}

const PENDING = Symbol("pending");

/** Removes what a reader wrote into the prototype of all objects, and returns its `model`. */
function takePrototypeModel() {
  const { model } = Object.prototype;
  for (const key of Object.keys(Object.prototype)) delete Object.prototype[key];
  return model;
}

async function outcome(read, contentType, body) {
  try {
    let value = read(contentType, body);
    if (typeof value?.then === "function") {
      let timer;
      const late = new Promise((resolve) => (timer = setTimeout(resolve, 1000, PENDING)));
      value = await Promise.race([value, late]);
      clearTimeout(timer);
      if (value === PENDING) return "H";
    }
    return show(value);
  } catch (error) {
    return `E${error}`.slice(0, 200);
  }
}

/** Starts the readers, a function by name, and serves them until stdin ends. */
export async function serve(makers) {
  console.log = console.warn = console.error = console.info = () => {};
  process.removeAllListeners("warning");
  // What a reader throws outside of its promise ends no other reader.
  process.on("uncaughtException", () => {});
  process.on("unhandledRejection", () => {});

  const readers = {};
  const started = [];
  for (const [name, make] of Object.entries(makers)) {
    let error = "";
    try {
      readers[name] = await make();
    } catch (failure) {
      error = `${failure}` || "failed";
    }
    started.push(name, error);
  }
  writeFields(started, [number(started.length / 2)]);

  let batch = [];
  for (;;) {
    const kind = readExactly(1).toString();
    if (kind === "B") {
      batch = Array.from({ length: readNumber() }, () => [
        readField().toString("latin1"),
        readField(),
      ]);
      continue;
    }
    const read = readers[readField().toString()];
    const begin = readNumber();
    const end = performance.now() + readNumber();
    const outcomes = new Array(batch.length).fill("S");
    for (let offset = 0; offset < batch.length; offset++) {
      const at = (begin + offset) % batch.length;
      const [contentType, body] = batch[at];
      // Some readers change what they are given.
      outcomes[at] = await outcome(read, contentType, Buffer.from(body));
      // Later requests without a model would get it.
      const model = takePrototypeModel();
      if (model !== undefined) outcomes[at] = `Vfor all objects: ${show(model).slice(1)}`;
      if (performance.now() > end) break;
    }
    writeFields(outcomes);
  }
}
