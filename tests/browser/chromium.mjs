// A real Chromium with an empty page, for tests of a gateway from a browser.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { binary } from '../js/gateway.mjs';

/** The packages that `tests/browser/run` has installed. */
export const folder = fileURLToPath(new URL('../../target/browser-test/', import.meta.url));
const { chromium } = createRequire(folder)('playwright-core');
/** Why the tests can't run, or false. */
export const skip = !binary && !process.env.CI && 'no gateway: build it (cargo build), or name it in BELFRY';
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** A page at `origin` without the gateway's own content. */
export async function openPage(t, origin) {
  const profile = mkdtempSync(join(tmpdir(), 'belfry-browser-'));
  const browser = await chromium.launchPersistentContext(profile, { executablePath: process.env.CHROMIUM, headless: true, args, bypassCSP: true });
  t.after(async () => {
    await browser.close();
    rmSync(profile, { recursive: true });
  });
  const page = await browser.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(`${origin}/healthz`);
  return page;
}

export async function publish(gateway, topic, data) {
  const { status } = await fetch(`http://${gateway.address}/v1/topics/${topic}`, { method: 'POST', body: JSON.stringify(data) });
  assert.equal(status, 200);
}

/** Waits until the page's list `name` has at least `length` entries. */
export const hasEntries = (page, name, length) => page.waitForFunction(([list, wanted]) => window[list].length >= wanted, [name, length]);
