// Chromium's own EventSource on /sse, and Centrifugo's SDK over each of its transports, before real gateways that end and come back.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { binary, startGateway, startProxy, until } from '../js/gateway.mjs';

const folder = fileURLToPath(new URL('../../target/browser-test/', import.meta.url));
const { chromium } = createRequire(folder)('playwright-core');
const skip = !binary && !process.env.CI && 'no gateway: build it (cargo build), or name it in BELFRY';
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** An empty page at `origin`, and nothing of the gateway's own. */
async function openPage(t, origin) {
  const profile = mkdtempSync(join(tmpdir(), 'belfry-browser-'));
  const browser = await chromium.launchPersistentContext(profile, { executablePath: process.env.CHROMIUM, headless: true, args, bypassCSP: true });
  t.after(async () => {
    await browser.close();
    rmSync(profile, { recursive: true });
  });
  const page = await browser.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(`${origin}/healthz`);
  return page;
}

const publish = async (gateway, topic, data) => {
  const { status } = await fetch(`http://${gateway.address}/v1/topics/${topic}`, { method: 'POST', body: JSON.stringify(data) });
  assert.equal(status, 200);
};

/** Waits until `what` of the page's notes is as long. */
const has = (page, what, length) => page.waitForFunction(([name, wanted]) => window[name].length >= wanted, [what, length]);

test('an EventSource resumes over a torn connection, is told so, and comes back after a drain', { skip, timeout: 120_000 }, async (t) => {
  const gateway = await startGateway(t, { server: 'drain = "300ms"\norigins = ["http://127.0.0.1:*"]\n' });
  const proxy = await startProxy(t, gateway);
  const page = await openPage(t, `http://${gateway.address}`);
  await publish(gateway, 'chat.a', 0);
  await page.evaluate((url) => {
    [window.seen, window.begun] = [[], []];
    window.stream = new EventSource(url);
    stream.onmessage = ({ data, lastEventId }) => seen.push([JSON.parse(data).data, lastEventId]);
    stream.addEventListener('subscribed', ({ data }) => begun.push(JSON.parse(data).topics[0]));
  }, `${proxy.url.replace('ws:', 'http:').replace('/ws', '')}/sse?topics=chat.a`);
  await has(page, 'begun', 1);
  await publish(gateway, 'chat.a', 1);
  await has(page, 'seen', 1);
  proxy.cut();
  for (const n of [2, 3]) await publish(gateway, 'chat.a', n);
  await has(page, 'seen', 3);
  await publish(gateway, 'chat.a', 4);
  await has(page, 'seen', 4);
  const [seen, begun] = await page.evaluate(() => [seen, begun]);
  assert.deepEqual(seen.map(([n]) => n), [1, 2, 3, 4], 'each once, in order');
  assert.deepEqual(seen.map(([, id]) => id), [2, 3, 4, 5].map((offset) => `${begun[0].epoch}:${offset}`));
  assert.deepEqual(begun.map(({ recovered }) => recovered), [undefined, true]);
  assert.equal(await gateway.stop('SIGTERM'), 0);
  await gateway.start();
  await has(page, 'begun', 3);
  await publish(gateway, 'chat.a', 5);
  await has(page, 'seen', 5);
  assert.equal(await page.evaluate(() => begun[2].recovered), false, 'the topic lives anew');
  assert.equal(await page.evaluate(() => stream.readyState), 1);
});

for (const [codec, transport] of [['json', 'websocket'], ['protobuf', 'websocket'], ['json', 'sse'], ['json', 'http_stream'], ['protobuf', 'http_stream']]) {
  test(`Centrifugo's SDK in ${codec} over ${transport} loses nothing, from a page of another origin`, { skip, timeout: 120_000 }, async (t) => {
    const gateway = await startGateway(t, { server: 'drain = "300ms"\norigins = ["http://localhost:*"]\n' });
    const page = await openPage(t, `http://${gateway.address.replace('127.0.0.1', 'localhost')}`);
    await page.evaluate(readFileSync(join(folder, `node_modules/centrifuge/dist/centrifuge${codec === 'json' ? '' : '.protobuf'}.js`), 'utf8'));
    await page.evaluate(([transport, address]) => {
      const endpoint = `${transport === 'websocket' ? 'ws' : 'http'}://${address}/connection/${transport}`;
      window.sdk = new Centrifuge([{ transport, endpoint }], { emulationEndpoint: `http://${address}/emulation`, minReconnectDelay: 20, maxReconnectDelay: 200 });
      [window.seen, window.begun, window.codes] = [[], [], []];
      const read = (data) => (data instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(data)) : data);
      sdk.on('connecting', ({ code }) => codes.push(code));
      window.subscription = sdk.newSubscription('chat.a', { joinLeave: true });
      subscription.on('publication', ({ data }) => seen.push(read(data)));
      subscription.on('subscribed', ({ wasRecovering, recovered }) => begun.push([wasRecovering, recovered]));
      subscription.subscribe();
      sdk.connect();
    }, [transport, gateway.address]);
    await has(page, 'begun', 1);
    await publish(gateway, 'chat.a', 1);
    await has(page, 'seen', 1);
    await page.evaluate((codec) => subscription.publish(codec === 'json' ? 2 : new TextEncoder().encode('2')), codec);
    await has(page, 'seen', 2);
    await page.evaluate(() => sdk.disconnect());
    for (const n of [3, 4]) await publish(gateway, 'chat.a', n);
    await page.evaluate(() => sdk.connect());
    await has(page, 'seen', 4);
    assert.deepEqual(await page.evaluate(() => [seen, begun]), [[1, 2, 3, 4], [[false, false], [true, true]]]);
    assert.equal(await page.evaluate(() => subscription.presenceStats().then(({ numClients }) => numClients)), 1, 'the first has left');
    assert.equal(await gateway.stop('SIGTERM'), 0);
    await gateway.start();
    await has(page, 'begun', 3);
    assert.equal(await page.evaluate(() => codes.at(-1)), 3001);
  });
}
