// The built-in page in a real browser: quotes move, chat crosses between tabs, nothing is asked of anybody else.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { binary, startGateway } from '../js/gateway.mjs';

const folder = fileURLToPath(new URL('../../target/browser-test/', import.meta.url));
const { chromium } = createRequire(folder)('playwright-core');
const skip = !binary && !process.env.CI && 'no gateway: build it (cargo build), or name it in BELFRY';
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** A browser with an empty profile, that notes what the page complains of and whom it asks. */
async function startBrowser(test) {
  const profile = mkdtempSync(join(tmpdir(), 'belfry-browser-'));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM, headless: true, args: flags, viewport: { width: 1280, height: 800 },
  });
  test.after(async () => {
    await browser.close();
    rmSync(profile, { recursive: true });
  });
  const complaints = [];
  const asked = new Set();
  browser.on('request', (request) => asked.add(new URL(request.url()).host || 'data:'));
  browser.on('page', (page) => {
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (line) => ['error', 'warning'].includes(line.type()) && complaints.push(line.text()));
    page.on('websocket', (socket) => asked.add(new URL(socket.url()).host));
  });
  return { browser, complaints, asked };
}

async function openPage(browser, gateway, nickname) {
  const page = await browser.newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(`http://${gateway.address}/`);
  await connected(page);
  await page.fill('#nickname', nickname);
  await page.locator('#nickname').dispatchEvent('change');
  return page;
}

const connected = (page) => page.waitForSelector('#state[data-state=open]');
const line = (page, text) => page.waitForFunction((wanted) => [...document.querySelectorAll('#log li')].some((item) => item.textContent.includes(wanted)), text);

/** Waits until the text of `selector` is another than `before`. */
const changes = (page, selector, before) => page.waitForFunction(([where, was]) => {
  const now = document.querySelector(where)?.textContent;
  return now && now !== was;
}, [selector, before]);

test('the page shows quotes, chat and figures as they are', { skip, timeout: 120_000 }, async (t) => {
  const gateway = await startGateway(t, { config: null, settings: ['feed.simulator.interval="200ms"'] });
  const { browser, complaints, asked } = await startBrowser(t);
  const ana = await openPage(browser, gateway, 'ana');
  const ben = await openPage(browser, gateway, 'ben');

  await t.test('quotes move', async () => {
    const last = '#quotes tbody tr:first-child td.last span';
    await ana.waitForSelector(last);
    await changes(ana, last, await ana.textContent(last));
    assert.equal(await ana.locator('#quotes tbody tr').count(), 6);
    await ana.waitForFunction(() => (document.querySelector('#quotes path').getAttribute('d').match(/L/g) ?? []).length >= 3);
  });

  await t.test('a message crosses between tabs, and markup stays text', async () => {
    await ana.fill('#text', 'hello <img src=x onerror=alert(1)>');
    await ana.press('#text', 'Enter');
    await line(ben, 'hello <img src=x onerror=alert(1)>');
    assert.equal(await ben.locator('#log img').count(), 0);
    await ben.fill('#text', '你好');
    await ben.click('#speak button');
    await line(ana, '你好');
    assert.match(await ana.textContent('#log li.mine'), /ana/);
  });

  await t.test('presence shows both, then one', async () => {
    for (const page of [ana, ben]) await page.waitForFunction(() => document.querySelectorAll('#members li').length === 2);
    assert.match(await ana.textContent('#members li.me'), /ana \(you\)/);
    await ana.waitForFunction(() => document.querySelector('#members').textContent.includes('ben'));
    await ben.close();
    await ana.waitForFunction(() => document.querySelectorAll('#members li').length === 1);
  });

  await t.test('who joins later reads what was said; another topic is another talk', async () => {
    const carol = await openPage(browser, gateway, 'carol');
    await line(carol, '你好');
    await carol.fill('#topic', '房間');
    await carol.press('#topic', 'Enter');
    await carol.waitForFunction(() => document.querySelectorAll('#log li').length === 0);
    await carol.fill('#text', 'alone here');
    await carol.press('#text', 'Enter');
    await line(carol, 'alone here');
    assert.doesNotMatch(await ana.textContent('#log'), /alone here/);
    await carol.close();
  });

  await t.test('programs name this gateway, and their tabs answer to keys', async () => {
    await ana.click('#own [data-language=python]');
    assert.match(await ana.textContent('#own-text'), new RegExp(`ws://${gateway.address}/raw/quotes\\.AAPL`));
    await ana.keyboard.press('ArrowRight');
    assert.match(await ana.textContent('#own-text'), /^belfry sub --url ws:/);
    await ana.keyboard.press('ArrowRight');
    assert.equal(await ana.getAttribute('#own [aria-selected=true]', 'data-language'), 'browser');
  });

  await t.test('figures come from $belfry.stats, with rates', async () => {
    await ana.waitForFunction(() => /^[1-9]/.test(document.querySelector('[data-figure=sessions]').textContent));
    await ana.waitForFunction(() => /^\d.*\/s$/.test(document.querySelector('[data-figure=published]').textContent));
  });

  await t.test('legible from 320 pixels on, light and dark', async () => {
    for (const colorScheme of ['light', 'dark']) {
      await ana.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      for (const [name, width, height] of [['wide', 1280, 800], ['narrow', 360, 780], ['least', 320, 640]]) {
        await ana.setViewportSize({ width, height });
        await ana.screenshot({ path: join(folder, `${name}-${colorScheme}.png`), fullPage: true });
        assert.equal(await ana.evaluate(() => document.documentElement.scrollWidth), width, `nothing overflows ${width} pixels`);
      }
      assert.deepEqual(await ana.evaluate(paleTexts), [], `WCAG 1.4.3 in ${colorScheme}`);
    }
    assert.deepEqual(await ana.evaluate(() => [...document.querySelectorAll('input')].filter((input) => !input.labels.length).map(({ id }) => id)), []);
  });

  assert.deepEqual(complaints, []);
  assert.deepEqual([...asked].filter((host) => host !== gateway.address && host !== 'data:'), []);

  await t.test('a killed gateway is rejoined, and the talk goes on', async () => {
    await gateway.stop('SIGKILL');
    await ana.waitForSelector('#state:not([data-state=open])');
    await gateway.start();
    await connected(ana);
    await line(ana, 'Messages may be missing here.');
    await ana.fill('#text', 'and on');
    await ana.press('#text', 'Enter');
    await line(ana, 'and on');
  });
});

/** In the page: texts whose contrast is below 4.5 to 1. */
function paleTexts() {
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const light = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  // What lies behind a text: a wash that fades lets the ground below it through.
  const ground = (element) => {
    const [red, green, blue, alpha = 1] = channels(getComputedStyle(element).backgroundColor);
    if (alpha === 1) return [red, green, blue];
    const below = element.parentElement ? ground(element.parentElement) : [255, 255, 255];
    return [red, green, blue].map((value, index) => value * alpha + below[index] * (1 - alpha));
  };
  return [...document.querySelectorAll('body *')]
    .filter((element) => element.checkVisibility() && !element.disabled && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((element) => {
      const [a, b] = [light(channels(getComputedStyle(element).color)), light(ground(element))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    })
    .map((element) => `${element.tagName} ${element.textContent.slice(0, 30)}`);
}
