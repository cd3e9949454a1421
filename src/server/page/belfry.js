/**
 * The client of Belfry for browsers and Node: subscribes, publishes, reconnects and resumes.
 *
 *     import { Belfry } from '/belfry.js';
 *     const gateway = new Belfry();
 *     gateway.subscribe('quotes.*', { onMessage: ({ topic, data }) => console.log(topic, data.price) });
 *     const offset = await gateway.publish('chat.lobby', { text: 'hi' });
 *
 * - The client reconnects after a lost session: after a random part of an exponentially growing time (full jitter), or at the
 *   moment that a draining gateway has named.
 * - Each subscription keeps the epoch and the last offset of every topic that it has seen, resumes from there, and delivers no
 *   message twice. `onLost` reports messages that can't be recovered, and `onGap` messages that the gateway has dropped.
 * - A publish is sent once. If the session ends before the answer, the publish is rejected with the code `unknown`.
 * - After 4009 (an operator closed the session) the client reconnects a second later than after other closes.
 * - The client is closed after `close()`. Unless `token` is a function, which may return another token, the client is also closed
 *   after 1008, 4001, 4002 and a refused token.
 *
 * Node has a WebSocket from version 22 on. In earlier versions pass one: `new Belfry(url, { WebSocket })`.
 */

/** @typedef {{ epoch: string, offset: number }} Position a position in a topic */
/** @typedef {{ session: string, user: string | null }} Member */
/** @typedef {'connecting' | 'open' | 'waiting' | 'closed'} State `waiting`: until the next reconnect */
/** @typedef {{ code?: number, reason?: string, retryInMs?: number }} StateDetail the close that led to the state, if any */

/**
 * @typedef {object} Message
 * @property {string} topic
 * @property {string} epoch
 * @property {number} offset
 * @property {any} data the payload; bytes that are not UTF-8 are a Uint8Array
 * @property {boolean} [replay] true if the message was read from history
 */

/**
 * @typedef {object} Lost messages of a topic may have been missed
 * @property {string} topic a topic; or a pattern, of whose topics messages may have been missed
 * @property {'epoch' | 'history' | 'pattern'} reason the topic has a new epoch; history no longer reaches back; the pattern matches
 *   topics that this subscription had not seen
 * @property {Position} [before] the last known position
 */

/**
 * @typedef {object} GatewayOptions
 * @property {string | (() => string | Promise<string>)} [token] a JWT or API key; a function is called at each connect,
 *   and again before its token expires
 * @property {typeof WebSocket} [WebSocket] the implementation, if there is no global one
 * @property {() => number} [random] a number from 0 to below 1; for tests
 * @property {(text: string) => any} [parse] parses a frame; in place of `JSON.parse`, for prices that must keep their digits
 * @property {number} [backoffMs] the longest first wait, which doubles with each further wait (500)
 * @property {number} [backoffMaxMs] the longest wait (20,000)
 * @property {number} [timeoutMs] the time for `welcome`, and for an event after a ping (10,000)
 * @property {(state: State, detail: StateDetail) => void} [onState]
 * @property {(error: BelfryError) => void} [onError] errors that reject no promise
 */

/**
 * @typedef {object} SubscribeOptions
 * @property {number} [last] the number of newest messages of each topic to replay first; by default that of the topic's rule
 * @property {Record<string, Position>} [since] the positions from which to resume, as `subscription.positions` returns them
 * @property {number} [intervalMs] the shortest time between two messages of a topic; the newest message is delivered
 * @property {boolean} [presence] whether `onJoin` and `onLeave` are called
 * @property {(message: Message) => void} [onMessage]
 * @property {(gap: { topic: string, from: number, to: number }) => void} [onGap] messages that the gateway dropped, because the client was slow
 * @property {(lost: Lost) => void} [onLost]
 * @property {(join: { topic: string, member: Member }) => void} [onJoin]
 * @property {(leave: { topic: string, member: Member }) => void} [onLeave]
 * @property {(topics: object[]) => void} [onSubscribed] the entries of `subscribed`, at first and after every reconnect
 * @property {(error: BelfryError) => void} [onError] the error of refused topics; by default passed to the gateway's `onError`
 */

