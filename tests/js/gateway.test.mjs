// belfry.js with a real gateway that is disconnected, killed and drained.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { Belfry } from '../../src/server/page/belfry.js';
import { WebSocket, binary, startGateway, startProxy, until } from './gateway.mjs';

const missing = !binary && !process.env.CI && 'no gateway: build it (cargo build), or name it in BELFRY';

function endToEnd(name, body) {
  test(name, { skip: missing, timeout: 60_000 }, body);
}

/** A client that is closed at the end of the test, with a short back-off. `states` has each state, its detail and its time. */
function connect(test, url, options = {}) {
  const states = [];
  const onState = (state, detail) => states.push({ state, at: Date.now(), ...detail });
  const gateway = new Belfry(url, { WebSocket, backoffMs: 50, backoffMaxMs: 200, onState, ...options });
  test.after(() => gateway.close());
  return Object.assign(gateway, { states });
}

/** Closes the connections of `proxy`, and waits until `gateway` has reconnected. */
async function cutOff(proxy, gateway) {
  const before = gateway.states.length;
  proxy.cut();
  await until(() => gateway.states.slice(before).some(({ state }) => state === 'open'), 'a reconnect');
}

/** Publishes 1, 2, 3 … to `topic` until `stop()` is called. Each publish follows the answer to the one before. */
function publishNumbers(gateway, topic) {
  const acknowledged = new Map(); // number → offset
  const publisher = { acknowledged, last: 0 };
  let running = true;
  const done = (async () => {
    while (running) {
      const number = (publisher.last += 1);
      try {
        acknowledged.set(number, await gateway.publish(topic, number));
      } catch (error) {
        if (error.code !== 'unknown') throw error;
      }
    }
  })();
  done.catch(() => {}); // stop() returns the error.
  return Object.assign(publisher, { stop: () => ((running = false), done) });
}

function listen(gateway, topics, options = {}) {
  const received = { messages: [], lost: [], gaps: [] };
  const subscription = gateway.subscribe(topics, {
    onMessage: (message) => received.messages.push(message),
    onLost: (lost) => received.lost.push(lost),
    onGap: (gap) => received.gaps.push(gap),
    ...options,
  });
  return Object.assign(received, { subscription, numbers: () => received.messages.map(({ data }) => data) });
}

const increasing = (numbers) => numbers.every((number, index) => index === 0 || number > numbers[index - 1]);
const settings = (commands) => `
[auth]
anonymous = { subscribe = [">"], publish = [">"] }
[limits]
commands_per_second = ${commands}
commands_burst = ${commands}
frames_per_second = ${commands}
frames_burst = ${commands}
[[topics]]
match = ">"
history = 100000
presence = true
`;

endToEnd('publish, history, presence and errors', async (t) => {
  const gateway = await startGateway(t);
  const [ana, ben] = [connect(t, gateway.url), connect(t, gateway.url)];
  const changes = [];
  const received = listen(ana, 'chat.房間', { presence: true, onJoin: ({ member }) => changes.push(`join ${member.session}`), onLeave: ({ member }) => changes.push(`leave ${member.session}`) });
  await received.subscription.ready;
  const other = listen(ben, 'chat.房間');
  await other.subscription.ready;
  assert.equal(await ben.publish('chat.房間', { text: '你好' }), 1);
  assert.equal(await ben.publish('chat.房間', 'not for me', { echo: false }), 2);
  await until(() => received.messages.length === 2, 'both messages');
  assert.deepEqual(received.numbers(), [{ text: '你好' }, 'not for me']);
  const { messages, epoch } = await ana.history('chat.房間', { since: 1 });
  assert.deepEqual(messages.map(({ offset, data }) => [offset, data]), [[2, 'not for me']]);
  assert.equal(epoch, received.messages[0].epoch);
  const { count, members } = await ana.presence('chat.房間');
  assert.equal(count, 2);
  assert.deepEqual(members.map(({ session }) => session).sort(), [ana.session, ben.session].sort());
  const bensSession = ben.session;
  ben.close();
  await until(() => changes.length === 2, 'join and leave');
  assert.deepEqual(changes, [`join ${bensSession}`, `leave ${bensSession}`]);
  await assert.rejects(ana.publish('bad topic', 1), { code: 'bad_topic' });
  assert.ok((await ana.ping()) >= 0);
});

endToEnd('a client that is disconnected five times receives each message once and in order', async (t) => {
  const gateway = await startGateway(t, { config: settings(100_000) });
  const proxy = await startProxy(t, gateway);
  const subscriber = connect(t, proxy.url);
  const named = listen(subscriber, 'feed.a', { last: 0 });
  const byPattern = listen(subscriber, 'feed.*', { last: 0 });
  await Promise.all([named.subscription.ready, byPattern.subscription.ready]);
  const publisher = publishNumbers(connect(t, gateway.url), 'feed.a');
  for (let cuts = 0; cuts < 5; cuts += 1) {
    const before = named.messages.length;
    await until(() => named.messages.length > before + 50, 'messages to flow');
    await cutOff(proxy, subscriber);
  }
  await publisher.stop();
  await until(() => named.messages.length >= publisher.last && byPattern.messages.length >= publisher.last, 'the last message');
  const all = Array.from({ length: publisher.last }, (_, index) => index + 1);
  assert.deepEqual(named.numbers(), all);
  assert.deepEqual(byPattern.numbers(), all);
  assert.deepEqual([...named.lost, ...byPattern.lost], []);
});

