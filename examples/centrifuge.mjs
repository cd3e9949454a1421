// Prints quotes and publishes a greeting with Centrifugo's SDK: npm install centrifuge ws; node centrifuge.mjs [url]
const missing = ({ message }) => {
  console.error(`${message}; run \`npm install centrifuge ws\``);
  process.exit(1);
};
const { Centrifuge } = await import('centrifuge').catch(missing);
const { default: WebSocket } = await import('ws').catch(missing);

const centrifuge = new Centrifuge(process.argv[2] ?? 'ws://127.0.0.1:8765/connection/websocket', { websocket: WebSocket });
centrifuge.on('error', ({ error }) => console.error(error.message, 'is the gateway running? `belfry serve` starts one'));

// `data` has options of Belfry, which the SDK does not know: the newest quote, at most twice a second.
const quotes = centrifuge.newSubscription('quotes.AAPL', { data: { interval_ms: 500 } });
quotes.on('publication', ({ data, offset }) => console.log('quotes.AAPL', offset, data.price));
quotes.subscribe();
centrifuge.connect();
await centrifuge.ready();
await centrifuge.publish('chat.lobby', { nickname: 'centrifuge', text: 'hi' });
