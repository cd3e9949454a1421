// The built-in page in a real browser: quotes, chat between tabs, no requests to other hosts.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
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

/** A browser with an empty profile, and the errors and requested hosts of its pages. */
async function startBrowser(test) {
  const profile = mkdtempSync(join(tmpdir(), 'belfry-browser-'));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM, headless: true, args: flags, viewport: { width: 1280, height: 800 },
  });
  test.after(async () => {
    await browser.close();
    rmSync(profile, { recursive: true });
  });
  const errors = [];
  const hosts = new Set();
  browser.on('request', (request) => hosts.add(new URL(request.url()).host || 'data:'));
  browser.on('page', (page) => {
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (line) => ['error', 'warning'].includes(line.type()) && errors.push(line.text()));
    page.on('websocket', (socket) => hosts.add(new URL(socket.url()).host));
  });
  return { browser, errors, hosts };
}

async function openPage(browser, gateway, nickname) {
  const page = await browser.newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(`http://${gateway.address}/`);
  await waitUntilConnected(page);
  await page.fill('#nickname', nickname);
  await page.locator('#nickname').dispatchEvent('change');
  return page;
}

const waitUntilConnected = (page) => page.waitForSelector('#state[data-state=open]');
/** Waits until the chat's log has a line with `text`. */
const waitForLine = (page, text) => page.waitForFunction((wanted) => [...document.querySelectorAll('#log li')].some((item) => item.textContent.includes(wanted)), text);

/** Waits until the text of `selector` differs from `before`. */
const waitForChange = (page, selector, before) => page.waitForFunction(([where, was]) => {
  const now = document.querySelector(where)?.textContent;
  return now && now !== was;
}, [selector, before]);

