// Chromium's own EventSource on /sse, with a real gateway that restarts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startGateway, startProxy } from '../js/gateway.mjs';
import { hasEntries, openPage, publish, skip } from './chromium.mjs';

test('an EventSource recovers after a lost connection, and reconnects after a drain', { skip, timeout: 120_000 }, async (t) => {
  const gateway = await startGateway(t, { server: 'drain = "300ms"\norigins = ["http://127.0.0.1:*"]\n' });
  const proxy = await startProxy(t, gateway);
  const page = await openPage(t, `http://${gateway.address}`);
  await publish(gateway, 'chat.a', 0);
  await page.evaluate((url) => {
    [window.received, window.subscribed] = [[], []];
    window.stream = new EventSource(url);
    stream.onmessage = ({ data, lastEventId }) => received.push([JSON.parse(data).data, lastEventId]);
    stream.addEventListener('subscribed', ({ data }) => subscribed.push(JSON.parse(data).topics[0]));
  }, `${proxy.url.replace('ws:', 'http:').replace('/ws', '')}/sse?topics=chat.a`);
  await hasEntries(page, 'subscribed', 1);
  await publish(gateway, 'chat.a', 1);
  await hasEntries(page, 'received', 1);
  proxy.cut();
  for (const n of [2, 3]) await publish(gateway, 'chat.a', n);
  await hasEntries(page, 'received', 3);
  await publish(gateway, 'chat.a', 4);
  await hasEntries(page, 'received', 4);
  const [received, subscribed] = await page.evaluate(() => [received, subscribed]);
  assert.deepEqual(received.map(([n]) => n), [1, 2, 3, 4], 'each message once, in order');
  assert.deepEqual(received.map(([, id]) => id), [2, 3, 4, 5].map((offset) => `${subscribed[0].epoch}:${offset}`));
  assert.deepEqual(subscribed.map(({ recovered }) => recovered), [undefined, true]);
  assert.equal(await gateway.stop('SIGTERM'), 0);
  await gateway.start();
  await hasEntries(page, 'subscribed', 3);
  await publish(gateway, 'chat.a', 5);
  await hasEntries(page, 'received', 5);
  assert.equal(await page.evaluate(() => subscribed[2].recovered), false, 'the topic has a new epoch');
  assert.equal(await page.evaluate(() => stream.readyState), 1);
});
