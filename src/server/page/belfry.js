/**
 * Belfry for browsers and Node: subscribe, publish, and stay in step with a gateway.
 *
 *     import { Belfry } from '/belfry.js';
 *     const gateway = new Belfry();
 *     gateway.subscribe('quotes.*', { onMessage: ({ topic, data }) => console.log(topic, data.price) });
 *     const offset = await gateway.publish('chat.lobby', { text: 'hi' });
 *
 * What it promises:
 * - A dropped session comes back by itself, after a random part of an exponentially growing time (full jitter), or at the
 *   moment that a draining gateway asked for.
 * - Each subscription remembers the epoch and the last offset of every topic that it has seen, resumes from there, and hands
 *   on no message twice. What can't be recovered is told to `onLost`, what the gateway dropped to `onGap`.
 * - A publish is sent once. If the session ends before its answer, it rejects with the code `unknown` and isn't sent again.
 * - After 4009 (an operator wanted the session gone) it comes back too, a second later than otherwise.
 * - It ends for good, with state `closed`, after `close()`; and, unless `token` is a function that may bring a better one, after
 *   1008, 4001, 4002 and a token that was refused.
 *
 * Node has a WebSocket of its own from version 22 on; before, hand one in: `new Belfry(url, { WebSocket })`.
 */

/** @typedef {{ epoch: string, offset: number }} Position where a topic stands */
/** @typedef {{ session: string, user: string | null }} Member */
/** @typedef {'connecting' | 'open' | 'waiting' | 'closed'} State `waiting`: for the moment to connect again */
/** @typedef {{ code?: number, reason?: string, retryInMs?: number }} StateDetail the close, where one led to the state */

/**
 * @typedef {object} Message
 * @property {string} topic
 * @property {string} epoch
 * @property {number} offset
 * @property {any} data the payload; bytes that are not UTF-8 come as a Uint8Array
 * @property {boolean} [replay] true when it was read from history
 */

/**
 * @typedef {object} Lost messages of a topic may be missing here
 * @property {string} topic a topic; or a pattern, when topics that it matches may have missed some
 * @property {'epoch' | 'history' | 'pattern'} reason the offsets began anew; history no longer reached back; topics of a
 *   pattern that this subscription had not seen before
 * @property {Position} [before] the last that was seen
 */

/**
 * @typedef {object} GatewayOptions
 * @property {string | (() => string | Promise<string>)} [token] a JWT or API key; a function is called at each connect,
 *   and again before its token expires
 * @property {typeof WebSocket} [WebSocket] the implementation, where there is no global one
 * @property {() => number} [random] from 0 to below 1; for tests
 * @property {(text: string) => any} [parse] reads a frame; in place of `JSON.parse` where prices must keep their digits
 * @property {number} [backoffMs] the bound of the first wait, doubled with each further one (500)
 * @property {number} [backoffMaxMs] the bound of all waits (20,000)
 * @property {number} [timeoutMs] for the welcome, and for a sign of life after a ping (10,000)
 * @property {(state: State, detail: StateDetail) => void} [onState]
 * @property {(error: BelfryError) => void} [onError] what no call of yours is there to reject with
 */

/**
 * @typedef {object} SubscribeOptions
 * @property {number} [last] newest messages of each topic to begin with; left out, the topic's rule decides
 * @property {Record<string, Position>} [since] where to resume each topic, as `subscription.positions` told it
 * @property {number} [intervalMs] at most one message per topic in that time, the newest
 * @property {boolean} [presence] tells `onJoin` and `onLeave`
 * @property {(message: Message) => void} [onMessage]
 * @property {(gap: { topic: string, from: number, to: number }) => void} [onGap] dropped by the gateway: too slow here
 * @property {(lost: Lost) => void} [onLost]
 * @property {(join: { topic: string, member: Member }) => void} [onJoin]
 * @property {(leave: { topic: string, member: Member }) => void} [onLeave]
 * @property {(topics: object[]) => void} [onSubscribed] the gateway's entries, at first and after every reconnect
 * @property {(error: BelfryError) => void} [onError] topics that were refused; left out, the gateway's `onError` hears it
 */

