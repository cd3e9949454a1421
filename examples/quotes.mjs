// Quotes and a greeting in Node: node quotes.mjs [url]   (before Node 22: npm install ws)
// A project of yours takes the client from its gateway: curl -o belfry.mjs http://127.0.0.1:8765/belfry.js
import { Belfry } from '../src/server/page/belfry.js';

const WebSocket = globalThis.WebSocket ?? (await import('ws')).default;
const gateway = new Belfry(process.argv[2], {
  WebSocket,
  onState: (state, { retryInMs }) => console.error(state, retryInMs ? `for ${Math.round(retryInMs)} ms` : ''),
  onError: (error) => console.error(error.code, error.message),
});

const quotes = gateway.subscribe('quotes.*', {
  intervalMs: 500, // at most two a second of each, the newest
  onLost: ({ topic, reason }) => console.error('messages may be missing:', topic, reason),
});

console.error('our greeting has offset', await gateway.publish('chat.lobby', { nickname: 'node', text: 'hi' }));
for await (const { topic, offset, data } of quotes) console.log(topic, offset, data.price);
