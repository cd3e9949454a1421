// Prints quotes and publishes a greeting: node quotes.mjs [url]   (before Node 22: npm install ws)
// In your own project, get the client from the gateway: curl -o belfry.mjs http://127.0.0.1:8765/belfry.js
import { Belfry } from '../src/server/page/belfry.js';

const missing = 'this version of Node has no WebSocket: use Node 22, or run `npm install ws`';
const WebSocket = globalThis.WebSocket ?? (await import('ws').catch(() => exit(missing))).default;
const gateway = new Belfry(process.argv[2], {
  WebSocket,
  onState: (state, { retryInMs }) =>
    console.error(state, retryInMs ? `for ${Math.round(retryInMs)} ms; is the gateway running? \`belfry serve\` starts one` : ''),
  onError: (error) => console.error(error.code, error.message),
});

const quotes = gateway.subscribe('quotes.*', {
  intervalMs: 500, // the newest quote of each topic, at most twice a second
  onLost: ({ topic, reason }) => console.error('messages may be missing:', topic, reason),
});

console.error('our greeting has offset', await gateway.publish('chat.lobby', { nickname: 'node', text: 'hi' }));
for await (const { topic, offset, data } of quotes) console.log(topic, offset, data.price);

function exit(message) {
  console.error(message);
  process.exit(1);
}
