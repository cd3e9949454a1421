// Gateway processes for the end-to-end tests, and a proxy that interrupts their connections.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The gateway's binary: `BELFRY`, else the debug build before the release build; undefined where there is none. */
export const binary = [process.env.BELFRY, join(root, 'target/debug/belfry'), join(root, 'target/release/belfry')].find((path) => path && existsSync(path));

/** Node's own WebSocket, or the module `ws` that `tests/js/need-ws` installs below `target/`. */
export const WebSocket = globalThis.WebSocket ?? createRequire(join(root, 'target/js-test/'))('ws');

const defaults = `
[auth]
anonymous = { subscribe = [">"], publish = [">"] }
[[topics]]
match = ">"
history = 10000
presence = true
`;

/**
 * Starts a gateway that is killed at the end of the test. `config` is TOML, or null for the built-in file. `server` has
 * the lines of `[server]`. `settings` are arguments of `--set`.
 */
export async function startGateway(test, { config = defaults, server = '', settings = [] } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'belfry-js-'));
  const args = settings.flatMap((setting) => ['--set', setting]);
  if (config !== null) {
    const file = join(folder, 'belfry.toml');
    writeFileSync(file, `[server]\n${server}\n${config}`);
    args.push('--config', file);
  }
  const gateway = new Gateway(folder, args);
  test.after(async () => {
    await gateway.stop('SIGKILL');
    rmSync(folder, { recursive: true });
  });
  await gateway.start('127.0.0.1:0');
  return gateway;
}

class Gateway {
  #process = null;

  #args;

  constructor(folder, args) {
    this.folder = folder;
    this.#args = args;
  }

  get url() {
    return `ws://${this.address}/ws`;
  }

  /** Starts the process. It listens on `listen`, or on the same address as before. */
  async start(listen = this.address) {
    const portFile = join(this.folder, 'port');
    rmSync(portFile, { force: true });
    const output = [];
    const child = spawn(binary, ['serve', ...this.#args, '--listen', listen, '--port-file', portFile], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => output.push(text));
    this.#process = child;
    const address = () => existsSync(portFile) && readFileSync(portFile, 'utf8').trim();
    await until(() => {
      if (child.exitCode !== null) throw new Error(`the gateway did not start:\n${output.join('')}`);
      return address();
    }, 'the port file');
    this.address = address();
  }

  /** Sends `signal` and waits until the process has ended. Returns its exit status, or null after a kill. */
  async stop(signal) {
    const child = this.#process;
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill(signal);
      await ended;
    }
    return child.exitCode;
  }
}

/**
 * A TCP proxy before `gateway`. `cut()` closes its connections without a Close frame. After `pause()` the client
 * receives nothing from the gateway until `resume()`.
 */
export async function startProxy(test, gateway) {
  const sockets = new Set();
  const answers = new Set();
  const server = net.createServer((near) => {
    const [host, port] = gateway.address.split(':');
    const far = net.connect(Number(port), host);
    const answer = [far, near];
    answers.add(answer);
    far.on('close', () => answers.delete(answer));
    for (const [socket, other] of [[near, far], [far, near]]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => other.destroy());
      socket.pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  test.after(() => {
    cut();
    server.close();
  });
  const pause = () => answers.forEach(([from, to]) => from.unpipe(to).pause());
  const resume = () => answers.forEach(([from, to]) => from.pipe(to).resume());
  return { url: `ws://127.0.0.1:${server.address().port}/ws`, cut, pause, resume };
}

/** Waits until `fact()` is true, and returns its value. Fails after `seconds`. */
export async function until(fact, what, seconds = 50) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const value = fact();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
