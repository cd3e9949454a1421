// What belfry.js promises, against a scripted gateway: no network, no waiting.
import assert from 'node:assert/strict';
import { afterEach, mock, test } from 'node:test';
import { matches } from '../../src/server/page/belfry.js';
import { message, settled, stage } from './stage.mjs';

let s;
afterEach(() => s?.end());

/** A client that is welcome, and subscribed to `topic` at offset 0 unless told otherwise. */
function subscribed(topic, options = {}, entry = { topic, epoch: 'e1', offset: 0 }) {
  s = stage();
  s.welcome();
  const heard = { offsets: [], lost: [], gaps: [] };
  const subscription = s.gateway.subscribe(topic, {
    onMessage: ({ offset }) => heard.offsets.push(offset),
    onLost: (lost) => heard.lost.push(lost),
    onGap: (gap) => heard.gaps.push(gap),
    ...options,
  });
  answer([entry]);
  return { subscription, heard };
}

function answer(topics) {
  s.say({ op: 'subscribed', id: s.sent('subscribe').at(-1).id, topics });
}

test('section 2: patterns match as in NATS, and no wildcard reaches $ topics', () => {
  for (const [pattern, topic, wanted] of [
    ['quotes.*', 'quotes.AAPL', true], ['quotes.*', 'quotes.AAPL.x', false], ['quotes.*', 'quotes', false],
    ['chat.>', 'chat.a.b', true], ['chat.>', 'chat', false], ['>', 'a', true], ['>', '$belfry.stats', false],
    ['*.stats', '$belfry.stats', false], ['$belfry.>', '$belfry.stats', true], ['a.*.c', 'a.b.c', true], ['a.*.c', 'a.b.d', false],
    ['a.*.c', 'a.b', false], ['a', 'a', true],
  ]) assert.equal(matches(pattern, topic), wanted, `${pattern} on ${topic}`);
});

