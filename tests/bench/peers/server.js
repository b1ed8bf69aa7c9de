// SPDX-License-Identifier: Apache-2.0
// Servers of Node.js, on 127.0.0.1: "listening PORT", until they are ended.
//   node server.js http                  GET: a small JSON body
//   node server.js stream BYTES EVERY_MS one text message of so many bytes to every client of ws
"use strict";
const http = require("http");

const [kind, bytes, everyMs] = process.argv.slice(2);
const BODY = '{"status":"ok"}';

const server = http.createServer((request, response) => {
    response.writeHead(200, {
        "Content-Type": "application/json",
        "Content-Length": BODY.length,
    });
    response.end(BODY);
});

if (kind === "stream") {
    const { WebSocketServer, WebSocket } = require("ws");
    const message = "x".repeat(Number(bytes));
    const sockets = new WebSocketServer({ server, perMessageDeflate: false });
    setInterval(() => {
        for (const client of sockets.clients)
            if (client.readyState === WebSocket.OPEN)
                client.send(message);
    }, Number(everyMs));
}
server.listen(0, "127.0.0.1", 1024, () => console.log(`listening ${server.address().port}`));
