// The behaviour of belfry.js with a scripted gateway: without network and without waiting.
import assert from 'node:assert/strict';
import { afterEach, mock, test } from 'node:test';
import { matches } from '../../src/server/page/belfry.js';
import { message, settled, stage } from './stage.mjs';

let s;
afterEach(() => s?.end());

/** A client with a session that is subscribed to `topic`. `entry` is the entry in the gateway's answer. */
function subscribed(topic, options = {}, entry = { topic, epoch: 'e1', offset: 0 }) {
  s = stage();
  s.welcome();
  const received = { offsets: [], lost: [], gaps: [] };
  const subscription = s.gateway.subscribe(topic, {
    onMessage: ({ offset }) => received.offsets.push(offset),
    onLost: (lost) => received.lost.push(lost),
    onGap: (gap) => received.gaps.push(gap),
    ...options,
  });
  answer([entry]);
  return { subscription, received };
}

function answer(topics) {
  s.deliver({ op: 'subscribed', id: s.sent('subscribe').at(-1).id, topics });
}

test('PROTOCOL 2: patterns match as in NATS, and a first wildcard matches no topic that begins with $', () => {
  for (const [pattern, topic, expected] of [
    ['quotes.*', 'quotes.AAPL', true], ['quotes.*', 'quotes.AAPL.x', false], ['quotes.*', 'quotes', false],
    ['chat.>', 'chat.a.b', true], ['chat.>', 'chat', false], ['>', 'a', true], ['>', '$belfry.stats', false],
    ['*.stats', '$belfry.stats', false], ['$belfry.>', '$belfry.stats', true], ['a.*.c', 'a.b.c', true], ['a.*.c', 'a.b.d', false],
    ['a.*.c', 'a.b', false], ['a', 'a', true],
  ]) assert.equal(matches(pattern, topic), expected, `${pattern} on ${topic}`);
});

test('PROTOCOL 3: options of subscribe have the names of the protocol', () => {
  s = stage();
  s.welcome();
  s.gateway.subscribe(['quotes.*', 'chat.lobby'], { last: 5, intervalMs: 250, presence: true, since: { 'chat.lobby': { epoch: 'e9', offset: 3 } } });
  const { id, ...command } = s.sent('subscribe')[0];
  assert.deepEqual(command, {
    op: 'subscribe', topics: ['quotes.*', 'chat.lobby'], last: 5, interval_ms: 250, presence: true,
    since: { 'chat.lobby': { epoch: 'e9', offset: 3 } },
  });
  assert.equal(s.socket().protocol, 'belfry.json.v1');
});

test('PROTOCOL 3: a client resumes after the last offset that it has received, and drops duplicates', () => {
  const { received } = subscribed('chat.lobby');
  s.deliver(message('chat.lobby', 1), message('chat.lobby', 2));
  s.reconnect();
  assert.deepEqual(s.sent('subscribe')[0].since, { 'chat.lobby': { epoch: 'e1', offset: 2 } });
  answer([{ topic: 'chat.lobby', epoch: 'e1', offset: 4, recovered: true }]);
  s.deliver(...[2, 3, 4, 4].map((offset) => message('chat.lobby', offset)));
  assert.deepEqual(received.offsets, [1, 2, 3, 4]);
  assert.deepEqual(received.lost, []);
});

test('PROTOCOL 3: the topics of a pattern are resumed by name', () => {
  subscribed('quotes.*', { intervalMs: 250 }, { topic: 'quotes.*' });
  s.deliver(message('quotes.A', 7), message('quotes.B', 9, 'e2'));
  s.reconnect();
  const [{ topics, since, interval_ms }] = s.sent('subscribe');
  assert.deepEqual(topics, ['quotes.*']);
  assert.equal(interval_ms, 250);
  assert.deepEqual(since, { 'quotes.A': { epoch: 'e1', offset: 7 }, 'quotes.B': { epoch: 'e2', offset: 9 } });
});

