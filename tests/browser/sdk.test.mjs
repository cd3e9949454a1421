// Centrifugo's SDK in a real Chromium, in each encoding over each transport, with real gateways that restart.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startGateway, startProxy, until } from '../js/gateway.mjs';
import { folder, hasEntries, openPage, publish, skip } from './chromium.mjs';

const VARIANTS = [['json', 'websocket'], ['protobuf', 'websocket'], ['json', 'sse'], ['json', 'http_stream'], ['protobuf', 'http_stream']];
const SECRET = 'a secret of this suite, which has 32 bytes';
const CONFIG = `
[auth]
anonymous = { subscribe = [">"], publish = [">"] }
keys = [{ algorithm = "HS256", secret = "${SECRET}" }]
[limits]
commands_per_second = 10000
commands_burst = 10000
write_timeout = "120s"
[[topics]]
match = ">"
history = 10000
`;

/** The SDK's build for browsers. */
const sdk = (codec) => readFileSync(join(folder, `node_modules/centrifuge/dist/centrifuge${codec === 'json' ? '' : '.protobuf'}.js`), 'utf8');

function token(seconds) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + seconds })}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
}

/** Publishes the numbers from 1 to `count`, each with `bytes` more bytes. */
async function publishMany(gateway, topic, count, bytes) {
  const lines = Array.from({ length: count }, (_, n) => JSON.stringify({ topic, data: { n: n + 1, text: '_'.repeat(bytes) } }));
  for (let from = 0; from < count; from += 1000) {
    const answer = await fetch(`http://${gateway.address}/v1/publish`, { method: 'POST', body: lines.slice(from, from + 1000).join('\n') });
    assert.equal((await answer.json()).published, Math.min(1000, count - from));
  }
}