test('the page shows quotes, chat, presence and figures', { skip, timeout: 120_000 }, async (t) => {
  const gateway = await startGateway(t, { config: null, settings: ['feed.simulator.interval="200ms"'] });
  const { browser, errors, hosts } = await startBrowser(t);
  const ana = await openPage(browser, gateway, 'ana');
  const ben = await openPage(browser, gateway, 'ben');

  await t.test('quotes and their chart change', async () => {
    const last = '#quotes tbody tr:first-child td.last span';
    await ana.waitForSelector(last);
    await waitForChange(ana, last, await ana.textContent(last));
    assert.equal(await ana.locator('#quotes tbody tr').count(), 6);
    await ana.waitForFunction(() => (document.querySelector('#quotes path').getAttribute('d').match(/L/g) ?? []).length >= 3);
  });

  await t.test('a message of one tab appears in another, and markup stays text', async () => {
    await ana.fill('#text', 'hello <img src=x onerror=alert(1)>');
    await ana.press('#text', 'Enter');
    await waitForLine(ben, 'hello <img src=x onerror=alert(1)>');
    assert.equal(await ben.locator('#log img').count(), 0);
    await ben.fill('#text', '你好');
    await ben.click('#speak button');
    await waitForLine(ana, '你好');
    assert.match(await ana.textContent('#log li.mine'), /ana/);
  });

  await t.test('presence shows two members, and one after the other has left', async () => {
    for (const page of [ana, ben]) await page.waitForFunction(() => document.querySelectorAll('#members li').length === 2);
    assert.match(await ana.textContent('#members li.me'), /ana \(you\)/);
    await ana.waitForFunction(() => document.querySelector('#members').textContent.includes('ben'));
    await ben.close();
    await ana.waitForFunction(() => document.querySelectorAll('#members li').length === 1);
  });

  await t.test('a new tab shows the history, and another topic has a log of its own', async () => {
    const carol = await openPage(browser, gateway, 'carol');
    await waitForLine(carol, '你好');
    await carol.fill('#topic', '房間');
    await carol.press('#topic', 'Enter');
    await carol.waitForFunction(() => document.querySelectorAll('#log li').length === 0);
    await carol.fill('#text', 'alone here');
    await carol.press('#text', 'Enter');
    await waitForLine(carol, 'alone here');
    assert.doesNotMatch(await ana.textContent('#log'), /alone here/);
    await carol.close();
  });

  await t.test('sample programs name this gateway, and arrow keys switch their tabs', async () => {
    await ana.click('#own [data-language=python]');
    assert.match(await ana.textContent('#own-text'), new RegExp(`ws://${gateway.address}/raw/quotes\\.AAPL`));
    await ana.keyboard.press('ArrowRight');
    assert.match(await ana.textContent('#own-text'), new RegExp(`new EventSource\\('http://${gateway.address}/sse`));
    await ana.keyboard.press('ArrowRight');
    assert.match(await ana.textContent('#own-text'), new RegExp(`new Centrifuge\\('ws://${gateway.address}/connection/websocket`));
    await ana.keyboard.press('ArrowRight');
    assert.match(await ana.textContent('#own-text'), /^belfry sub --url ws:/);
    await ana.keyboard.press('ArrowRight');
    assert.equal(await ana.getAttribute('#own [aria-selected=true]', 'data-language'), 'browser');
  });

  await t.test('figures of $belfry.stats appear, with rates', async () => {
    await ana.waitForFunction(() => /^[1-9]/.test(document.querySelector('[data-figure=sessions]').textContent));
    await ana.waitForFunction(() => /^\d.*\/s$/.test(document.querySelector('[data-figure=published]').textContent));
    await ana.waitForFunction(() => /^\d.*B/.test(document.querySelector('[data-figure=saved_bytes]').textContent));
    assert.match(await ana.textContent('#version'), /^version \d+\.\d+\.\d+$/);
  });

  await t.test('the page is legible from 320 pixels on, light and dark', async () => {
    for (const colorScheme of ['light', 'dark']) {
      await ana.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      for (const [name, width, height] of [['wide', 1280, 800], ['narrow', 360, 780], ['narrowest', 320, 640]]) {
        await ana.setViewportSize({ width, height });
        await ana.screenshot({ path: join(folder, `${name}-${colorScheme}.png`), fullPage: true });
        assert.equal(await ana.evaluate(() => document.documentElement.scrollWidth), width, `nothing overflows ${width} pixels`);
      }
      assert.deepEqual(await ana.evaluate(paleTexts), [], `WCAG 1.4.3 in ${colorScheme}`);
    }
    assert.deepEqual(await ana.evaluate(() => [...document.querySelectorAll('input')].filter((input) => !input.labels.length).map(({ id }) => id)), []);
  });

  assert.deepEqual(errors, []);
  assert.deepEqual([...hosts].filter((host) => host !== gateway.address && host !== 'data:'), []);

  await t.test('the page reconnects after a kill of the gateway, and keeps unsent text', async () => {
    await gateway.stop('SIGKILL');
    // A single evaluation: the first tries follow within a second, so that two evaluations could see different ones.
    await ana.waitForFunction(() => document.querySelector('#state').dataset.state === 'waiting'
      && /^the gateway is gone, next try in \d+ s$/.test(document.querySelector('#state span').textContent)
      && Number(getComputedStyle(document.querySelector('#figures')).opacity) < 1
      && !document.querySelector('#retry').hidden);
    await ana.fill('#text', 'unsent');
    await ana.press('#text', 'Enter');
    await ana.waitForFunction(() => /no connection/.test(document.querySelector('#trouble').textContent));
    assert.equal(await ana.inputValue('#text'), 'unsent');
    await ana.fill('#publish-topic', 'chat.lobby');
    await ana.fill('#publish-data', 'hi');
    await ana.press('#publish-data', 'Enter');
    await ana.waitForFunction(() => /no connection/.test(document.querySelector('#watch-outcome').textContent));
    await gateway.start();
    await waitUntilConnected(ana);
    await waitForLine(ana, 'Messages may be missing here.');
    await ana.press('#text', 'Enter');
    await waitForLine(ana, 'unsent');
  });
});

/** Waits until the log is scrolled to its end. */
const waitForScrollToEnd = (page, selector) => page.waitForFunction((where) => {
  const log = document.querySelector(where);
  return log.scrollHeight > log.clientHeight && log.scrollHeight - log.scrollTop - log.clientHeight < 4;
}, selector);