endToEnd('after a crash of the gateway no message is duplicated or reordered, and the loss is reported', async (t) => {
  const gateway = await startGateway(t, { config: settings(100_000) });
  const received = listen(connect(t, gateway.url), 'feed.a', { last: 10_000 });
  await received.subscription.ready;
  const publisher = publishNumbers(connect(t, gateway.url), 'feed.a');
  await until(() => received.messages.length > 100, 'messages to flow');
  await gateway.stop('SIGKILL');
  await gateway.start();
  await until(() => received.lost.length, 'a report of the loss');
  const epochs = () => [...new Set(received.messages.map(({ epoch }) => epoch))];
  await until(() => epochs().length === 2 && received.messages.length > 300, 'messages to flow again');
  await publisher.stop();
  const acknowledgedLast = Math.max(...publisher.acknowledged.keys());
  await until(() => received.numbers().at(-1) >= acknowledgedLast, 'the last message');

  assert.ok(increasing(received.numbers()), 'each number once, in order');
  const [before, after] = epochs().map((epoch) => received.messages.filter((message) => message.epoch === epoch));
  for (const epoch of [before, after]) assert.deepEqual(epoch.map(({ offset }) => offset), epoch.map((_, index) => index + 1), 'no hole in an epoch');
  assert.deepEqual(received.lost.map(({ topic, reason }) => [topic, reason]), [['feed.a', 'epoch']]);
  assert.deepEqual(received.lost[0].before, { epoch: before[0].epoch, offset: before.length });
  const numbers = new Set(received.numbers());
  const first = after[0].data;
  for (const number of publisher.acknowledged.keys()) if (number >= first) assert.ok(numbers.has(number), `${number} was acknowledged in the new epoch`);
});

endToEnd('in a drain all messages are delivered, and the client reconnects after `retry_after_ms`', async (t) => {
  const gateway = await startGateway(t, { server: 'drain = "1s"' });
  const subscriber = connect(t, gateway.url);
  const { states } = subscriber;
  const received = listen(subscriber, 'chat.a');
  await received.subscription.ready;
  const publisher = connect(t, gateway.url);
  for (let number = 1; number <= 20; number += 1) await publisher.publish('chat.a', number);
  assert.equal(await gateway.stop('SIGTERM'), 0);
  await gateway.start();
  await until(() => states.filter(({ state }) => state === 'open').length === 2, 'a reconnect');
  assert.deepEqual(received.numbers(), Array.from({ length: 20 }, (_, index) => index + 1));
  const [waiting, connecting] = states.slice(states.findIndex(({ state }) => state === 'waiting'));
  assert.equal(waiting.code, 1001);
  assert.ok(waiting.retryInMs >= 0 && waiting.retryInMs <= 2000, `${waiting.retryInMs} ms: at most twice the drain`);
  assert.ok(connecting.at - waiting.at >= waiting.retryInMs - 5, 'the reconnect is not too early');
});

endToEnd('a subscription with an interval receives the newest message, also after a reconnect', async (t) => {
  const gateway = await startGateway(t, { config: settings(100_000) });
  const proxy = await startProxy(t, gateway);
  const subscriber = connect(t, proxy.url);
  const received = listen(subscriber, 'feed.*', { intervalMs: 100 });
  await received.subscription.ready;
  const publisher = publishNumbers(connect(t, gateway.url), 'feed.a');
  await until(() => received.messages.length > 5, 'messages to flow');
  assert.ok(received.messages.length < publisher.last, 'some messages are conflated');
  await cutOff(proxy, subscriber);
  await publisher.stop();
  await until(() => received.numbers().at(-1) === publisher.last, 'the newest');
  assert.ok(increasing(received.numbers()));
  assert.deepEqual(received.lost, []);
});

endToEnd('a token function keeps a session alive past its first token', async (t) => {
  const secret = 'a secret of at least thirty-two bytes';
  const gateway = await startGateway(t, { config: `[auth]\nkeys = [{ algorithm = "HS256", secret = "${secret}" }]` });
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  let tokens = 0;
  const token = () => {
    tokens += 1;
    const exp = Math.floor(Date.now() / 1000) + 4;
    const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ sub: 'ana', exp, subscribe: ['chat.>'], publish: ['chat.>'] })}`;
    return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
  };
  const ana = connect(t, gateway.url, { token });
  const received = listen(ana, 'chat.a');
  await received.subscription.ready;
  assert.equal(ana.user, 'ana');
  await until(() => tokens >= 3, 'two renewals');
  assert.equal(await ana.publish('chat.a', 'still here'), 1);
  assert.deepEqual(ana.states.map(({ state }) => state), ['connecting', 'open']);
  await assert.rejects(ana.publish('quotes.a', 1), { code: 'not_allowed' });
});

endToEnd('without a token the client is closed with 1008', async (t) => {
  const gateway = await startGateway(t, { config: '[auth]\n[limits]\nauth_timeout = "300ms"' });
  const { states } = connect(t, gateway.url);
  await until(() => states.at(-1).state === 'closed', 'the end');
  assert.equal(states.at(-1).code, 1008);
});