/** Waits until the gateway has a slow session. */
async function untilSlow(gateway) {
  const deadline = Date.now() + 60_000;
  const isSlow = async () => (await (await fetch(`http://${gateway.address}/metrics`)).text()).includes('\nbelfry_slow_sessions 1\n');
  while (!(await isSlow())) {
    assert.ok(Date.now() < deadline, 'no slow session within 60 s');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

for (const [codec, transport] of VARIANTS) {
  test(`Centrifugo's SDK in ${codec} over ${transport} loses nothing, from a page of another origin`, { skip, timeout: 120_000 }, async (t) => {
    const gateway = await startGateway(t, { server: 'drain = "300ms"\norigins = ["http://localhost:*"]\n' });
    const page = await openPage(t, `http://${gateway.address.replace('127.0.0.1', 'localhost')}`);
    await page.evaluate(sdk(codec));
    await page.evaluate(([transport, address]) => {
      const endpoint = `${transport === 'websocket' ? 'ws' : 'http'}://${address}/connection/${transport}`;
      window.sdk = new Centrifuge([{ transport, endpoint }], { emulationEndpoint: `http://${address}/emulation`, minReconnectDelay: 20, maxReconnectDelay: 200 });
      [window.received, window.subscribed, window.codes] = [[], [], []];
      const read = (data) => (data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data);
      sdk.on('connecting', ({ code }) => codes.push(code));
      window.subscription = sdk.newSubscription('chat.a', { joinLeave: true });
      subscription.on('publication', ({ data }) => received.push(read(data)));
      subscription.on('subscribed', ({ wasRecovering, recovered }) => subscribed.push([wasRecovering, recovered]));
      subscription.subscribe();
      sdk.connect();
    }, [transport, gateway.address]);
    await hasEntries(page, 'subscribed', 1);
    await publish(gateway, 'chat.a', 1);
    await hasEntries(page, 'received', 1);
    await page.evaluate((codec) => subscription.publish(codec === 'json' ? 2 : new TextEncoder().encode('2')), codec);
    await hasEntries(page, 'received', 2);
    await page.evaluate(() => sdk.disconnect());
    for (const n of [3, 4]) await publish(gateway, 'chat.a', n);
    await page.evaluate(() => sdk.connect());
    await hasEntries(page, 'received', 4);
    assert.deepEqual(await page.evaluate(() => [received, subscribed]), [[1, 2, 3, 4], [[false, false], [true, true]]]);
    assert.equal(await page.evaluate(() => subscription.presenceStats().then(({ numClients }) => numClients)), 1, 'the first session has left');
    assert.equal(await gateway.stop('SIGTERM'), 0);
    await gateway.start();
    await hasEntries(page, 'subscribed', 3);
    assert.equal(await page.evaluate(() => codes.at(-1)), 3001);
  });
}

for (const [codec, transport] of VARIANTS) {
  const name = `Centrifugo's SDK in ${codec} over ${transport}: a thousand subscriptions, a refreshed token, a slow phase, kill -9`;
  test(name, { skip, timeout: 120_000 }, async (t) => {
    const [THOUSAND, COUNT] = [1000, 4000];
    const gateway = await startGateway(t, { config: CONFIG, server: 'origins = ["http://localhost:*"]\n' });
    const proxy = await startProxy(t, gateway);
    const page = await openPage(t, `http://${gateway.address.replace('127.0.0.1', 'localhost')}`);
    let fetched = 0;
    await page.exposeFunction('fetchToken', () => token(2 + 600 * fetched++));
    await page.evaluate(sdk(codec));
    await page.evaluate(([transport, through, address, thousand]) => {
      const endpoint = `${transport === 'websocket' ? 'ws' : 'http'}://${through}/connection/${transport}`;
      const options = { emulationEndpoint: `http://${address}/emulation`, getToken: () => fetchToken(), minReconnectDelay: 20, maxReconnectDelay: 200 };
      window.sdk = new Centrifuge([{ transport, endpoint }], options);
      [window.received, window.subscribed, window.connections, window.failed] = [[], [], [], []];
      const read = (data) => (data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data);
      sdk.on('connected', ({ client }) => connections.push(client));
      for (let n = 0; n < thousand; n++) {
        const subscription = sdk.newSubscription(`chat.${n}`);
        subscription.on('publication', ({ data }) => received.push(read(data).n));
        subscription.on('subscribed', ({ wasRecovering, recovered }) => subscribed.push(`${wasRecovering} ${recovered}`));
        subscription.on('error', ({ error }) => failed.push(error.message));
        subscription.subscribe();
      }
      sdk.connect();
    }, [transport, new URL(proxy.url).host, gateway.address, THOUSAND]);
    await hasEntries(page, 'subscribed', THOUSAND);
    await until(() => fetched >= 2, 'a second token');
    proxy.pause();
    await publishMany(gateway, 'chat.7', COUNT, 4000);
    await untilSlow(gateway);
    proxy.resume();
    await hasEntries(page, 'received', COUNT);
    await publish(gateway, 'chat.8', { n: COUNT + 1 });
    await hasEntries(page, 'received', COUNT + 1);
    const numbers = await page.evaluate(() => received);
    assert.ok(numbers.length === COUNT + 1 && numbers.every((n, index) => n === index + 1), 'each message once, in order');
    const [sessions, failed, subscribed] = await page.evaluate(() => [connections.length, failed, subscribed.length]);
    assert.deepEqual([sessions, failed, subscribed], [1, [], THOUSAND], 'the session and its subscriptions continue');
    await gateway.stop('SIGKILL');
    await gateway.start();
    await hasEntries(page, 'subscribed', 2 * THOUSAND);
    const again = await page.evaluate((thousand) => [...new Set(subscribed.slice(thousand))], THOUSAND);
    assert.deepEqual(again, ['true false'], 'each topic has a new epoch');
    await publish(gateway, 'chat.9', { n: 0 });
    await hasEntries(page, 'received', COUNT + 2);
  });
}