const HELD_MAX = 1000; // commands that wait for a session
const UNREAD_MAX = 10_000; // messages that wait for an iterator
const SETTLED_MS = 5000; // a session that lived for this long resets the back-off
const AFTER_OPERATOR_MS = 1000; // the wait after an operator closed the session, in addition to the back-off
const RENEW_MIN_MS = 1000; // between two tokens
const RENEW_BLIND_MAX_MS = 60_000; // between two tokens, if this clock can't tell when one expires
const TIMER_MAX_MS = 2 ** 31 - 1; // the longest time of setTimeout

/** An error with one of the gateway's codes, or `unknown`, `disconnected`, `closed`, `overflow` of this module. */
export class BelfryError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = 'BelfryError';
    this.code = code;
  }
}

/** One gateway, and the session with it. */
export class Belfry {
  /** @type {State} */
  state = 'connecting';
  /** The session's name at the gateway, once it is welcome. @type {string | null} */
  session = null;
  /** Who the token said we are. @type {string | null} */
  user = null;

  #options;
  #WebSocket;
  #socket = null;
  #subscriptions = new Set();
  #subscribing = new Map(); // id of a subscribe command → its subscription, in this session
  #sent = new Map(); // id → request without an answer
  #held = []; // requests from before the session was open
  #nextId = 1;
  #messageBytesMax = Infinity;
  #pingIntervalMs = 30_000;
  #heardAt = 0;
  #openedAt = 0;
  #attempts = 0;
  #blindRenewals = 0;
  #returnAt = null; // when a draining gateway wants this client to reconnect
  #watchTimer;
  #returnTimer;
  #renewTimer;

