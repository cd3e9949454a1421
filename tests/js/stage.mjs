// A stage for the client: a WebSocket whose other end is the test, and time that moves when the test says so.
import { mock } from 'node:test';
import { Belfry } from '../../src/server/page/belfry.js';

/** Starts a client with scripted sockets. `stage.sockets` holds each one that it opened, the newest last. */
export function stage(options = {}) {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_700_000_000_000 });
  const sockets = [];
  const states = [];
  const errors = [];
  class ScriptedSocket {
    sent = [];
    constructor(url, protocol) {
      Object.assign(this, { url, protocol });
      sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close() {
      this.closedHere = true;
    }
  }
  const gateway = new Belfry('ws://gateway.test/ws', {
    WebSocket: ScriptedSocket,
    random: () => 0.5,
    onState: (state, detail) => states.push({ state, ...detail }),
    onError: (error) => errors.push(error),
    ...options,
  });
  const socket = () => sockets.at(-1);
  return {
    gateway, sockets, states, errors, socket,
    /** The gateway's words on the newest socket, in order. */
    say: (...events) => events.forEach((event) => socket().onmessage({ data: JSON.stringify(event) })),
    welcome() {
      this.say({ op: 'welcome', session: `s${sockets.length}`, ping_interval_ms: 30_000, max_message_bytes: 65_536 });
    },
    drop: (code = 1006, reason = '') => socket().onclose({ code, reason }),
    /** The commands with this `op` on the newest socket. */
    sent: (op) => socket().sent.filter((command) => command.op === op),
    pass: (ms) => mock.timers.tick(ms),
    /** Drops the session and lets the client come back: welcome, but nothing answered yet. */
    comeBack() {
      this.drop();
      this.pass(60_000);
      this.welcome();
    },
    end() {
      gateway.close();
      mock.timers.reset();
    },
  };
}

/** Lets what is already settled reach those who await it. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A message as the gateway says it. */
export const message = (topic, offset, epoch = 'e1', data = offset) => ({ op: 'message', topic, epoch, offset, data });