test('the log stays scrolled to its end at any width, with any number of members', { skip, timeout: 120_000 }, async (t) => {
  const gateway = await startGateway(t, { config: null });
  const { browser, errors } = await startBrowser(t);
  const page = await openPage(browser, gateway, 'ana');
  for (const [width, height] of [[390, 844], [800, 1000], [1280, 800], [1920, 1080]]) {
    await page.setViewportSize({ width, height });
    for (let index = 0; index < 30; index += 1) {
      await page.fill('#text', `line ${index} at ${width}`);
      await page.press('#text', 'Enter');
      await page.waitForFunction(() => document.querySelector('#text').value === '');
    }
    await waitForLine(page, `line 29 at ${width}`);
    await waitForScrollToEnd(page, '#log');
    await page.evaluate(() => (document.querySelector('#members').style.minHeight = '74px')); // As with many members.
    await waitForScrollToEnd(page, '#log');
    await page.evaluate(() => (document.querySelector('#members').style.minHeight = ''));
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
    await page.screenshot({ path: join(folder, `log-${width}.png`), fullPage: true });
  }
  await t.test('a log that was scrolled back stays there until the user sends a message', async () => {
    await page.evaluate(() => (document.querySelector('#log').scrollTop = 0));
    await page.waitForTimeout(100); // The scroll event comes with the next frame.
    await fetch(`http://${gateway.address}/v1/topics/chat.lobby`, { method: 'POST', body: '{"text":"from elsewhere"}' });
    await waitForLine(page, 'from elsewhere');
    assert.equal(await page.evaluate(() => document.querySelector('#log').scrollTop), 0);
    await page.fill('#text', 'a new message');
    await page.press('#text', 'Enter');
    await waitForLine(page, 'a new message');
    await waitForScrollToEnd(page, '#log');
  });
  assert.deepEqual(errors, []);
});

test('the page watches and publishes to any topic, and numbers keep their digits', { skip, timeout: 60_000 }, async (t) => {
  const gateway = await startGateway(t, { config: null });
  const { browser, errors } = await startBrowser(t);
  const page = await openPage(browser, gateway, 'ana');
  const waitForText = (text) => page.waitForFunction((wanted) => document.querySelector('#watch-log').textContent.includes(wanted), text);
  await page.fill('#watch-topic', 'chat.>');
  await page.press('#watch-topic', 'Enter');
  for (const topic of ['chat.deep.er', 'chat.lobby']) {
    await page.fill('#publish-topic', topic);
    await page.fill('#publish-data', '{"n":1.50,"id":12345678901234567890}');
    await page.press('#publish-data', 'Enter');
    await waitForText(`${topic} `);
  }
  // The bug: the page rounded the numbers.
  assert.match(await page.textContent('#watch-log'), /\{"n":1\.50,"id":12345678901234567890\}/);
  await t.test('the topic of the chat can be watched too', async () => {
    await page.fill('#watch-topic', 'chat.lobby');
    await page.press('#watch-topic', 'Enter');
    await page.press('#publish-data', 'Enter');
    await waitForText('chat.lobby 2');
  });
  await t.test('a refusal is shown until the next subscription succeeds', async () => {
    await page.fill('#watch-topic', 'secret.>');
    await page.press('#watch-topic', 'Enter');
    await page.waitForFunction(() => /not allowed/.test(document.querySelector('#watch-outcome').textContent));
    await page.fill('#watch-topic', 'chat.>');
    await page.press('#watch-topic', 'Enter');
    await page.waitForFunction(() => document.querySelector('#watch-outcome').textContent === '');
  });
  assert.equal(await page.textContent('#notice'), '');
  assert.deepEqual(errors, []);
});

test('the page asks for a token if visitors may not read the chat', { skip, timeout: 60_000 }, async (t) => {
  const key = 'a-key-of-32-bytes-for-this-test!!';
  const gateway = await startGateway(t, {
    config: `[auth]\nanonymous = { subscribe = ["news.>"], publish = [] }\napi_keys = [{ name = "ann", key = "${key}", subscribe = ["chat.>"], publish = ["chat.>"] }]`,
  });
  const { browser, errors } = await startBrowser(t);
  const page = await browser.newPage();
  await page.goto(`http://${gateway.address}/`);
  await waitUntilConnected(page);
  await page.waitForSelector('#entry:not([hidden])');
  for (const panel of ['#figures', '#quotes-panel']) await page.waitForSelector(panel, { state: 'hidden' });
  assert.equal(await page.textContent('#notice') + await page.textContent('#trouble'), '', 'no error is shown');
  await waitForLine(page, 'You may not read chat.lobby.');
  await page.fill('#token', key);
  await page.press('#token', 'Enter');
  await page.waitForSelector('#entry', { state: 'hidden' });
  await page.fill('#text', 'with a token');
  await page.press('#text', 'Enter');
  await waitForLine(page, 'with a token');
  assert.doesNotMatch(await page.textContent('#log'), /may not read/);
  assert.deepEqual(errors, []);
});

