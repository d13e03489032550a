// An echo server that closes connections early.

import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  appendFileSync(process.env.ECHO_LOG, `${request.headers["x-number"]}\n`);
  response.setHeader("content-type", "application/octet-stream");
  response.end(Buffer.concat(chunks));
});
server.keepAliveTimeout = 1000;
// The exact timeout: Node adds a second otherwise, which hides races.
server.keepAliveTimeoutBuffer = 0;
server.maxRequestsPerSocket = 20;
server.listen(Number(process.argv[2]), "127.0.0.1");
