// A client under test: its WebSockets are scripted by the test, and its clock is advanced by the test.
import { mock } from 'node:test';
import { Belfry } from '../../src/server/page/belfry.js';

/** Starts a client with scripted sockets. `sockets` has all sockets that the client has opened, the newest last. */
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
    /** Delivers events of the gateway on the newest socket, in order. */
    deliver: (...events) => events.forEach((event) => socket().onmessage({ data: JSON.stringify(event) })),
    welcome() {
      this.deliver({ op: 'welcome', session: `s${sockets.length}`, ping_interval_ms: 30_000, max_message_bytes: 65_536 });
    },
    /** Closes the newest socket, as the gateway or the network does. */
    drop: (code = 1006, reason = '') => socket().onclose({ code, reason }),
    /** The commands with this `op` on the newest socket. */
    sent: (op) => socket().sent.filter((command) => command.op === op),
    /** Advances the clock. Timers that become due run. */
    advance: (ms) => mock.timers.tick(ms),
    /** Closes the session, lets the client reconnect, and delivers `welcome`. The client's commands are not answered. */
    reconnect() {
      this.drop();
      this.advance(60_000);
      this.welcome();
    },
    end() {
      gateway.close();
      mock.timers.reset();
    },
  };
}

/** Runs the callbacks of all promises that are settled. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** The event of a message. */
export const message = (topic, offset, epoch = 'e1', data = offset) => ({ op: 'message', topic, epoch, offset, data });