test('section 3: options of subscribe go out by the wire\'s names', () => {
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

test('section 3: resuming names the last offset seen, and doubles are dropped', () => {
  const { heard } = subscribed('chat.lobby');
  s.say(message('chat.lobby', 1), message('chat.lobby', 2));
  s.comeBack();
  assert.deepEqual(s.sent('subscribe')[0].since, { 'chat.lobby': { epoch: 'e1', offset: 2 } });
  answer([{ topic: 'chat.lobby', epoch: 'e1', offset: 4, recovered: true }]);
  s.say(...[2, 3, 4, 4].map((offset) => message('chat.lobby', offset)));
  assert.deepEqual(heard.offsets, [1, 2, 3, 4]);
  assert.deepEqual(heard.lost, []);
});

test('section 3: topics that came by a pattern are resumed by name', () => {
  subscribed('quotes.*', { intervalMs: 250 }, { topic: 'quotes.*' });
  s.say(message('quotes.A', 7), message('quotes.B', 9, 'e2'));
  s.comeBack();
  const [{ topics, since, interval_ms }] = s.sent('subscribe');
  assert.deepEqual(topics, ['quotes.*']);
  assert.equal(interval_ms, 250);
  assert.deepEqual(since, { 'quotes.A': { epoch: 'e1', offset: 7 }, 'quotes.B': { epoch: 'e2', offset: 9 } });
});

test('a topic without a message yet resumes where it stood at the subscribe', () => {
  subscribed('chat.lobby', { last: 3 }, { topic: 'chat.lobby', epoch: 'e1', offset: 17 });
  s.comeBack();
  assert.deepEqual(s.sent('subscribe')[0].since, { 'chat.lobby': { epoch: 'e1', offset: 14 } });
});

test('recovered:false is told with what was seen before, once, and the new life is followed', () => {
  const { heard } = subscribed('chat.lobby');
  s.say(message('chat.lobby', 1), message('chat.lobby', 2));
  s.comeBack();
  answer([{ topic: 'chat.lobby', epoch: 'e2', offset: 1, recovered: false }]);
  s.say(message('chat.lobby', 1, 'e2'), message('chat.lobby', 2, 'e2'));
  assert.deepEqual(heard.lost, [{ topic: 'chat.lobby', reason: 'epoch', before: { epoch: 'e1', offset: 2 } }]);
  assert.deepEqual(heard.offsets, [1, 2, 1, 2]);
});

test('history that no longer reaches back is told as such; so are unseen topics of a pattern', () => {
  const { heard } = subscribed('chat.*', {}, { topic: 'chat.*' });
  s.say(message('chat.a', 2));
  s.comeBack();
  answer([{ topic: 'chat.*', recovered: false }, { topic: 'chat.a', epoch: 'e1', offset: 900, recovered: false }]);
  assert.deepEqual(heard.lost.map(({ topic, reason }) => [topic, reason]), [['chat.*', 'pattern'], ['chat.a', 'history']]);
});

test('an epoch that changes within a session is told', () => {
  const { heard } = subscribed('chat.lobby');
  s.say(message('chat.lobby', 1), message('chat.lobby', 1, 'e2'));
  assert.deepEqual(heard.lost, [{ topic: 'chat.lobby', reason: 'epoch', before: { epoch: 'e1', offset: 1 } }]);
  assert.deepEqual(heard.offsets, [1, 1]);
});

test('a gap is told, and resuming does not ask for it again', () => {
  const { heard, subscription } = subscribed('chat.lobby');
  s.say(message('chat.lobby', 1), { op: 'gap', topic: 'chat.lobby', from: 2, to: 5 });
  assert.deepEqual(heard.gaps.map(({ from, to }) => [from, to]), [[2, 5]]);
  assert.deepEqual({ ...subscription.positions }, { 'chat.lobby': { epoch: 'e1', offset: 5 } });
});

test('overlapping subscriptions each get a message once, whatever is replayed to the other', () => {
  const { heard } = subscribed('quotes.*', {}, { topic: 'quotes.*' });
  s.say(message('quotes.A', 4), message('quotes.A', 5));
  const second = [];
  s.gateway.subscribe('quotes.A', { last: 2, onMessage: ({ offset }) => second.push(offset) });
  s.say(message('quotes.A', 6)); // from before the subscription: its replay brings it
  answer([{ topic: 'quotes.A', epoch: 'e1', offset: 6 }]);
  s.say(...[5, 6, 7].map((offset) => message('quotes.A', offset)));
  assert.deepEqual(heard.offsets, [4, 5, 6, 7]);
  assert.deepEqual(second, [5, 6, 7]);
});

test('another subscription\'s replay makes no hole in the one that resumes after it', () => {
  const { heard } = subscribed('chat.a');
  const second = { offsets: [], lost: [] };
  s.gateway.subscribe('chat.*', { onMessage: ({ offset }) => second.offsets.push(offset), onLost: (lost) => second.lost.push(lost) });
  answer([{ topic: 'chat.*' }]);
  s.say(message('chat.a', 1));
  s.comeBack();
  const [first, other] = s.sent('subscribe');
  s.say({ op: 'subscribed', id: first.id, topics: [{ topic: 'chat.a', epoch: 'e1', offset: 4, recovered: true }] }, message('chat.a', 2));
  s.say({ op: 'subscribed', id: other.id, topics: [{ topic: 'chat.*' }, { topic: 'chat.a', epoch: 'e1', offset: 4, recovered: true }] });
  s.say(...[3, 4, 2, 3, 4, 6].map((offset) => message('chat.a', offset)));
  assert.deepEqual(heard.offsets, [1, 2, 3, 4, 6]);
  assert.deepEqual(second, { offsets: [1, 2, 3, 4, 6], lost: [] });
});

test('what was promised as recovered and did not come is told as lost', () => {
  const { heard } = subscribed('chat.a');
  s.say(message('chat.a', 1));
  s.comeBack();
  answer([{ topic: 'chat.a', epoch: 'e1', offset: 4, recovered: true }]);
  s.say(message('chat.a', 2), message('chat.a', 5));
  assert.deepEqual(heard.offsets, [1, 2, 5]);
  assert.deepEqual(heard.lost, [{ topic: 'chat.a', reason: 'history', before: { epoch: 'e1', offset: 2 } }]);
});

test('a topic belongs to one subscription; after unsubscribe it is free, and nothing more is heard', () => {
  const { subscription, heard } = subscribed('chat.lobby');
  assert.throws(() => s.gateway.subscribe('chat.lobby'), /chat\.lobby is subscribed already/);
  subscription.unsubscribe();
  assert.deepEqual(s.sent('unsubscribe'), [{ op: 'unsubscribe', topics: ['chat.lobby'] }]);
  s.say(message('chat.lobby', 1));
  assert.deepEqual(heard.offsets, []);
  s.gateway.subscribe('chat.lobby');
});

test('a long list goes out in commands that the gateway can read, each name with its position', () => {
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

test('a topic may have the name of an object\'s parts', () => {
  const { subscription } = subscribed('__proto__');
  s.say(message('__proto__', 3));
  assert.equal(JSON.stringify(subscription.positions), '{"__proto__":{"epoch":"e1","offset":3}}');
  s.comeBack();
  assert.equal(JSON.stringify(s.sent('subscribe')[0].since), '{"__proto__":{"epoch":"e1","offset":3}}');
});

test('bytes that are not UTF-8 come as bytes', async () => {
  s = stage();
  s.welcome();
  const data = [];
  s.gateway.subscribe('a', { onMessage: (heard) => data.push(heard.data) });
  answer([{ topic: 'a', epoch: 'e1', offset: 0 }]);
  s.say({ op: 'message', topic: 'a', epoch: 'e1', offset: 1, data_base64: '/wA=' });
  assert.deepEqual(data, [Uint8Array.of(255, 0)]);
});

test('publish resolves with the offset, rejects with the gateway\'s code', async () => {
  s = stage();
  s.welcome();
  const [good, bad] = [s.gateway.publish('chat.a', { text: 'hi' }), s.gateway.publish('quotes.a', 1)];
  const [first, second] = s.sent('publish');
  s.say({ op: 'error', id: second.id, code: 'not_allowed', message: 'no' }, { op: 'published', id: first.id, topic: 'chat.a', offset: 18 });
  assert.equal(await good, 18);
  await assert.rejects(bad, { code: 'not_allowed', message: 'no' });
});

test('a publish in flight when the session ends is unknown, and is never sent again', async () => {
  s = stage();
  s.welcome();
  const publish = s.gateway.publish('chat.a', 1);
  s.comeBack();
  await assert.rejects(publish, { code: 'unknown' });
  assert.deepEqual(s.sent('publish'), []);
});

test('a publish without a session waits for one', async () => {
  s = stage();
  const publish = s.gateway.publish('chat.a', 1);
  s.welcome();
  s.say({ op: 'published', id: s.sent('publish')[0].id, topic: 'chat.a', offset: 1 });
  assert.equal(await publish, 1);
});

test('a message that the gateway would close for is refused here', async () => {
  s = stage();
  s.welcome();
  await assert.rejects(s.gateway.publish('chat.a', 'x'.repeat(65_536)), { code: 'message_too_large' });
});

test('echo:false: resuming does not bring our own message', async () => {
  const { subscription } = subscribed('chat.a');
  s.say(message('chat.a', 1));
  const publish = s.gateway.publish('chat.a', 'mine', { echo: false });
  s.say({ op: 'published', id: s.sent('publish')[0].id, topic: 'chat.a', offset: 2 });
  await publish;
  assert.equal(subscription.positions['chat.a'].offset, 2);
});

test('back-off doubles with full jitter up to its bound, and starts anew after a settled session', () => {
  s = stage({ backoffMs: 500, backoffMaxMs: 3000 });
  for (let attempt = 0; attempt < 5; attempt += 1) {
    s.drop();
    s.pass(s.states.at(-1).retryInMs);
  }
  s.welcome();
  s.pass(5000);
  s.drop();
  assert.deepEqual(s.states.filter(({ state }) => state === 'waiting').map(({ retryInMs }) => retryInMs), [250, 500, 1000, 1500, 1500, 250]);
});

test('a session that ends at once does not start the back-off anew', () => {
  s = stage();
  for (const wanted of [250, 500, 1000]) {
    s.welcome();
    s.drop(4003);
    assert.equal(s.states.at(-1).retryInMs, wanted);
    s.pass(wanted);
  }
});

test('section 3: a draining gateway is rejoined at its moment, counted from its word', () => {
  s = stage();
  s.welcome();
  s.say({ op: 'draining', retry_after_ms: 3120 });
  s.pass(1000);
  s.drop(1001);
  assert.equal(s.states.at(-1).retryInMs, 2120);
  s.pass(2119);
  assert.equal(s.sockets.length, 1);
  s.pass(1);
  assert.equal(s.sockets.length, 2);
  s.drop(); // not there yet: back-off takes over
  assert.equal(s.states.at(-1).retryInMs, 250);
});

test('after silence it pings, and gives up without a sign of life', () => {
  s = stage();
  s.welcome();
  s.pass(29_999);
  assert.equal(s.sent('ping').length, 0);
  s.pass(1);
  assert.equal(s.sent('ping').length, 1);
  s.say({ op: 'pong' });
  s.pass(30_000);
  assert.equal(s.sent('ping').length, 2);
  s.pass(10_000);
  assert.equal(s.gateway.state, 'waiting');
  assert.ok(s.socket().closedHere);
});

test('a timer that ran late asks before it gives up', () => {
  s = stage();
  s.welcome();
  mock.timers.setTime(Date.now() + 300_000); // as in a tab in the background
  s.pass(0);
  assert.equal(s.sent('ping').length, 1);
  s.say({ op: 'pong' });
  mock.timers.setTime(Date.now() + 300_000);
  s.pass(0);
  assert.equal(s.sent('ping').length, 2);
  assert.equal(s.gateway.state, 'open');
});

test('what a listener subscribes and publishes as the session opens goes out once', () => {
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
  s.pass(10_000);
  assert.equal(s.gateway.state, 'waiting');
});

test('section 6: closes that would only repeat end it; others come back', async () => {
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

test('section 6: a session that an operator closed comes back, a second later than others', () => {
  for (const [code, retryInMs] of [[4004, 250], [4009, 1250]]) {
    s = stage();
    s.welcome();
    s.drop(code);
    assert.equal(s.states.at(-1).retryInMs, retryInMs);
    s.pass(retryInMs - 1);
    assert.equal(s.sockets.length, 1);
    s.pass(1);
    assert.equal(s.sockets.length, 2);
    s.end();
  }
});

test('a token function is asked at each connect, also after 4002, and subscriptions follow the answer', async () => {
  let tokens = 0;
  s = stage({ token: async () => `token${(tokens += 1)}` });
  s.gateway.subscribe('chat.a');
  s.welcome();
  await settled();
  assert.deepEqual(s.sent('auth').map(({ token }) => token), ['token1']);
  assert.equal(s.sent('subscribe').length, 0);
  s.say({ op: 'authenticated', id: s.sent('auth')[0].id, user: 'ana', expires: 1_700_000_100 });
  await settled();
  assert.equal(s.sent('subscribe').length, 1);
  assert.equal(s.gateway.user, 'ana');
  s.drop(4002);
  s.pass(250);
  s.welcome();
  await settled();
  assert.deepEqual(s.sent('auth').map(({ token }) => token), ['token2']);
});

test('a clock that is ahead asks for no storm of tokens', async () => {
  let tokens = 0;
  s = stage({ token: () => `t${(tokens += 1)}` });
  s.welcome();
  const answered = new Set();
  for (let second = 0; second < 600; second += 1) {
    await settled();
    const open = s.sent('auth').filter(({ id }) => !answered.has(id));
    for (const { id } of open) {
      answered.add(id);
      s.say({ op: 'authenticated', id, user: 'ana', expires: 1_699_999_000 }); // To this clock it expired long ago.
    }
    s.say({ op: 'pong' });
    await settled();
    s.pass(1000);
  }
  await settled();
  assert.ok(tokens > 5 && tokens < 20, `${tokens} tokens in ten minutes`);
});

test('a token from a function is renewed before it expires', async () => {
  let tokens = 0;
  s = stage({ token: () => `token${(tokens += 1)}` });
  s.welcome();
  await settled();
  s.say({ op: 'authenticated', id: s.sent('auth')[0].id, user: 'ana', expires: 1_700_000_020 });
  await settled();
  s.pass(15_999);
  assert.equal(tokens, 1);
  s.pass(1);
  await settled();
  assert.deepEqual(s.sent('auth').map(({ token }) => token), ['token1', 'token2']);
});

test('a refused token without a function ends it; with one it is tried again later', async () => {
  for (const [token, state] of [['fixed', 'closed'], [() => 'fresh', 'waiting']]) {
    s = stage({ token });
    s.welcome();
    await settled();
    s.say({ op: 'error', id: s.sent('auth')[0].id, code: 'token_invalid', message: 'bad signature' });
    await settled();
    assert.equal(s.gateway.state, state);
    assert.equal(s.errors[0].code, 'token_invalid');
    s.end();
  }
});

test('a refused subscribe rejects ready and is told; a busy gateway is asked again', async () => {
  s = stage();
  s.welcome();
  const { ready } = s.gateway.subscribe('secret.a');
  s.say({ op: 'error', id: s.sent('subscribe')[0].id, code: 'not_allowed', message: 'secret.a' });
  await assert.rejects(ready, { code: 'not_allowed' });
  assert.equal(s.errors[0].code, 'not_allowed');
  s.gateway.subscribe('chat.a');
  s.say({ op: 'error', id: s.sent('subscribe').at(-1).id, code: 'rate_limited', message: 'slow down' });
  s.pass(1500);
  assert.deepEqual(s.sent('subscribe').map(({ topics }) => topics[0]), ['secret.a', 'chat.a', 'chat.a']);
});

test('messages can be iterated, and the iteration ends with the subscription', async () => {
  const { subscription } = subscribed('chat.a');
  const seen = [];
  const reading = (async () => {
    for await (const { offset } of subscription) seen.push(offset);
  })();
  s.say(message('chat.a', 1), message('chat.a', 2));
  await settled();
  s.comeBack();
  answer([{ topic: 'chat.a', epoch: 'e1', offset: 3, recovered: true }]);
  s.say(message('chat.a', 3));
  await settled();
  subscription.unsubscribe();
  await reading;
  assert.deepEqual(seen, [1, 2, 3]);
});

test('an iteration that is left far behind fails instead of growing', async () => {
  const { subscription } = subscribed('chat.a');
  const first = subscription[Symbol.asyncIterator]().next();
  for (let offset = 1; offset <= 10_001; offset += 1) s.say(message('chat.a', offset));
  await assert.rejects(first, { code: 'overflow' });
});

test('presence is asked and watched', async () => {
  const members = [];
  const { subscription } = subscribed('chat.a', { presence: true, onJoin: ({ member }) => members.push(`+${member.session}`), onLeave: ({ member }) => members.push(`-${member.session}`) });
  assert.ok(subscription);
  const presence = s.gateway.presence('chat.a');
  s.say({ op: 'join', topic: 'chat.a', member: { session: 'b', user: null } }, { op: 'leave', topic: 'chat.a', member: { session: 'b', user: null } });
  s.say({ op: 'presence', id: s.sent('presence')[0].id, topic: 'chat.a', count: 1, members: [{ session: 's1', user: null }] });
  assert.equal((await presence).count, 1);
  assert.deepEqual(members, ['+b', '-b']);
});

test('close rejects what waits, and nothing comes back; reconnect does', async () => {
  const { heard } = subscribed('chat.a');
  const waiting = s.gateway.ping();
  s.gateway.close();
  await assert.rejects(waiting, { code: 'disconnected' });
  await assert.rejects(s.gateway.publish('chat.a', 1), { code: 'closed' });
  s.pass(120_000);
  assert.equal(s.sockets.length, 1);
  s.gateway.reconnect();
  s.welcome();
  answer([{ topic: 'chat.a', epoch: 'e1', offset: 1, recovered: true }]);
  s.say(message('chat.a', 1));
  assert.deepEqual(heard.offsets, [1]);
});