const HELD_MAX = 1000; // commands that wait for a session
const UNREAD_MAX = 10_000; // messages that wait for an iterator
const SETTLED_MS = 5000; // a session of this length resets the back-off
const AFTER_OPERATOR_MS = 1000; // the wait after an operator closed the session, in addition to the back-off
const RENEW_MIN_MS = 1000; // the shortest time between two renewals of the token
const RENEW_BLIND_MAX_MS = 60_000; // the longest time between two renewals if this clock is ahead
const TIMER_MAX_MS = 2 ** 31 - 1; // the longest time of setTimeout

/** An error with a code of the gateway, or `unknown`, `disconnected`, `closed` or `overflow`. */
export class BelfryError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = 'BelfryError';
    this.code = code;
  }
}

/** A gateway, and the session with it. */
export class Belfry {
  /** @type {State} */
  state = 'connecting';
  /** The id of the session after `welcome`. @type {string | null} */
  session = null;
  /** The user of the token. @type {string | null} */
  user = null;

  #options;
  #WebSocket;
  #socket = null;
  #subscriptions = new Set();
  #subscribing = new Map(); // id of a subscribe command → its subscription, in this session
  #sent = new Map(); // id → request without an answer
  #held = []; // requests that wait for an open session
  #nextId = 1;
  #messageBytesMax = Infinity;
  #pingIntervalMs = 30_000;
  #receivedAt = 0;
  #openedAt = 0;
  #attempts = 0;
  #blindRenewals = 0;
  #reconnectAt = null; // the moment that a draining gateway has named
  #watchTimer;
  #reconnectTimer;
  #renewTimer;

