// Chromium's own EventSource on /sse, before a real gateway that ends and comes back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startGateway, startProxy } from '../js/gateway.mjs';
import { has, openPage, publish, skip } from './chromium.mjs';

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