  /**
   * Connects at once.
   * @param {string} [url] left out: `/ws` of the page's own host, or of 127.0.0.1:8765 without a page
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
   * A name or pattern belongs to one subscription at a time; overlapping ones each get their messages.
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
   * Publishes any JSON value; resolves with its offset. It waits for a session if there is none, and is never sent twice.
   * @param {string} topic
   * @param {any} data
   * @param {{ echo?: boolean }} [options] echo false: not to ourselves
   * @returns {Promise<number>}
   */
  async publish(topic, data, { echo } = {}) {
    const { offset } = await this.#request({ op: 'publish', topic, data, echo });
    if (echo === false) for (const subscription of this.#subscriptions) subscription.skip(topic, offset);
    return offset;
  }

  /**
   * Messages from a topic's history, oldest first: those after `since`, or the newest.
   * @param {string} topic
   * @param {{ since?: number, limit?: number }} [options]
   * @returns {Promise<{ epoch: string, messages: { offset: number, ts: number, data: any }[], more?: boolean }>}
   */
  async history(topic, { since, limit } = {}) {
    const reply = await this.#request({ op: 'history', topic, since, limit });
    return { ...reply, messages: reply.messages.map(decoded) };
  }

  /** Who is subscribed to a topic by name. @param {string} topic @returns {Promise<{ count: number, members: Member[] }>} */
  presence(topic) {
    return this.#request({ op: 'presence', topic });
  }

  /** Presents a new token in the running session, and at each later connect. @param {GatewayOptions['token']} token */
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

  /** Connects now instead of later; also after the session was closed for good. */
  reconnect() {
    if (this.state !== 'waiting' && this.state !== 'closed') return;
    this.#connect();
  }

  /** Ends the session for good. What waits for an answer rejects. */
  close() {
    this.#leave();
    this.#finish({ code: 1000, reason: 'closed here' });
  }

  // The life of a session

  #connect() {
    clearTimeout(this.#returnTimer);
    this.#returnAt = null;
    this.#heardAt = this.#openedAt = Date.now();
    const socket = new this.#WebSocket(this.url, 'belfry.json.v1');
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ code, reason }) => this.#ended(code, reason);
    socket.onerror = () => {}; // A close event follows, which has the reason.
    this.#watchTimer = setTimeout(() => this.#drop('no welcome in time'), this.#options.timeoutMs);
    this.#become('connecting');
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
      this.#complain(error);
      const refused = error.code === 'token_invalid' || error.code === 'token_expired';
      if (!refused || this.#mayReturn(4001)) return this.#drop(error.message);
      this.#leave();
      return this.#finish({ code: 4001, reason: error.message });
    }
    if (socket !== this.#socket) return;
    for (const subscription of this.#subscriptions) this.#sendSubscribe(subscription);
    for (const request of this.#held.splice(0)) this.#send(request);
    this.#become('open'); // Reported last, because a listener may subscribe and publish more.
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
    // A new token that seems to expire at once: this clock is ahead. The distance of renewals grows then.
    this.#blindRenewals = dueInMs < RENEW_MIN_MS ? this.#blindRenewals + 1 : 0;
    const leastMs = Math.min(RENEW_BLIND_MAX_MS, RENEW_MIN_MS * 2 ** Math.max(0, this.#blindRenewals - 1));
    const renewInMs = Math.max(leastMs, dueInMs);
    const renew = () => this.#authenticate().catch((error) => this.#complain(error));
    this.#renewTimer = setTimeout(renew, Math.min(renewInMs, TIMER_MAX_MS));
  }

  // A browser sees no WebSocket pings, so after silence it sends a ping command, and gives up if no event follows. The time
  // alone does not count, because the timers of a page in the background are late.
  #watch(pingedAt = 0) {
    const silentMs = Date.now() - this.#heardAt;
    const silent = silentMs >= this.#pingIntervalMs;
    if (silent && pingedAt > this.#heardAt) return this.#drop('no sign of life');
    if (silent) this.#socket.send('{"op":"ping"}');
    const nextInMs = silent ? this.#options.timeoutMs : Math.min(this.#pingIntervalMs, this.#pingIntervalMs - silentMs);
    const askedAt = silent ? Date.now() : 0;
    this.#watchTimer = setTimeout(() => this.#watch(askedAt), nextInMs);
  }

  // Drops a session without waiting for its close event, which may never come.
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
    if (!this.#mayReturn(code)) return this.#finish({ code, reason });
    if (Date.now() - this.#openedAt >= SETTLED_MS && this.state === 'open') this.#attempts = 0;
    this.#forget();
    const { backoffMs, backoffMaxMs, random } = this.#options;
    const awayMs = code === 4009 ? AFTER_OPERATOR_MS : 0;
    const retryInMs = this.#returnAt === null
      ? awayMs + random() * Math.min(backoffMaxMs, backoffMs * 2 ** this.#attempts++)
      : Math.max(0, this.#returnAt - Date.now());
    this.#returnTimer = setTimeout(() => this.#connect(), retryInMs);
    this.#become('waiting', { code, reason, retryInMs });
  }

  #finish(detail) {
    const error = new BelfryError('closed', detail.reason || `closed with ${detail.code}`);
    this.#forget();
    clearTimeout(this.#returnTimer);
    for (const { reject } of this.#held.splice(0)) reject(error);
    if (this.state !== 'closed') this.#become('closed', detail);
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

  // Without a function that returns another token, the same one would be refused again.
  #mayReturn(code) {
    return typeof this.#options.token === 'function' || ![1008, 4001, 4002].includes(code);
  }

  #become(state, detail = {}) {
    this.state = state;
    tell(this.#options.onState, state, detail);
  }

  #complain(error) {
    tell(this.#options.onError, error);
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

  #hear(text) {
    this.#heardAt = Date.now();
    const event = this.#options.parse(text);
    switch (event.op) {
      case 'message': return this.#deliver((subscription) => subscription.accept(decoded(event)), event.topic);
      case 'gap': return this.#deliver((subscription) => subscription.gap(event), event.topic);
      case 'join': return this.#deliver((subscription) => tell(subscription.options.onJoin, event), event.topic);
      case 'leave': return this.#deliver((subscription) => tell(subscription.options.onLeave, event), event.topic);
      case 'subscribed': return this.#subscribing.get(event.id)?.subscribed(event.topics);
      case 'welcome': return this.#welcome(event);
      case 'draining': this.#returnAt = Date.now() + event.retry_after_ms; return;
      default: return this.#answer(event);
    }
  }

  #deliver(hand, topic) {
    for (const subscription of this.#subscriptions) if (subscription.live && subscription.covers(topic)) hand(subscription);
  }

  #answer(event) {
    const request = this.#sent.get(event.id);
    this.#sent.delete(event.id);
    if (event.op !== 'error') return request?.resolve(event);
    const error = new BelfryError(event.code, event.message);
    const subscription = this.#subscribing.get(event.id);
    if (request) request.reject(error);
    else if (subscription?.options.onError) tell(subscription.options.onError, error);
    else this.#complain(error);
    subscription?.refused(error);
    if (subscription && event.code === 'rate_limited') this.#subscribeLater(subscription);
  }

  // Past the rate the gateway refuses a whole command. A subscription that was refused for that tries again.
  #subscribeLater(subscription) {
    const socket = this.#socket;
    setTimeout(() => {
      if (socket === this.#socket && this.#subscriptions.has(subscription)) this.#sendSubscribe(subscription);
    }, 1000 + this.#options.random() * 1000);
  }
}

/** Topics and patterns that are followed together. Made by `Belfry.subscribe`. */
export class Subscription {
  /** Resolves with the gateway's entries once subscribed; rejects where it refused. @type {Promise<object[]>} */
  ready;
  /** Between the gateway's `subscribed` and the session's end. @internal */
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
    this.ready.catch(() => {}); // A caller that does not await it gets the error by `onError`.
  }

  /** Where each topic seen stands: what `since` takes in a later visit. @returns {Record<string, Position>} */
  get positions() {
    return sinceOf(this.#positions);
  }

  /** Ends it. Nothing is handed on from here, whatever is still under way. */
  unsubscribe() {
    this.#leave();
    this.end(new BelfryError('closed', 'unsubscribed'));
  }

  /**
   * The messages as they come, from now on, until `unsubscribe` or `close`; leaving the loop does not unsubscribe.
   * Whoever falls 10,000 behind gets an error with the code `overflow`.
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
   * The commands that subscribe or resume, each short enough for the gateway to read. Positions of a pattern's topics that do
   * not fit stay out; the gateway then says `"recovered":false` for the pattern.
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
        // All missed messages come from here up to `until`, unless an interval thins them out.
        Object.assign(before, { replaying: false, until: this.options.intervalMs ? 0 : offset });
        continue;
      }
      if (recovered === false) this.#lose(topic, isPattern(topic) ? 'pattern' : before?.epoch === epoch ? 'history' : 'epoch', before);
      // Before its first message, a topic's position is the start of its replay. A session that ends in between resumes there.
      if (epoch) this.#positions.set(topic, { epoch, offset: Math.max(0, offset - (this.options.last ?? 0)), until: 0, replaying: true });
      else this.#positions.delete(topic);
    }
    this.#settle.resolve(entries);
    tell(this.options.onSubscribed, entries);
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
    if (hole && offset <= before.until) return; // Of another subscription's replay: this one's fills the hole.
    this.#positions.set(topic, { epoch, offset, until: same ? before.until : 0 });
    if (before && !same) this.#lose(topic, 'epoch', before);
    if (hole) this.#lose(topic, 'history', before);
    tell(this.options.onMessage, message);
    for (const reader of this.#readers) {
      if (reader.unread.length <= UNREAD_MAX) reader.unread.push(message); // One message too many marks the loss of the rest.
      reader.wake();
    }
  }

  /** @internal */
  gap(gap) {
    const position = this.#positions.get(gap.topic);
    if (position && gap.to > position.offset) position.offset = gap.to;
    tell(this.options.onGap, gap);
  }

  /** Our own message, which was not to come back: resuming must not bring it either. @internal */
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

  #lose(topic, reason, before) {
    tell(this.options.onLost, { topic, reason, before: before && { epoch: before.epoch, offset: before.offset } });
  }
}

/** Whether a topic's name is matched by a pattern: `*` stands for one token, `>` at the end for one or more. */
export function matches(pattern, topic) {
  const tokens = topic.split('.');
  const wanted = pattern.split('.');
  if (topic.startsWith('$') && !pattern.startsWith('$')) return false;
  for (const [index, token] of wanted.entries()) {
    if (token === '>') return tokens.length > index;
    if (token !== '*' && token !== tokens[index]) return false;
    if (index >= tokens.length) return false;
  }
  return wanted.length === tokens.length;
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
function tell(listener, ...words) {
  try {
    listener?.(...words);
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