test('the page shows administrators the slowest sessions and the busiest topics', { skip, timeout: 60_000 }, async (t) => {
  const key = 'an-admin-key-of-32-bytes-or-more!';
  const gateway = await startGateway(t, {
    config: `[auth]\nanonymous = { subscribe = ["quotes.>", "$belfry.>"], publish = [] }\napi_keys = [`
      + `{ name = "root", key = "${key}", admin = true }, { name = "feed", key = "another-key-of-32-bytes-or-more!!", publish = ["quotes.>"] }]\n`
      + '[feed.simulator]\nenabled = true\ninterval = "50ms"\nsymbols = ["AAPL", "MSFT"]',
  });
  const { browser, errors } = await startBrowser(t);
  const page = await browser.newPage();
  await page.goto(`http://${gateway.address}/`);
  await waitUntilConnected(page);
  for (const part of ['#operator', '#operate']) assert.equal(await page.isVisible(part), false, 'a visitor does not see it');
  await page.click('#token-button');
  await page.fill('#token', key);
  await page.press('#token', 'Enter');
  await page.click('#operate');
  await page.waitForSelector('#operator:not([hidden])');
  await page.waitForFunction(() => document.querySelector('#operator').getBoundingClientRect().top < innerHeight, undefined, { timeout: 30_000 });
  await page.waitForFunction(() => document.querySelector('#slowest tbody').textContent.includes('root'));
  // The page has these topics by the pattern quotes.*.
  await page.waitForFunction(() => /quotes\.(AAPL|MSFT)[\d.]+\/s1/.test(document.querySelector('#busiest tbody').textContent));
  for (const [width, height] of [[390, 844], [800, 1000], [1280, 800], [1920, 1080]]) {
    await page.setViewportSize({ width, height });
    await page.screenshot({ path: join(folder, `operator-${width}.png`), fullPage: true });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, `nothing overflows ${width} pixels`);
  }
  assert.deepEqual(await page.evaluate(paleTexts), []);
  assert.deepEqual(errors, []);
  await page.click('#token-button');
  await page.fill('#token', 'another-key-of-32-bytes-or-more!!');
  await page.press('#token', 'Enter');
  await page.waitForSelector('#operator', { state: 'hidden' });
  await page.click('#operate');
  await page.waitForFunction(() => /does not administer/.test(document.querySelector('#notice').textContent));
});

