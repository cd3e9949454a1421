// centrifuge-js with a real gateway, in JSON and protobuf over WebSocket and HTTP streams, and in JSON over server-sent events.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test from 'node:test';

const require = createRequire(resolve('target/centrifugo-test/package.json'));
const WebSocket = require('ws');
const EventSource = require('eventsource');
const SDKS = { json: require('centrifuge').Centrifuge, protobuf: require('centrifuge/build/protobuf').Centrifuge };
const PROGRAM = process.env.BELFRY ?? 'target/release/belfry';
const SECONDS = 60;
const SECRET = 'a secret of this suite, which has 32 bytes';
const CONFIG = `
server.drain = "500ms"
auth = { anonymous = { subscribe = ["chat.>", "slow.>"], publish = ["chat.>", "slow.>"] }, keys = [{ algorithm = "HS256", secret = "${SECRET}" }] }
limits = { commands_per_second = 10000, commands_burst = 10000 }
[[topics]]
match = "chat.>"
history = 1000
[[topics]]
match = "slow.all"
history = 10000
[[topics]]
match = "slow.some"
history = 100
[[topics]]
match = "quotes.>"
history = 10
last = 1
on_slow = "conflate"
`;

class Gateway {
  port = 0;
  folder = mkdtempSync(join(tmpdir(), 'belfry-sdk-'));

  async start(...more) {
    const [config, portFile] = ['belfry.toml', 'port'].map((name) => join(this.folder, name));
    writeFileSync(config, CONFIG);
    rmSync(portFile, { force: true });
    const address = ['--listen', `127.0.0.1:${this.port}`, '--port-file', portFile];
    this.process = spawn(PROGRAM, ['serve', '--config', config, ...address, ...more], { stdio: 'ignore' });
    this.ended = new Promise((done) => this.process.once('exit', done));
    this.port = await until('the port', () => existsSync(portFile) && Number(readFileSync(portFile, 'utf8').trim().split(':').pop()));
    return this;
  }

  async end(signal) {
    this.process.kill(signal);
    await this.ended;
  }

  async [Symbol.asyncDispose]() {
    await this.end('SIGKILL');
    rmSync(this.folder, { recursive: true });
  }

  /** Publishes the numbers from 1 to `count`, each with `bytes` more bytes. */
  async publishMany(topic, count, bytes) {
    const lines = Array.from({ length: count }, (_, n) => JSON.stringify({ topic, data: { n: n + 1, text: '_'.repeat(bytes) } }));
    for (let from = 0; from < count; from += 1000) {
      const answer = await fetch(`http://127.0.0.1:${this.port}/v1/publish`, { method: 'POST', body: lines.slice(from, from + 1000).join('\n') });
      assert.equal((await answer.json()).published, Math.min(1000, count - from));
    }
  }

  async metric(series) {
    const text = await (await fetch(`http://127.0.0.1:${this.port}/metrics`)).text();
    return Number(text.split('\n').find((line) => line.startsWith(`belfry_${series} `))?.split(' ')[1]);
  }

  /** Publishes `data` on several lines that end with CR LF, as editors write it: no such line may end a reply. */
  async publish(topic, data) {
    const body = JSON.stringify(data, null, 2).replaceAll('\n', '\r\n');
    assert.equal((await fetch(`http://127.0.0.1:${this.port}/v1/topics/${topic}`, { method: 'POST', body })).status, 200);
  }
}