test('a topic without a message resumes from its position at the subscribe', () => {
  subscribed('chat.lobby', { last: 3 }, { topic: 'chat.lobby', epoch: 'e1', offset: 17 });
  s.reconnect();
  assert.deepEqual(s.sent('subscribe')[0].since, { 'chat.lobby': { epoch: 'e1', offset: 14 } });
});

test('recovered:false is reported once with the last position, and messages of the new epoch are received', () => {
  const { received } = subscribed('chat.lobby');
  s.deliver(message('chat.lobby', 1), message('chat.lobby', 2));
  s.reconnect();
  answer([{ topic: 'chat.lobby', epoch: 'e2', offset: 1, recovered: false }]);
  s.deliver(message('chat.lobby', 1, 'e2'), message('chat.lobby', 2, 'e2'));
  assert.deepEqual(received.lost, [{ topic: 'chat.lobby', reason: 'epoch', before: { epoch: 'e1', offset: 2 } }]);
  assert.deepEqual(received.offsets, [1, 2, 1, 2]);
});

test('the reason of a loss is `history` for a topic of a pattern, and `pattern` for unknown topics', () => {
  const { received } = subscribed('chat.*', {}, { topic: 'chat.*' });
  s.deliver(message('chat.a', 2));
  s.reconnect();
  answer([{ topic: 'chat.*', recovered: false }, { topic: 'chat.a', epoch: 'e1', offset: 900, recovered: false }]);
  assert.deepEqual(received.lost.map(({ topic, reason }) => [topic, reason]), [['chat.*', 'pattern'], ['chat.a', 'history']]);
});

test('an epoch that changes within a session is reported', () => {
  const { received } = subscribed('chat.lobby');
  s.deliver(message('chat.lobby', 1), message('chat.lobby', 1, 'e2'));
  assert.deepEqual(received.lost, [{ topic: 'chat.lobby', reason: 'epoch', before: { epoch: 'e1', offset: 1 } }]);
  assert.deepEqual(received.offsets, [1, 1]);
});

test('a gap is reported, and a client resumes after the gap', () => {
  const { received, subscription } = subscribed('chat.lobby');
  s.deliver(message('chat.lobby', 1), { op: 'gap', topic: 'chat.lobby', from: 2, to: 5 });
  assert.deepEqual(received.gaps.map(({ from, to }) => [from, to]), [[2, 5]]);
  assert.deepEqual({ ...subscription.positions }, { 'chat.lobby': { epoch: 'e1', offset: 5 } });
});

test('overlapping subscriptions each receive a message once, also if one of them has a replay', () => {
  const { received } = subscribed('quotes.*', {}, { topic: 'quotes.*' });
  s.deliver(message('quotes.A', 4), message('quotes.A', 5));
  const second = [];
  s.gateway.subscribe('quotes.A', { last: 2, onMessage: ({ offset }) => second.push(offset) });
  s.deliver(message('quotes.A', 6)); // published before the second subscription, whose replay has it
  answer([{ topic: 'quotes.A', epoch: 'e1', offset: 6 }]);
  s.deliver(...[5, 6, 7].map((offset) => message('quotes.A', offset)));
  assert.deepEqual(received.offsets, [4, 5, 6, 7]);
  assert.deepEqual(second, [5, 6, 7]);
});

test('a replay for one subscription leaves no hole in another that resumes later', () => {
  const { received } = subscribed('chat.a');
  const second = { offsets: [], lost: [] };
  s.gateway.subscribe('chat.*', { onMessage: ({ offset }) => second.offsets.push(offset), onLost: (lost) => second.lost.push(lost) });
  answer([{ topic: 'chat.*' }]);
  s.deliver(message('chat.a', 1));
  s.reconnect();
  const [first, other] = s.sent('subscribe');
  s.deliver({ op: 'subscribed', id: first.id, topics: [{ topic: 'chat.a', epoch: 'e1', offset: 4, recovered: true }] }, message('chat.a', 2));
  s.deliver({ op: 'subscribed', id: other.id, topics: [{ topic: 'chat.*' }, { topic: 'chat.a', epoch: 'e1', offset: 4, recovered: true }] });
  s.deliver(...[3, 4, 2, 3, 4, 6].map((offset) => message('chat.a', offset)));
  assert.deepEqual(received.offsets, [1, 2, 3, 4, 6]);
  assert.deepEqual(second, { offsets: [1, 2, 3, 4, 6], lost: [] });
});

