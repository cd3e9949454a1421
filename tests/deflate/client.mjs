// A JavaScript client with its defaults: client.mjs built-in|ws|chromium|page URL. Sends each line of its input, and prints
// each text that it reads. `page` is the gateway's own page in Chromium, which sends commands of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const require = createRequire(fileURLToPath(new URL('../../target/deflate-test/', import.meta.url)));
const [kind, url] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin });
let hasEnded = false;
lines.on('close', () => {
  hasEnded = true;
});
const show = (text) => process.stdout.write(`${text}\n`);

function run(WebSocket) {
  const socket = new WebSocket(url);
  socket.onmessage = ({ data }) => show(data);
  socket.onclose = ({ code, reason }) => fail(`closed with ${code} ${reason}`);
  socket.onopen = () => lines.on('line', (line) => socket.send(line));
}

/** Ends the client with an error, unless its input has ended. */
function fail(message) {
  if (hasEnded) return;
  console.error(message);
  process.exit(1);
}

/** A page of Chromium with an empty profile. */
async function openPage() {
  const { chromium } = require('playwright-core');
  const profile = mkdtempSync(join(tmpdir(), 'belfry-deflate-'));
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
  const browser = await chromium.launchPersistentContext(profile, { executablePath: process.env.CHROMIUM, headless: true, args, bypassCSP: true });
  lines.on('close', async () => {
    await browser.close();
    rmSync(profile, { recursive: true });
    process.exit(0);
  });
  return browser.newPage();
}

/** A WebSocket of an empty page. The texts are fetched in batches, because a call for each would be slow. */
async function runInChromium() {
  const page = await openPage();
  await page.goto(`${url.replace('ws:', 'http:').replace('/ws', '')}/healthz`);
  await page.evaluate((address) => new Promise((opened) => {
    window.read = [];
    window.socket = new WebSocket(address);
    socket.onmessage = ({ data }) => read.push(data);
    socket.onclose = ({ code }) => read.push(`closed with ${code}`);
    socket.onopen = opened;
  }), url);
  lines.on('line', (line) => page.evaluate((text) => socket.send(text), line));
  for (;;) {
    const texts = await page.evaluate(() => new Promise((done) => {
      const poll = () => (read.length ? done(read.splice(0)) : setTimeout(poll, 20));
      poll();
    }));
    texts.forEach(show);
  }
}

async function readPage() {
  const page = await openPage();
  page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => show(payload)));
  await page.goto(url);
}

if (kind === 'chromium' || kind === 'page') {
  await (kind === 'page' ? readPage() : runInChromium()).catch((error) => fail(error.message));
} else {
  lines.on('close', () => process.exit(0));
  run(kind === 'ws' ? require('ws') : globalThis.WebSocket ?? fail('this Node has no WebSocket of its own'));
}
