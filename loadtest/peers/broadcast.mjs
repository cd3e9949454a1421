// The usual Node broadcast server, with topics. Speaks the load test's `bare` dialect; writes its address to --port-file.

import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";
import process from "node:process";

// The script `node-ws` installs the packages in another folder than this file's.
const { WebSocket, WebSocketServer } = createRequire(`${process.env.PEER_PACKAGES}/`)("ws");

const portFile = process.argv[process.argv.indexOf("--port-file") + 1];
const perMessageDeflate = process.env.PEER_DEFLATE ? { threshold: 0 } : false;
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 1024, perMessageDeflate });
const topics = new Map();

function subscribers(topic) {
  if (!topics.has(topic)) topics.set(topic, new Set());
  return topics.get(topic);
}

function publish(topic, payload) {
  for (const socket of subscribers(topic)) {
    if (socket.readyState === WebSocket.OPEN) socket.send(payload);
  }
}

server.on("connection", (socket) => {
  const own = new Set();
  socket.on("message", (data) => {
    const text = data.toString();
    const [word] = text.split(" ", 1);
    const rest = text.slice(word.length + 1);
    if (word === "PUB") {
      const line = rest.indexOf("\n");
      publish(rest.slice(0, line), rest.slice(line + 1));
    } else if (word === "SUB") {
      rest.split(" ").forEach((topic) => own.add(topic) && subscribers(topic).add(socket));
      socket.send("SUB");
    } else {
      socket.close(1008, "write SUB or PUB");
    }
  });
  socket.on("close", () => own.forEach((topic) => subscribers(topic).delete(socket)));
  socket.on("error", () => socket.terminate());
});

server.on("listening", () => writeFileSync(portFile, `127.0.0.1:${server.address().port}`));