test('messages that are missing from a recovered topic are reported as lost', () => {
  const { received } = subscribed('chat.a');
  s.deliver(message('chat.a', 1));
  s.reconnect();
  answer([{ topic: 'chat.a', epoch: 'e1', offset: 4, recovered: true }]);
  s.deliver(message('chat.a', 2), message('chat.a', 5));
  assert.deepEqual(received.offsets, [1, 2, 5]);
  assert.deepEqual(received.lost, [{ topic: 'chat.a', reason: 'history', before: { epoch: 'e1', offset: 2 } }]);
});

test('a topic belongs to one subscription, until that is unsubscribed and receives nothing more', () => {
  const { subscription, received } = subscribed('chat.lobby');
  assert.throws(() => s.gateway.subscribe('chat.lobby'), /chat\.lobby is subscribed already/);
  subscription.unsubscribe();
  assert.deepEqual(s.sent('unsubscribe'), [{ op: 'unsubscribe', topics: ['chat.lobby'] }]);
  s.deliver(message('chat.lobby', 1));
  assert.deepEqual(received.offsets, []);
  s.gateway.subscribe('chat.lobby');
});

test('a long list of topics is sent in several commands within max_message_bytes, each with the positions of its topics', () => {
  const names = Array.from({ length: 900 }, (_, index) => `房間.${'長'.repeat(40)}${index}`);
  s = stage();
  s.welcome();
  const since = Object.fromEntries(names.map((name) => [name, { epoch: 'e1e1e1', offset: 1 }]));
  s.gateway.subscribe(names, { since });
  const commands = s.sent('subscribe');
  assert.ok(commands.length > 1);
  assert.deepEqual(commands.flatMap(({ topics }) => topics), names);
  for (const command of commands) {
    assert.ok(Buffer.byteLength(JSON.stringify(command)) <= 65_536);
    assert.deepEqual(Object.keys(command.since), command.topics);
  }
});

test('a topic may have the name of a property of every object', () => {
  const { subscription } = subscribed('__proto__');
  s.deliver(message('__proto__', 3));
  assert.equal(JSON.stringify(subscription.positions), '{"__proto__":{"epoch":"e1","offset":3}}');
  s.reconnect();
  assert.equal(JSON.stringify(s.sent('subscribe')[0].since), '{"__proto__":{"epoch":"e1","offset":3}}');
});

test('a payload that is not UTF-8 is received as bytes', async () => {
  s = stage();
  s.welcome();
  const data = [];
  s.gateway.subscribe('a', { onMessage: (received) => data.push(received.data) });
  answer([{ topic: 'a', epoch: 'e1', offset: 0 }]);
  s.deliver({ op: 'message', topic: 'a', epoch: 'e1', offset: 1, data_base64: '/wA=' });
  assert.deepEqual(data, [Uint8Array.of(255, 0)]);
});

test('a publish resolves with its offset, or is rejected with the code of the gateway\'s error', async () => {
  s = stage();
  s.welcome();
  const [good, bad] = [s.gateway.publish('chat.a', { text: 'hi' }), s.gateway.publish('quotes.a', 1)];
  const [first, second] = s.sent('publish');
  s.deliver({ op: 'error', id: second.id, code: 'not_allowed', message: 'no' }, { op: 'published', id: first.id, topic: 'chat.a', offset: 18 });
  assert.equal(await good, 18);
  await assert.rejects(bad, { code: 'not_allowed', message: 'no' });
});

