// Quotes: messages change rows, which are drawn once in each frame.

import { find, make } from './dom.js';
import { gateway, Panel } from './session.js';
import { observe } from './watch.js';

const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

const ROWS_MAX = 200;
const POINTS_MAX = 60;
const rows = new Map();
const dirty = new Set();
const calm = matchMedia('(prefers-reduced-motion: reduce)');
let quotesHeard = 0;

new Panel(find('#quotes-panel'), 'quotes.*', {
  intervalMs: 100,
  onMessage(message) {
    observe(message);
    const { topic, offset, data } = message;
    quotesHeard += 1;
    const row = rows.get(topic) ?? newRow(topic);
    if (!row || !Number.isFinite(Number(data?.price))) return;
    row.quote = data;
    row.points.push({ offset, price: Number(data.price) });
    if (row.points.length > POINTS_MAX) row.points.shift();
    if (dirty.size === 0) requestAnimationFrame(drawDirty);
    dirty.add(row);
  },
});

setInterval(() => {
  find('#pace').textContent = rows.size ? `${rows.size} symbols, ${quotesHeard}/s here; change over ${POINTS_MAX} quotes` : '';
  quotesHeard = 0;
}, 1000);

function newRow(topic) {
  if (rows.size >= ROWS_MAX) return null;
  const symbol = topic.slice('quotes.'.length);
  const cell = (name) => make('td', { className: name });
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 120 28');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(path);
  const cells = Object.fromEntries(['spark', 'last', 'change', 'bid', 'ask', 'volume'].map((name) => [name, cell(name)]));
  const last = make('span');
  const pair = make('span', { className: 'pair' });
  cells.spark.append(svg);
  cells.last.append(last, pair);
  const element = make('tr', {}, make('th', { scope: 'row', textContent: symbol, title: symbol }), ...Object.values(cells));
  const row = { symbol, element, cells, path, last, pair, points: [], quote: null, shown: null };
  rows.set(topic, row);
  const after = [...rows.values()].filter((other) => other.symbol > symbol).sort((a, b) => (a.symbol < b.symbol ? -1 : 1))[0];
  find('#quotes tbody').insertBefore(element, after?.element ?? null);
  find('#quotes').hidden = false;
  find('#no-quotes').hidden = true;
  if (rows.size <= 40) fillTrend(topic, row); // At most 40 commands, because commands have a rate.
  return row;
}

// Adds the earlier prices to the trend.
async function fillTrend(topic, row) {
  const { messages } = await gateway.history(topic, { limit: POINTS_MAX }).catch(() => ({ messages: [] }));
  const oldest = row.points[0]?.offset ?? Infinity;
  const earlier = messages.filter(({ offset, data }) => offset < oldest && Number.isFinite(Number(data?.price)));
  row.points.unshift(...earlier.map(({ offset, data }) => ({ offset, price: Number(data.price) })));
  row.points.splice(0, row.points.length - POINTS_MAX);
  draw(row);
}

function drawDirty() {
  for (const row of dirty) draw(row);
  dirty.clear();
}

function draw({ cells, path, points, quote, last, pair, ...row }) {
  if (!quote) return;
  const price = points.at(-1).price;
  const first = points[0].price;
  const change = first ? ((price - first) / first) * 100 : 0;
  const percent = Math.abs(change).toFixed(2);
  const way = percent === '0.00' ? '' : change > 0 ? 'up' : 'down';
  const before = Number(last.dataset.price);
  last.dataset.price = price;
  last.textContent = money(price);
  pair.textContent = `${money(quote.bid)} × ${money(quote.ask)}`;
  cells.change.textContent = `${{ up: '+', down: '−' }[way] ?? ''}${percent} %`;
  cells.change.className = `change ${way}`;
  cells.spark.setAttribute('class', `spark ${way}`);
  cells.bid.textContent = money(quote.bid);
  cells.ask.textContent = money(quote.ask);
  cells.volume.textContent = Number.isFinite(Number(quote.volume)) ? compact.format(quote.volume) : '–';
  path.setAttribute('d', trend(points.map((point) => point.price)));
  if (Number.isFinite(before) && before !== price && !calm.matches) {
    const wash = `var(--${price > before ? 'up' : 'down'}-wash)`;
    cells.last.animate([{ backgroundColor: wash }, { backgroundColor: 'transparent' }], { duration: 900, easing: 'ease-out' });
  }
}

function money(value) {
  if (value == null || !Number.isFinite(Number(value))) return '–';
  return Number(value).toLocaleString('en', { minimumFractionDigits: 2, maximumFractionDigits: Math.abs(value) < 10 ? 5 : 2 });
}

function trend(prices) {
  const low = Math.min(...prices);
  const span = Math.max(...prices) - low || 1;
  const step = 120 / Math.max(1, prices.length - 1);
  return prices.map((price, index) => `${index ? 'L' : 'M'}${(index * step).toFixed(1)} ${(26 - ((price - low) / span) * 24).toFixed(1)}`).join('');
}
