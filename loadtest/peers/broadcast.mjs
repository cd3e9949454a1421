// The usual Node broadcast server: each text goes to everybody. Writes its address to --port-file.

import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";
import process from "node:process";

// The packages lie where the script beside this one has put them, not beside this file.
const { WebSocket, WebSocketServer } = createRequire(`${process.env.PEER_PACKAGES}/`)("ws");

const portFile = process.argv[process.argv.indexOf("--port-file") + 1];
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 1024, perMessageDeflate: process.env.PEER_DEFLATE === "1" });

server.on("connection", (socket) => {
  socket.on("message", (data, binary) => {
    for (const other of server.clients) {
      if (other.readyState === WebSocket.OPEN) other.send(data, { binary });
    }
  });
  socket.on("error", () => socket.terminate());
});

server.on("listening", () => writeFileSync(portFile, `127.0.0.1:${server.address().port}`));