test('a publish without an answer when the session ends is rejected as `unknown`, and is not sent again', async () => {
  s = stage();
  s.welcome();
  const publish = s.gateway.publish('chat.a', 1);
  s.reconnect();
  await assert.rejects(publish, { code: 'unknown' });
  assert.deepEqual(s.sent('publish'), []);
});

test('a publish without a session waits for the next session', async () => {
  s = stage();
  const publish = s.gateway.publish('chat.a', 1);
  s.welcome();
  s.deliver({ op: 'published', id: s.sent('publish')[0].id, topic: 'chat.a', offset: 1 });
  assert.equal(await publish, 1);
});

test('a message above max_message_bytes is rejected by the client', async () => {
  s = stage();
  s.welcome();
  await assert.rejects(s.gateway.publish('chat.a', 'x'.repeat(65_536)), { code: 'message_too_large' });
});

test('a client resumes after its own message that was published with echo:false', async () => {
  const { subscription } = subscribed('chat.a');
  s.deliver(message('chat.a', 1));
  const publish = s.gateway.publish('chat.a', 'mine', { echo: false });
  s.deliver({ op: 'published', id: s.sent('publish')[0].id, topic: 'chat.a', offset: 2 });
  await publish;
  assert.equal(subscription.positions['chat.a'].offset, 2);
});

test('the back-off doubles with full jitter up to its bound, and is reset by a session of five seconds', () => {
  s = stage({ backoffMs: 500, backoffMaxMs: 3000 });
  for (let attempt = 0; attempt < 5; attempt += 1) {
    s.drop();
    s.advance(s.states.at(-1).retryInMs);
  }
  s.welcome();
  s.advance(5000);
  s.drop();
  assert.deepEqual(s.states.filter(({ state }) => state === 'waiting').map(({ retryInMs }) => retryInMs), [250, 500, 1000, 1500, 1500, 250]);
});

test('a session that ends at once does not reset the back-off', () => {
  s = stage();
  for (const expected of [250, 500, 1000]) {
    s.welcome();
    s.drop(4003);
    assert.equal(s.states.at(-1).retryInMs, expected);
    s.advance(expected);
  }
});

test('PROTOCOL 3: after `draining` the client reconnects once `retry_after_ms` has passed since that event', () => {
  s = stage();
  s.welcome();
  s.deliver({ op: 'draining', retry_after_ms: 3120 });
  s.advance(1000);
  s.drop(1001);
  assert.equal(s.states.at(-1).retryInMs, 2120);
  s.advance(2119);
  assert.equal(s.sockets.length, 1);
  s.advance(1);
  assert.equal(s.sockets.length, 2);
  s.drop(); // the gateway has not started yet, so the back-off applies
  assert.equal(s.states.at(-1).retryInMs, 250);
});

test('the client pings after silence, and closes the session if no event arrives', () => {
  s = stage();
  s.welcome();
  s.advance(29_999);
  assert.equal(s.sent('ping').length, 0);
  s.advance(1);
  assert.equal(s.sent('ping').length, 1);
  s.deliver({ op: 'pong' });
  s.advance(30_000);
  assert.equal(s.sent('ping').length, 2);
  s.advance(10_000);
  assert.equal(s.gateway.state, 'waiting');
  assert.ok(s.socket().closedHere);
});

test('after a late timer the client pings before it closes the session', () => {
  s = stage();
  s.welcome();
  mock.timers.setTime(Date.now() + 300_000); // as in a tab in the background
  s.advance(0);
  assert.equal(s.sent('ping').length, 1);
  s.deliver({ op: 'pong' });
  mock.timers.setTime(Date.now() + 300_000);
  s.advance(0);
  assert.equal(s.sent('ping').length, 2);
  assert.equal(s.gateway.state, 'open');
});