test('Tab reaches every control, visible and with a focus mark', { skip, timeout: 120_000 }, async (t) => {
  const key = 'an-admin-key-of-32-bytes-or-more!';
  const gateway = await startGateway(t, {
    config: `[auth]\nanonymous = { subscribe = ["quotes.>", "chat.>", "$belfry.>"], publish = ["chat.>"] }\n`
      + `api_keys = [{ name = "root", key = "${key}", admin = true, subscribe = [">"], publish = [">"] }]\n`
      + '[feed.simulator]\nenabled = true\ninterval = "1s"\nsymbols = ["AAPL", "MSFT"]',
  });
  const { browser, errors } = await startBrowser(t);
  const page = await browser.newPage();
  await page.goto(`http://${gateway.address}/`);
  await waitUntilConnected(page);
  const focused = () => page.evaluate(() => document.activeElement.id);
  const press = async (...keys) => { for (const each of keys) await page.keyboard.press(each); };
  await press('Tab', 'Enter');
  assert.equal(await focused(), 'token', 'the first button opens the form');
  await press('Escape');
  assert.equal(`${await focused()} ${await page.isVisible('#entry')}`, 'token-button false');
  await press('Enter');
  await page.keyboard.type(key);
  await press('Enter');
  await page.waitForSelector('#entry', { state: 'hidden' });
  assert.equal(await focused(), 'token-button', 'the focus returns to the button');
  await press('Shift+Tab', 'Enter');
  await page.waitForSelector('#operator:not([hidden])');
  await page.waitForSelector('#quotes:not([hidden])');
  for (const [width, height] of [[390, 844], [800, 900], [1280, 800], [1920, 1080]]) {
    await page.setViewportSize({ width, height });
    const controls = await page.evaluate(() => {
      const isControl = (element) => !element.disabled && element.tabIndex >= 0 && element.checkVisibility();
      window.controls = [...document.querySelectorAll('a[href], button, input, [tabindex]')].filter(isControl);
      document.activeElement.blur();
      return window.controls.map((element) => element.id || element.ariaLabel || element.textContent);
    });
    for (const [direction, tab] of [['forwards', 'Tab'], ['backwards', 'Shift+Tab']]) {
      const reached = new Set();
      for (let presses = 0; presses <= controls.length + 1; presses += 1) {
        await press(tab);
        const found = await page.evaluate(focusedControl);
        if (!found) continue; // The focus is in the browser's own controls.
        assert.deepEqual(found.problems, [], `${controls[found.index] ?? found.what} at ${width} pixels, ${direction}`);
        reached.add(found.index);
      }
      assert.deepEqual(controls.filter((_, index) => !reached.has(index)), [], `not reached at ${width} pixels, ${direction}`);
    }
  }
  assert.deepEqual(errors, []);
});

/** In the page: which of `window.controls` has the focus, and the reasons why a user would not see it. */
function focusedControl() {
  const element = document.activeElement;
  if (element === document.body) return null;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const { top, left, right, height } = element.getBoundingClientRect();
  const problems = [];
  if (outlineStyle === 'none' || parseFloat(outlineWidth) < 2) problems.push('it has no focus mark');
  if (top < 0 || top >= innerHeight || right <= 0 || left >= innerWidth) problems.push('it is outside the window');
  const above = document.elementFromPoint((Math.max(left, 0) + Math.min(right, innerWidth)) / 2, top + Math.min(height / 2, 8));
  if (!above || !element.contains(above)) problems.push(`it is under ${above?.outerHTML.slice(0, 60)}`);
  return { index: window.controls.indexOf(element), what: element.outerHTML.slice(0, 60), problems };
}

/** In the page: texts whose contrast is below 4.5 to 1. */
function paleTexts() {
  const channels = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
    // The colour behind a text: a translucent background is mixed with its parent's.
  const background = (element) => {
    const [red, green, blue, alpha = 1] = channels(getComputedStyle(element).backgroundColor);
    if (alpha === 1) return [red, green, blue];
    const below = element.parentElement ? background(element.parentElement) : [255, 255, 255];
    return [red, green, blue].map((value, index) => value * alpha + below[index] * (1 - alpha));
  };
  return [...document.querySelectorAll('body *')]
    .filter((element) => element.checkVisibility() && !element.disabled && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
    .filter((element) => {
      const [a, b] = [luminance(channels(getComputedStyle(element).color)), luminance(background(element))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    })
    .map((element) => `${element.tagName} ${element.textContent.slice(0, 30)}`);
}

test("the README's lines for a browser's console print the quotes of the gateway's page", { skip, timeout: 60_000 }, async (t) => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  const [, lines] = readme.match(/^```js\n(.*?)^```$/ms);
  const gateway = await startGateway(t, { config: null, settings: ['feed.simulator.interval="200ms"'] });
  const { browser, errors } = await startBrowser(t);
  const page = await openPage(browser, gateway, 'ana');
  const printed = [];
  // A line printed while the browser closes has no value any more.
  page.on('console', (line) => line.args()[0]?.jsonValue().then((value) => printed.push(value), () => {}));
  await page.evaluate((code) => (0, eval)(code), lines.replaceAll('127.0.0.1:8765', gateway.address));
  const isQuote = ({ op, topic, data }) => op === 'message' && topic === 'quotes.AAPL' && data.price > 0;
  while (!printed.some(isQuote)) await page.waitForEvent('console');
  assert.deepEqual(printed.slice(0, 2).map(({ op }) => op), ['welcome', 'subscribed']);
  assert.deepEqual(errors, []);
});