async function until(what, fact) {
  const deadline = Date.now() + SECONDS * 1000;
  for (;;) {
    const found = await fact();
    if (found) return found;
    assert.ok(Date.now() < deadline, `not within ${SECONDS} s: ${what}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

const read = (data) => (data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data);

/** Each encoding over each transport that supports it. */
const VARIANTS = [['json', 'websocket'], ['protobuf', 'websocket'], ['json', 'sse'], ['json', 'http_stream'], ['protobuf', 'http_stream']];

function client([codec, transport], port, options = {}) {
  const endpoint = `${transport === 'websocket' ? 'ws' : 'http'}://127.0.0.1:${port}/connection/${transport}`;
  const parts = { websocket: WebSocket, eventsource: EventSource, fetch, readableStream: ReadableStream, emulationEndpoint: `http://127.0.0.1:${port}/emulation` };
  return new SDKS[codec]([{ transport, endpoint }], { ...parts, minReconnectDelay: 20, maxReconnectDelay: 200, ...options });
}

/** Connects and subscribes; `received` gets the data of each publication, `subscribed` the context of each subscribe. */
async function subscribe(sdk, channel) {
  const subscription = sdk.newSubscription(channel);
  const [received, subscribed] = [[], []];
  subscription.on('publication', ({ data }) => received.push(read(data)));
  subscription.on('subscribed', (context) => subscribed.push(context));
  subscription.subscribe();
  sdk.connect();
  await subscription.ready(SECONDS * 1000);
  return { subscription, received, subscribed };
}

function token(seconds, claims = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + seconds, ...claims })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

test('the example prints quotes', async () => {
  const gateway = await new Gateway().start('--set', 'feed.simulator.enabled=true', '--set', 'auth.anonymous.subscribe=["quotes.>"]');
  // The example runs in the folder that has the SDK.
  const example = resolve('target/centrifugo-test/example.mjs');
  copyFileSync('examples/centrifuge.mjs', example);
  const program = spawn(process.execPath, [example, `ws://127.0.0.1:${gateway.port}/connection/websocket`]);
  try {
    let printed = '';
    program.stdout.on('data', (text) => (printed += text));
    await until('two quotes', () => /^(quotes\.AAPL \d+ [\d.]+\n){2}/.test(printed));
  } finally {
    program.kill();
    await gateway[Symbol.asyncDispose]();
  }
});

for (const variant of VARIANTS) {
  const codec = variant[0];
  test(`${variant.join(' over ')}: missed messages arrive once, in order; after kill -9 nothing is recovered`, async () => {
    const gateway = await new Gateway().start();
    const sdk = client(variant, gateway.port);
    try {
      const { received, subscribed } = await subscribe(sdk, 'chat.a');
      await gateway.publish('chat.a', { n: 1 });
      await until('the first message', () => received.length === 1);
      sdk.disconnect();
      for (const n of [2, 3, 4]) await gateway.publish('chat.a', { n, s: 'é\r\n', deep: [[n], { n }] });
      sdk.connect();
      await until('the missed messages', () => received.length === 4);
      assert.deepEqual(received.map(({ n }) => n), [1, 2, 3, 4]);
      assert.deepEqual(received[3], { n: 4, s: 'é\r\n', deep: [[4], { n: 4 }] }, 'line ends between JSON tokens do not split a payload');
      assert.deepEqual([subscribed[1].wasRecovering, subscribed[1].recovered], [true, true]);
      await gateway.end('SIGKILL');
      await gateway.start();
      await until('a subscription to the new gateway', () => subscribed.length === 3);
      assert.deepEqual([subscribed[2].wasRecovering, subscribed[2].recovered], [true, false]);
      await gateway.publish('chat.a', { n: 5 });
      await until('the fifth message', () => received.at(-1).n === 5);
    } finally {
      sdk.disconnect();
      await gateway[Symbol.asyncDispose]();
    }
  });

  test(`${variant.join(' over ')}: a drain closes with 3001, and the client reconnects and recovers`, async () => {
    const gateway = new Gateway();
    const store = ['--set', `store.dir="${gateway.folder}"`];
    await gateway.start(...store);
    const sdk = client(variant, gateway.port);
    try {
      const codes = [];
      sdk.on('connecting', ({ code }) => codes.push(code));
      const { received, subscribed } = await subscribe(sdk, 'chat.a');
      await gateway.publish('chat.a', { n: 1 });
      await until('the first message', () => received.length === 1);
      await gateway.end('SIGTERM');
      await gateway.start(...store);
      await gateway.publish('chat.a', { n: 2 });
      await until('the missed message', () => received.length === 2);
      assert.equal(codes[1], 3001);
      assert.deepEqual([subscribed.length, subscribed[1].wasRecovering, subscribed[1].recovered], [2, true, true]);
      assert.deepEqual(received.map(({ n }) => n), [1, 2]);
    } finally {
      sdk.disconnect();
      await gateway[Symbol.asyncDispose]();
    }
  });

  test(`${variant.join(' over ')}: the client refreshes its token before it expires, and the session goes on`, async () => {
    const gateway = await new Gateway().start();
    let fetched = 0;
    const sdk = client(variant, gateway.port, { getToken: async () => token(2 + 600 * fetched++) });
    try {
      let connections = 0;
      sdk.on('connected', () => connections++);
      sdk.connect();
      await until('a second token', () => fetched === 2);
      await sdk.ready(SECONDS * 1000);
      await sdk.publish('chat.a', codec === 'json' ? { n: 1 } : new TextEncoder().encode('{"n":1}'));
      assert.equal(connections, 1);
    } finally {
      sdk.disconnect();
      await gateway[Symbol.asyncDispose]();
    }
  });

  test(`${variant.join(' over ')}: a thousand subscriptions succeed, also after a restart`, async () => {
    const gateway = await new Gateway().start();
    const sdk = client(variant, gateway.port);
    try {
      let subscribed = 0;
      const subscriptions = Array.from({ length: 1000 }, (_, n) => sdk.newSubscription(`chat.${n}`));
      for (const subscription of subscriptions) {
        subscription.on('subscribed', () => subscribed++);
        subscription.on('error', ({ error }) => assert.fail(error.message));
        subscription.subscribe();
      }
      sdk.connect();
      await until('a thousand subscriptions', () => subscribed === 1000);
      await gateway.end('SIGTERM');
      await gateway.start();
      await until('a thousand more', () => subscribed === 2000);
    } finally {
      sdk.disconnect();
      await gateway[Symbol.asyncDispose]();
    }
  });

  test(`${variant.join(' over ')}: an expired token is answered with 109, and the client fetches another`, async () => {
    const gateway = await new Gateway().start();
    let fetched = 0;
    const sdk = client(variant, gateway.port, { token: token(-60), getToken: async () => token(600 + 0 * fetched++) });
    try {
      const errors = [];
      sdk.on('error', ({ error }) => errors.push(error.code));
      sdk.connect();
      await sdk.ready(SECONDS * 1000);
      assert.equal(fetched, 1);
      assert.ok(errors.every((code) => code === 109), `${errors}`);
    } finally {
      sdk.disconnect();
      await gateway[Symbol.asyncDispose]();
    }
  });

  test(`${variant.join(' over ')}: the client refreshes a subscription token, and the subscription goes on`, async () => {
    const gateway = await new Gateway().start();
    let fetched = 0;
    const sdk = client(variant, gateway.port, { getToken: async () => token(600) });
    try {
      const getToken = async ({ channel }) => token(2 + 600 * fetched++, { channel });
      const subscription = sdk.newSubscription('secret.a', { getToken });
      let subscribed = 0;
      subscription.on('subscribed', () => subscribed++);
      subscription.on('unsubscribed', ({ reason }) => assert.fail(reason));
      subscription.subscribe();
      sdk.connect();
      await until('a second token', () => fetched === 2);
      await subscription.ready(SECONDS * 1000);
      assert.equal((await subscription.presenceStats().catch(({ code }) => code)), 108, 'the session answers, and presence is off');
      assert.equal(subscribed, 1);
    } finally {
      sdk.disconnect();
      await gateway[Symbol.asyncDispose]();
    }
  });
}

/** The bytes of a ping in each encoding over each transport. */
const PINGS = {
  'json over websocket': /\x81\x02\{\}/g,
  'protobuf over websocket': /\x82\x01\x00/g,
  'json over sse': /data: \{\}\n\n/g,
  'json over http_stream': /\r\n\{\}\n\r\n/g,
  'protobuf over http_stream': /\r\n1\r\n\x00\r\n/g,
};

/** A proxy that can pause the bytes to the client on /connection/, and counts the pings in them. */
async function startLink(port, ping) {
  const link = { pings: 0, sessions: 0, port: 0, pause: () => {}, resume: () => {}, end: () => {} };
  const sockets = new Set();
  const server = createServer((client) => {
    const gateway = connect(port, '127.0.0.1');
    for (const [from, to] of [[client, gateway], [gateway, client]]) {
      sockets.add(from);
      from.on('error', () => {}).on('close', () => to.destroy());
    }
    gateway.pipe(client);
    client.once('data', (head) => {
      gateway.write(head);
      client.pipe(gateway);
      if (!head.includes(' /connection/')) return;
      let last = '';
      gateway.on('data', (bytes) => {
        const text = last + bytes.toString('latin1');
        const found = text.match(ping)?.length ?? 0;
        link.pings += found - (last.match(ping)?.length ?? 0);
        last = text.slice(-32);
      });
      link.sessions++;
      // A paused pipe would resume by itself once its earlier writes are flushed.
      link.pause = () => gateway.unpipe(client).pause();
      link.resume = () => gateway.pipe(client).resume();
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  link.port = server.address().port;
  link.end = () => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  };
  return link;
}

for (const variant of VARIANTS) {
  const name = variant.join(' over ');
  for (const [topic, keepsAll] of [['slow.all', true], ['slow.some', false]]) {
    test(`${name}: a paused reader ${keepsAll ? 'gets all messages from history, each once, in order' : 'subscribes again if history is too short, without recovery'}`, async () => {
      const gateway = await new Gateway().start('--set', 'limits.ping_interval="300ms"', '--set', 'limits.write_timeout="1m"');
      const link = await startLink(gateway.port, PINGS[name]);
      const sdk = client(variant, link.port);
      try {
        const { subscription, received, subscribed } = await subscribe(sdk, topic);
        subscription.on('unsubscribed', ({ reason }) => assert.fail(reason));
        await until('a first ping', () => link.pings > 0);
        link.pause();
        const COUNT = 4000;
        await gateway.publishMany(topic, COUNT, 4000);
        // With a short history the subscription may end before the sockets are full.
        const isBehind = async () => (await gateway.metric('slow_sessions')) === 1 || (await gateway.metric('subscriptions')) === 0;
        await until('a slow session', isBehind);
        const pings = link.pings;
        await new Promise((done) => setTimeout(done, 700)); // the slow phase, with two ping intervals
        link.resume();
        await until('the end of the phase', () => (keepsAll ? received.at(-1)?.n === COUNT : subscribed.length >= 2));
        const pingsAfter = link.pings;
        await gateway.publish(topic, { n: COUNT + 1 });
        await until('a live message', () => received.at(-1).n === COUNT + 1);
        const numbers = received.map(({ n }) => n);
        assert.ok(numbers.every((n, index) => index === 0 || n > numbers[index - 1]), 'no message twice or out of order');
        assert.ok(pingsAfter > pings, 'pings arrive before the end of the queued messages');
        assert.equal(link.sessions, 1, 'the connection stays open');
        if (keepsAll) {
          assert.equal(numbers.length, COUNT + 1);
          assert.equal(subscribed.length, 1, 'nothing was lost, so the client does not subscribe again');
        } else {
          assert.ok(numbers.length < COUNT);
          assert.ok(subscribed.length >= 2 && subscribed.length <= 4, `${subscribed.length} subscribes`);
          assert.equal(subscribed[1].wasRecovering, true);
          assert.equal(subscribed[1].recovered, false, 'the application learns of the loss');
        }
      } finally {
        sdk.disconnect();
        link.end();
        await gateway[Symbol.asyncDispose]();
      }
    });
  }
}

/** Starts nginx with Debian's defaults, in front of the gateway at `port`; returns its port. */
async function startNginx(t, port) {
  const home = mkdtempSync(join(tmpdir(), 'belfry-nginx-'));
  chmodSync(home, 0o755); // nginx's workers run as another user
  const front = await new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
  writeFileSync(join(home, 'nginx.conf'), `
daemon off;
pid ${home}/nginx.pid;
events {}
http {
  access_log off;
  client_body_temp_path ${home}/body;
  proxy_temp_path ${home}/proxy;
  fastcgi_temp_path ${home}/fastcgi;
  uwsgi_temp_path ${home}/uwsgi;
  scgi_temp_path ${home}/scgi;
  server {
    listen 127.0.0.1:${front};
    location / { proxy_pass http://127.0.0.1:${port}; }
  }
}
`);
  const nginx = spawn('nginx', ['-e', join(home, 'error.log'), '-p', home, '-c', join(home, 'nginx.conf')], { stdio: 'ignore' });
  const ended = new Promise((done) => nginx.once('exit', done).once('error', done));
  t.after(async () => {
    nginx.kill('SIGTERM');
    await ended;
    rmSync(home, { recursive: true });
  });
  await until('nginx', () => fetch(`http://127.0.0.1:${front}/healthz`).then(({ ok }) => ok, () => false));
  return front;
}

for (const variant of VARIANTS.filter(([, transport]) => transport !== 'websocket')) {
  test(`${variant.join(' over ')}: nginx with its default buffering forwards messages and replies at once`, async (t) => {
    const gateway = await new Gateway().start();
    const sdk = client(variant, await startNginx(t, gateway.port));
    try {
      const { subscription, received, subscribed } = await subscribe(sdk, 'chat.a');
      for (const n of [1, 2, 3]) {
        await gateway.publish('chat.a', { n });
        await until(`message ${n}`, () => received.length === n);
      }
      await subscription.publish(variant[0] === 'json' ? { n: 4 } : new TextEncoder().encode('{"n":4}'));
      await until('the client\'s own message', () => received.length === 4);
      sdk.disconnect();
      await gateway.publish('chat.a', { n: 5 });
      sdk.connect();
      await until('the missed messages', () => received.length === 5);
      assert.deepEqual(received.map(({ n }) => n), [1, 2, 3, 4, 5]);
      assert.deepEqual(subscribed.map(({ recovered }) => recovered), [false, true]);
    } finally {
      sdk.disconnect();
      await gateway[Symbol.asyncDispose]();
    }
  });
}