test('subscribes and publishes of a state listener are sent once when the session opens', () => {
  s = stage({ onState: (state) => {
    if (state !== 'open') return;
    s.gateway.subscribe('chat.b');
    s.gateway.publish('chat.b', 1).catch(() => {});
  } });
  s.gateway.subscribe('chat.a');
  s.welcome();
  assert.deepEqual(s.sent('subscribe').map(({ topics }) => topics[0]), ['chat.a', 'chat.b']);
  assert.equal(s.sent('publish').length, 1);
});

test('no welcome in time is a failed attempt', () => {
  s = stage();
  s.advance(10_000);
  assert.equal(s.gateway.state, 'waiting');
});

test('PROTOCOL 6: the client reconnects after a close, except with codes that would be repeated', async () => {
  for (const [code, state] of [[1000, 'waiting'], [1001, 'waiting'], [1006, 'waiting'], [1013, 'waiting'], [4003, 'waiting'], [4004, 'waiting'], [4005, 'waiting'],
    [4009, 'waiting'], [1008, 'closed'], [4001, 'closed'], [4002, 'closed']]) {
    s = stage();
    s.welcome();
    const { ready } = s.gateway.subscribe('chat.a');
    s.drop(code, 'why');
    assert.equal(s.gateway.state, state, `${code}`);
    if (state === 'closed') await assert.rejects(ready, { code: 'closed', message: 'why' });
    s.end();
  }
});

test('PROTOCOL 6: after a close by an operator the client reconnects a second later than after others', () => {
  for (const [code, retryInMs] of [[4004, 250], [4009, 1250]]) {
    s = stage();
    s.welcome();
    s.drop(code);
    assert.equal(s.states.at(-1).retryInMs, retryInMs);
    s.advance(retryInMs - 1);
    assert.equal(s.sockets.length, 1);
    s.advance(1);
    assert.equal(s.sockets.length, 2);
    s.end();
  }
});

test('a token function is called for each session, also after 4002, and subscribes wait for `authenticated`', async () => {
  let tokens = 0;
  s = stage({ token: async () => `token${(tokens += 1)}` });
  s.gateway.subscribe('chat.a');
  s.welcome();
  await settled();
  assert.deepEqual(s.sent('auth').map(({ token }) => token), ['token1']);
  assert.equal(s.sent('subscribe').length, 0);
  s.deliver({ op: 'authenticated', id: s.sent('auth')[0].id, user: 'ana', expires: 1_700_000_100 });
  await settled();
  assert.equal(s.sent('subscribe').length, 1);
  assert.equal(s.gateway.user, 'ana');
  s.drop(4002);
  s.advance(250);
  s.welcome();
  await settled();
  assert.deepEqual(s.sent('auth').map(({ token }) => token), ['token2']);
});

test('a client whose clock is ahead renews its token at most twice a minute', async () => {
  let tokens = 0;
  s = stage({ token: () => `t${(tokens += 1)}` });
  s.welcome();
  const answered = new Set();
  for (let second = 0; second < 600; second += 1) {
    await settled();
    const open = s.sent('auth').filter(({ id }) => !answered.has(id));
    for (const { id } of open) {
      answered.add(id);
      s.deliver({ op: 'authenticated', id, user: 'ana', expires: 1_699_999_000 }); // By the client's clock the token has expired long ago.
    }
    s.deliver({ op: 'pong' });
    await settled();
    s.advance(1000);
  }
  await settled();
  assert.ok(tokens > 5 && tokens < 20, `${tokens} tokens in ten minutes`);
});

test('a token from a function is renewed before it expires', async () => {
  let tokens = 0;
  s = stage({ token: () => `token${(tokens += 1)}` });
  s.welcome();
  await settled();
  s.deliver({ op: 'authenticated', id: s.sent('auth')[0].id, user: 'ana', expires: 1_700_000_020 });
  await settled();
  s.advance(15_999);
  assert.equal(tokens, 1);
  s.advance(1);
  await settled();
  assert.deepEqual(s.sent('auth').map(({ token }) => token), ['token1', 'token2']);
});