  /**
   * Connects at once.
   * @param {string} [url] by default `/ws` of the page's host, or of 127.0.0.1:8765 without a page
   * @param {GatewayOptions} [options]
   */
  constructor(url, options = {}) {
    this.url = url ?? ownUrl();
    this.#options = { backoffMs: 500, backoffMaxMs: 20_000, timeoutMs: 10_000, random: Math.random, parse: JSON.parse, ...options };
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    if (!this.#WebSocket) throw new TypeError('no WebSocket here; hand one in: new Belfry(url, { WebSocket })');
    this.#connect();
  }

  /**
   * Subscribes to topics and patterns, now and after every reconnect. The result can be iterated: `for await (const message of …)`.
   * A name or pattern belongs to one subscription at a time. Overlapping subscriptions each get their messages.
   * @param {string | string[]} topics
   * @param {SubscribeOptions} [options]
   */
  subscribe(topics, options = {}) {
    const subscription = new Subscription([topics].flat(), options, () => this.#unsubscribe(subscription));
    const taken = subscription.topics.find((topic) => [...this.#subscriptions].some((other) => other.topics.includes(topic)));
    if (taken) throw new TypeError(`${taken} is subscribed already; unsubscribe that first`);
    this.#subscriptions.add(subscription);
    if (this.state === 'open') this.#sendSubscribe(subscription);
    if (this.state === 'closed') subscription.end(new BelfryError('closed', 'the gateway object is closed'));
    return subscription;
  }

  /**
   * Publishes any JSON value, and resolves with its offset. A publish waits for a session, and is never sent twice.
   * @param {string} topic
   * @param {any} data
   * @param {{ echo?: boolean }} [options] `echo: false`: this session does not receive the message
   * @returns {Promise<number>}
   */
  async publish(topic, data, { echo } = {}) {
    const { offset } = await this.#request({ op: 'publish', topic, data, echo });
    if (echo === false) for (const subscription of this.#subscriptions) subscription.skip(topic, offset);
    return offset;
  }

  /**
   * The messages of a topic's history, the oldest first: those after `since`, or the newest.
   * @param {string} topic
   * @param {{ since?: number, limit?: number }} [options]
   * @returns {Promise<{ epoch: string, messages: { offset: number, ts: number, data: any }[], more?: boolean }>}
   */
  async history(topic, { since, limit } = {}) {
    const reply = await this.#request({ op: 'history', topic, since, limit });
    return { ...reply, messages: reply.messages.map(decoded) };
  }

  /** The sessions that are subscribed to a topic by name. @param {string} topic @returns {Promise<{ count: number, members: Member[] }>} */
  presence(topic) {
    return this.#request({ op: 'presence', topic });
  }

  /** Sends a new token in the current session and in all later ones. @param {GatewayOptions['token']} token */
  async authenticate(token) {
    this.#options.token = token;
    if (this.state === 'open') await this.#authenticate();
    else if (this.state === 'closed') this.reconnect();
  }

  /** The round trip to the gateway in milliseconds. @returns {Promise<number>} */
  async ping() {
    const start = performance.now();
    await this.#request({ op: 'ping' });
    return performance.now() - start;
  }

  /** Connects at once, also after the client was closed. */
  reconnect() {
    if (this.state !== 'waiting' && this.state !== 'closed') return;
    this.#connect();
  }

  /** Closes the client. Requests without an answer are rejected. */
  close() {
    this.#leave();
    this.#finish({ code: 1000, reason: 'closed here' });
  }

  // The life of a session

  #connect() {
    clearTimeout(this.#reconnectTimer);
    this.#reconnectAt = null;
    this.#receivedAt = this.#openedAt = Date.now();
    const socket = new this.#WebSocket(this.url, 'belfry.json.v1');
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#ended(code, reason);
    socket.onerror = () => {}; // A close event follows, which has the reason.
    this.#watchTimer = setTimeout(() => this.#drop('no welcome in time'), this.#options.timeoutMs);
    this.#setState('connecting');
  }

  async #welcome({ session, ping_interval_ms, max_message_bytes }) {
    const socket = this.#socket;
    this.session = session;
    this.#pingIntervalMs = ping_interval_ms;
    this.#messageBytesMax = max_message_bytes;
    clearTimeout(this.#watchTimer);
    this.#watch();
    try {
      if (this.#options.token) await this.#authenticate();
    } catch (error) {
      if (socket !== this.#socket) return; // The session has ended, and its end was handled.
      this.#reportError(error);
      const refused = error.code === 'token_invalid' || error.code === 'token_expired';
      if (!refused || this.#mayReconnect(4001)) return this.#drop(error.message);
      this.#leave();
      return this.#finish({ code: 4001, reason: error.message });
    }
    if (socket !== this.#socket) return;
    for (const subscription of this.#subscriptions) this.#sendSubscribe(subscription);
    for (const request of this.#held.splice(0)) this.#send(request);
    this.#setState('open'); // Reported last, because a listener may subscribe and publish more.
  }

  async #authenticate() {
    clearTimeout(this.#renewTimer);
    const { token } = this.#options;
    const socket = this.#socket;
    const value = typeof token === 'function' ? await token() : token;
    if (socket !== this.#socket || !socket) throw new BelfryError('disconnected', 'the session ended before the token came');
    const { user, expires } = await new Promise((resolve, reject) => this.#send({ command: { op: 'auth', token: value }, resolve, reject }));
    this.user = user;
    if (typeof token !== 'function' || !expires) return;
    const dueInMs = (expires * 1000 - Date.now()) * 0.8;
    // If a new token seems to expire at once, this clock is ahead. The time between renewals then grows.
    this.#blindRenewals = dueInMs < RENEW_MIN_MS ? this.#blindRenewals + 1 : 0;
    const leastMs = Math.min(RENEW_BLIND_MAX_MS, RENEW_MIN_MS * 2 ** Math.max(0, this.#blindRenewals - 1));
    const renewInMs = Math.max(leastMs, dueInMs);
    const renew = () => this.#authenticate().catch((error) => this.#reportError(error));
    this.#renewTimer = setTimeout(renew, Math.min(renewInMs, TIMER_MAX_MS));
  }

  // A browser does not show WebSocket pings. After silence the client sends a ping command, and closes the session if no event
  // follows. Silence alone does not close it, because timers of a page in the background are late.
  #watch(pingedAt = 0) {
    const silentMs = Date.now() - this.#receivedAt;
    const silent = silentMs >= this.#pingIntervalMs;
    if (silent && pingedAt > this.#receivedAt) return this.#drop('no sign of life');
    if (silent) this.#socket.send('{"op":"ping"}');
    const nextInMs = silent ? this.#options.timeoutMs : Math.min(this.#pingIntervalMs, this.#pingIntervalMs - silentMs);
    const askedAt = silent ? Date.now() : 0;
    this.#watchTimer = setTimeout(() => this.#watch(askedAt), nextInMs);
  }

  // Ends the session without its close event, which may never come.
  #drop(reason) {
    this.#leave();
    this.#ended(1006, reason);
  }

  #leave() {
    const socket = this.#socket;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #ended(code, reason) {
    if (!this.#mayReconnect(code)) return this.#finish({ code, reason });
    if (Date.now() - this.#openedAt >= SETTLED_MS && this.state === 'open') this.#attempts = 0;
    this.#forget();
    const { backoffMs, backoffMaxMs, random } = this.#options;
    const awayMs = code === 4009 ? AFTER_OPERATOR_MS : 0;
    const retryInMs = this.#reconnectAt === null
      ? awayMs + random() * Math.min(backoffMaxMs, backoffMs * 2 ** this.#attempts++)
      : Math.max(0, this.#reconnectAt - Date.now());
    this.#reconnectTimer = setTimeout(() => this.#connect(), retryInMs);
    this.#setState('waiting', { code, reason, retryInMs });
  }

  #finish(detail) {
    const error = new BelfryError('closed', detail.reason || `closed with ${detail.code}`);
    this.#forget();
    clearTimeout(this.#reconnectTimer);
    for (const { reject } of this.#held.splice(0)) reject(error);
    if (this.state !== 'closed') this.#setState('closed', detail);
    for (const subscription of this.#subscriptions) subscription.end(error);
  }

  #forget() {
    clearTimeout(this.#watchTimer);
    clearTimeout(this.#renewTimer);
    this.#socket = this.session = this.user = null;
    for (const subscription of this.#subscriptions) subscription.live = false;
    this.#subscribing.clear();
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    for (const { command, reject } of sent) {
      reject(command.op === 'publish'
        ? new BelfryError('unknown', `the session ended before the answer; ${command.topic} may have the message or not`)
        : new BelfryError('disconnected', `the session ended before the answer to ${command.op}`));
    }
  }

  // The same token would be refused again. A function may return another token.
  #mayReconnect(code) {
    return typeof this.#options.token === 'function' || ![1008, 4001, 4002].includes(code);
  }

  #setState(state, detail = {}) {
    this.state = state;
    notify(this.#options.onState, state, detail);
  }

  #reportError(error) {
    notify(this.#options.onError, error);
  }

  // Commands

  #request(command) {
    return new Promise((resolve, reject) => {
      const request = { command, resolve, reject };
      if (this.state === 'open') this.#send(request);
      else if (this.state === 'closed') reject(new BelfryError('closed', 'the gateway object is closed'));
      else if (this.#held.length < HELD_MAX) this.#held.push(request);
      else reject(new BelfryError('disconnected', `${HELD_MAX} commands wait for a session already`));
    });
  }

  #send(request) {
    const id = this.#nextId++;
    let text;
    try {
      text = JSON.stringify({ ...request.command, id });
    } catch (error) {
      return request.reject(error);
    }
    if (byteLength(text) > this.#messageBytesMax) {
      return request.reject(new BelfryError('message_too_large', `${byteLength(text)} bytes; at most ${this.#messageBytesMax}`));
    }
    this.#sent.set(id, request);
    this.#socket.send(text);
  }

  #sendSubscribe(subscription) {
    for (const command of subscription.commands(this.#messageBytesMax)) {
      const id = this.#nextId++;
      this.#subscribing.set(id, subscription);
      this.#socket.send(JSON.stringify({ ...command, id }));
    }
  }

  #unsubscribe(subscription) {
    if (!this.#subscriptions.delete(subscription)) return;
    for (const [id, other] of this.#subscribing) if (other === subscription) this.#subscribing.delete(id);
    if (this.state === 'open') this.#socket.send(JSON.stringify({ op: 'unsubscribe', topics: subscription.topics }));
  }

  // Events

  #receive(text) {
    this.#receivedAt = Date.now();
    const event = this.#options.parse(text);
    switch (event.op) {
      case 'message': return this.#deliver((subscription) => subscription.accept(decoded(event)), event.topic);
      case 'gap': return this.#deliver((subscription) => subscription.gap(event), event.topic);
      case 'join': return this.#deliver((subscription) => notify(subscription.options.onJoin, event), event.topic);
      case 'leave': return this.#deliver((subscription) => notify(subscription.options.onLeave, event), event.topic);
      case 'subscribed': return this.#subscribing.get(event.id)?.subscribed(event.topics);
      case 'welcome': return this.#welcome(event);
      case 'draining': this.#reconnectAt = Date.now() + event.retry_after_ms; return;
      default: return this.#answer(event);
    }
  }

  #deliver(handle, topic) {
    for (const subscription of this.#subscriptions) if (subscription.live && subscription.covers(topic)) handle(subscription);
  }

  #answer(event) {
    const request = this.#sent.get(event.id);
    this.#sent.delete(event.id);
    if (event.op !== 'error') return request?.resolve(event);
    const error = new BelfryError(event.code, event.message);
    const subscription = this.#subscribing.get(event.id);
    if (request) request.reject(error);
    else if (subscription?.options.onError) notify(subscription.options.onError, error);
    else this.#reportError(error);
    subscription?.refused(error);
    if (subscription && event.code === 'rate_limited') this.#subscribeLater(subscription);
  }

  // Repeats a subscribe that the gateway has refused because of the session's rate.
  #subscribeLater(subscription) {
    const socket = this.#socket;
    setTimeout(() => {
      if (socket === this.#socket && this.#subscriptions.has(subscription)) this.#sendSubscribe(subscription);
    }, 1000 + this.#options.random() * 1000);
  }
}

/** A subscription to topics and patterns, made by `Belfry.subscribe`. */
export class Subscription {
  /** Resolves with the entries of `subscribed`, or is rejected with the gateway's error. @type {Promise<object[]>} */
  ready;
  /** Whether the subscription is active in the current session. @internal */
  live = false;

  // The epoch and offset of each topic. With `replaying`, the offset is the start of a replay, and older messages may still
  // come. `until` is the newest offset at the time of a resume: up to there no offset may be missing.
  #positions = new Map();
  #topics = new Set();
  #patterns = [];
  #leave;
  #settle;
  #readers = new Set();
  #ended = false;

  /** @internal */
  constructor(topics, options, leave) {
    this.topics = [...new Set(topics)];
    this.options = options;
    this.#leave = leave;
    for (const topic of this.topics) isPattern(topic) ? this.#patterns.push(topic) : this.#topics.add(topic);
    for (const [topic, { epoch, offset }] of Object.entries(options.since ?? {})) {
      if (this.covers(topic)) this.#positions.set(topic, { epoch, offset, until: 0 });
    }
    this.ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.ready.catch(() => {}); // A caller that does not await `ready` gets the error by `onError`.
  }

  /** The last position of each topic, for the `since` of a later subscription. @returns {Record<string, Position>} */
  get positions() {
    return sinceOf(this.#positions);
  }

  /** Ends the subscription. Its listeners are not called any more. */
  unsubscribe() {
    this.#leave();
    this.end(new BelfryError('closed', 'unsubscribed'));
  }

  /**
   * Iterates over the messages that are received from now on, until `unsubscribe` or `close`. The end of the loop does not
   * unsubscribe. A loop that lags by more than 10,000 messages gets an error with the code `overflow`.
   */
  async *[Symbol.asyncIterator]() {
    const reader = { unread: [], wake: () => {} };
    this.#readers.add(reader);
    try {
      while (true) {
        if (reader.unread.length > UNREAD_MAX) throw new BelfryError('overflow', `more than ${UNREAD_MAX} messages wait to be read`);
        yield* reader.unread.splice(0);
        if (reader.unread.length === 0 && this.#ended) return;
        if (reader.unread.length === 0) await new Promise((resolve) => (reader.wake = resolve));
      }
    } finally {
      this.#readers.delete(reader);
    }
  }

  /** @internal */
  covers(topic) {
    return this.#positions.has(topic) || this.#topics.has(topic) || this.#patterns.some((pattern) => matches(pattern, topic));
  }

  /**
   * The commands that subscribe or resume, each of at most `bytesMax` bytes. If the positions of a pattern's topics do not fit,
   * some are left out, and the gateway answers `"recovered":false` for the pattern.
   * @internal
   */
  *commands(bytesMax) {
    const { last, intervalMs, presence } = this.options;
    const command = (topics, since) => ({
      op: 'subscribe', topics, last, interval_ms: intervalMs, presence, since: since.size ? sinceOf(since) : undefined,
    });
    const bytesFree = bytesMax - 256;
    let topics = [];
    let since = new Map();
    let bytes = 0;
    for (const topic of this.topics) {
      const owed = this.#owed(topic);
      const bytesLeast = cost(topic) + (isPattern(topic) ? 0 : cost(owed));
      if (topics.length && bytes + bytesLeast > bytesFree) {
        yield command(topics, since);
        topics = [];
        since = new Map();
        bytes = 0;
      }
      topics.push(topic);
      bytes += cost(topic);
      for (const [name, position] of owed) {
        const more = cost([[name, position]]);
        if (bytes + more > bytesFree) break;
        since.set(name, position);
        bytes += more;
      }
    }
    yield command(topics, since);
  }

  #owed(topic) {
    if (isPattern(topic)) return [...this.#positions].filter(([name]) => !this.#topics.has(name) && matches(topic, name));
    return this.#positions.has(topic) ? [[topic, this.#positions.get(topic)]] : [];
  }

  /** @internal */
  subscribed(entries) {
    this.live = true;
    this.#ended = false;
    for (const { topic, epoch, offset, recovered } of entries) {
      const before = this.#positions.get(topic);
      if (before && recovered !== false) {
        // All messages up to `until` are replayed, unless an interval leaves some out.
        Object.assign(before, { replaying: false, until: this.options.intervalMs ? 0 : offset });
        continue;
      }
      if (recovered === false) this.#reportLost(topic, isPattern(topic) ? 'pattern' : before?.epoch === epoch ? 'history' : 'epoch', before);
      // Before its first message, a topic's position is the start of its replay. A session that ends in between resumes there.
      if (epoch) this.#positions.set(topic, { epoch, offset: Math.max(0, offset - (this.options.last ?? 0)), until: 0, replaying: true });
      else this.#positions.delete(topic);
    }
    this.#settle.resolve(entries);
    notify(this.options.onSubscribed, entries);
  }

  /** @internal */
  refused(error) {
    if (error.code !== 'presence_off' && error.code !== 'rate_limited') this.#settle.reject(error);
  }

  /** @internal */
  accept(message) {
    const { topic, epoch, offset } = message;
    const before = this.#positions.get(topic);
    const same = before?.epoch === epoch;
    const hole = same && before.until > before.offset && offset !== before.offset + 1;
    if (same && !before.replaying && offset <= before.offset) return;
    if (hole && offset <= before.until) return; // The message belongs to the replay of another subscription. This subscription's replay fills the hole.
    this.#positions.set(topic, { epoch, offset, until: same ? before.until : 0 });
    if (before && !same) this.#reportLost(topic, 'epoch', before);
    if (hole) this.#reportLost(topic, 'history', before);
    notify(this.options.onMessage, message);
    for (const reader of this.#readers) {
      if (reader.unread.length <= UNREAD_MAX) reader.unread.push(message); // One message too many marks the loss of the rest.
      reader.wake();
    }
  }

  /** @internal */
  gap(gap) {
    const position = this.#positions.get(gap.topic);
    if (position && gap.to > position.offset) position.offset = gap.to;
    notify(this.options.onGap, gap);
  }

  /** Skips a message that was published with `echo: false`, so that a resume does not replay it. @internal */
  skip(topic, offset) {
    const position = this.#positions.get(topic);
    if (position && !position.replaying && position.offset === offset - 1) position.offset = offset;
  }

  /** @internal */
  end(error) {
    this.live = false;
    this.#ended = true;
    this.#settle.reject(error);
    for (const reader of this.#readers) reader.wake();
  }

  #reportLost(topic, reason, before) {
    notify(this.options.onLost, { topic, reason, before: before && { epoch: before.epoch, offset: before.offset } });
  }
}

/** Whether a pattern matches a topic's name. `*` matches one token, and `>` at the end one or more. */
export function matches(pattern, topic) {
  const tokens = topic.split('.');
  const expected = pattern.split('.');
  if (topic.startsWith('$') && !pattern.startsWith('$')) return false;
  for (const [index, token] of expected.entries()) {
    if (token === '>') return tokens.length > index;
    if (token !== '*' && token !== tokens[index]) return false;
    if (index >= tokens.length) return false;
  }
  return expected.length === tokens.length;
}

function isPattern(topic) {
  return topic.split('.').some((token) => token === '*' || token === '>');
}

// Without a prototype, because a topic may be named `__proto__`.
function sinceOf(positions) {
  const since = Object.create(null);
  for (const [topic, { epoch, offset }] of positions) since[topic] = { epoch, offset };
  return since;
}

function decoded(message) {
  if (message.data_base64 === undefined) return message;
  const { data_base64, ...rest } = message;
  return { ...rest, data: Uint8Array.from(atob(data_base64), (character) => character.charCodeAt(0)) };
}

const encoder = new TextEncoder();

function byteLength(text) {
  return encoder.encode(text).length;
}

function cost(value) {
  return byteLength(JSON.stringify(value)) + 1;
}

// A listener that throws must not keep others from being called. Its error is reported as uncaught.
function notify(listener, ...args) {
  try {
    listener?.(...args);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

function ownUrl() {
  const { protocol, host } = globalThis.location ?? {};
  return host ? `${protocol === 'https:' ? 'wss' : 'ws'}://${host}/ws` : 'ws://127.0.0.1:8765/ws';
}