test('a refused token closes the client, and one of a token function is tried again later', async () => {
  for (const [token, state] of [['fixed', 'closed'], [() => 'fresh', 'waiting']]) {
    s = stage({ token });
    s.welcome();
    await settled();
    s.deliver({ op: 'error', id: s.sent('auth')[0].id, code: 'token_invalid', message: 'bad signature' });
    await settled();
    assert.equal(s.gateway.state, state);
    assert.equal(s.errors[0].code, 'token_invalid');
    s.end();
  }
});

test('a refused subscribe rejects `ready` and is reported, and one that is rate limited is repeated', async () => {
  s = stage();
  s.welcome();
  const { ready } = s.gateway.subscribe('secret.a');
  s.deliver({ op: 'error', id: s.sent('subscribe')[0].id, code: 'not_allowed', message: 'secret.a' });
  await assert.rejects(ready, { code: 'not_allowed' });
  assert.equal(s.errors[0].code, 'not_allowed');
  s.gateway.subscribe('chat.a');
  s.deliver({ op: 'error', id: s.sent('subscribe').at(-1).id, code: 'rate_limited', message: 'slow down' });
  s.advance(1500);
  assert.deepEqual(s.sent('subscribe').map(({ topics }) => topics[0]), ['secret.a', 'chat.a', 'chat.a']);
});

test('an iteration continues after a reconnect, and ends with its subscription', async () => {
  const { subscription } = subscribed('chat.a');
  const seen = [];
  const reading = (async () => {
    for await (const { offset } of subscription) seen.push(offset);
  })();
  s.deliver(message('chat.a', 1), message('chat.a', 2));
  await settled();
  s.reconnect();
  answer([{ topic: 'chat.a', epoch: 'e1', offset: 3, recovered: true }]);
  s.deliver(message('chat.a', 3));
  await settled();
  subscription.unsubscribe();
  await reading;
  assert.deepEqual(seen, [1, 2, 3]);
});

test('an iteration that lags by more than 10,000 messages fails', async () => {
  const { subscription } = subscribed('chat.a');
  const first = subscription[Symbol.asyncIterator]().next();
  for (let offset = 1; offset <= 10_001; offset += 1) s.deliver(message('chat.a', offset));
  await assert.rejects(first, { code: 'overflow' });
});

test('presence is requested and watched', async () => {
  const members = [];
  const { subscription } = subscribed('chat.a', { presence: true, onJoin: ({ member }) => members.push(`+${member.session}`), onLeave: ({ member }) => members.push(`-${member.session}`) });
  assert.ok(subscription);
  const presence = s.gateway.presence('chat.a');
  s.deliver({ op: 'join', topic: 'chat.a', member: { session: 'b', user: null } }, { op: 'leave', topic: 'chat.a', member: { session: 'b', user: null } });
  s.deliver({ op: 'presence', id: s.sent('presence')[0].id, topic: 'chat.a', count: 1, members: [{ session: 's1', user: null }] });
  assert.equal((await presence).count, 1);
  assert.deepEqual(members, ['+b', '-b']);
});

test('close() rejects all that waits and prevents reconnects, until reconnect() is called', async () => {
  const { received } = subscribed('chat.a');
  const waiting = s.gateway.ping();
  s.gateway.close();
  await assert.rejects(waiting, { code: 'disconnected' });
  await assert.rejects(s.gateway.publish('chat.a', 1), { code: 'closed' });
  s.advance(120_000);
  assert.equal(s.sockets.length, 1);
  s.gateway.reconnect();
  s.welcome();
  answer([{ topic: 'chat.a', epoch: 'e1', offset: 1, recovered: true }]);
  s.deliver(message('chat.a', 1));
  assert.deepEqual(received.offsets, [1]);
});
