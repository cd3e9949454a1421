// The tables of an administrator's key, as in `belfry top`: the slowest sessions and the busiest topics.

import { find, make } from './dom.js';
import { credential, gateway, notify } from './session.js';

const LOOK_MS = 2000;
const ANSWER_MS = 10_000;
const ROWS_MAX = 8;
const TOPICS_PAGE = 1000;
const TOPICS_MAX = 5000;
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

let looking = 0; // The number of the current series of requests; earlier series end.
let earlier = new Map(); // The topics of the last request, by name.
let earlierAt = 0;

/** Shows the button for API keys. The gateway does not say whether a key is an administrator's, so a click tries it. */
function offer() {
  const key = credential();
  end();
  find('#operate').hidden = key === undefined || key.split('.').length === 3; // A token (JWT).
}

function end() {
  looking += 1;
  find('#operator').hidden = true;
  find('#operate').setAttribute('aria-expanded', 'false');
}

async function begin() {
  end();
  const look = looking;
  earlier = new Map();
  while (look === looking) {
    const administers = await show(credential(), look);
    if (look !== looking) return;
    if (!administers) {
      end();
      notify('This key does not administer the gateway here.');
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** Requests and shows the tables, unless another series was begun. `false`: the key is not an administrator's. */
async function show(key, look) {
  if (document.hidden || gateway.state !== 'open') return true;
  try {
    const listed = await ask(`/v1/sessions?order=outbox&limit=${ROWS_MAX}`, key);
    if (!listed) return false;
    const topics = await allTopics(key);
    if (look !== looking) return true;
    fill('#slowest', listed.sessions.map(sessionCells));
    fill('#busiest', rated(topics).slice(0, ROWS_MAX).map(topicCells));
    const isNew = find('#operator').hidden;
    find('#operator').hidden = false;
    if (isNew) find('#operator').scrollIntoView({ block: 'nearest' }); // The tables are below the fold of most screens.
    find('#operate').setAttribute('aria-expanded', 'true');
  } catch {
    // The gateway is gone or late, which the state shows. The next request may succeed.
  }
  return true;
}

/** The answer to a GET; `null` if the key does not suffice, or the administrators' listener has another address. */
async function ask(path, key) {
  const reply = await fetch(path, { headers: { authorization: `Bearer ${key}` }, signal: AbortSignal.timeout(ANSWER_MS) });
  if ([401, 403, 404].includes(reply.status)) return null;
  if (!reply.ok) throw new Error(`${path} answered ${reply.status}`);
  return reply.json();
}

async function allTopics(key) {
  const topics = [];
  while (topics.length < TOPICS_MAX) {
    const after = encodeURIComponent(topics.at(-1)?.topic ?? '');
    const page = (await ask(`/v1/topics?limit=${TOPICS_PAGE}&after=${after}&by_pattern=true`, key))?.topics ?? [];
    topics.push(...page);
    if (page.length < TOPICS_PAGE) break;
  }
  return topics;
}

/** The topics with new messages since the last request, the busiest first. */
function rated(topics) {
  const now = performance.now();
  const seconds = (now - earlierAt) / 1000;
  const published = topics.flatMap((topic) => {
    const before = earlier.get(topic.topic);
    const rate = before?.epoch === topic.epoch ? (topic.offset - before.offset) / seconds : 0;
    return rate > 0 ? [{ ...topic, rate }] : [];
  });
  earlier = new Map(topics.map((topic) => [topic.topic, topic]));
  earlierAt = now;
  return published.sort((one, other) => other.rate - one.rate);
}

function sessionCells({ session, user, address, dialect, outbox_bytes: bytes, oldest }) {
  const waits = oldest ? `${oldest.topic}, ${compact.format(oldest.age_ms / 1000)} s` : '–';
  return [session, user ?? '–', address, dialect, `${compact.format(bytes)} B`, waits];
}

function topicCells({ topic, rate, subscribers, by_pattern: byPattern = 0 }) {
  return [topic, `${compact.format(rate)}/s`, (subscribers + byPattern).toLocaleString('en')];
}

function fill(table, rows) {
  find(`${table} tbody`).replaceChildren(...rows.map(([head, ...cells]) => make('tr', {},
    make('th', { scope: 'row', textContent: head, title: head }), ...cells.map((text) => make('td', { textContent: text, title: text })))));
  find(`${table} .empty`).hidden = rows.length > 0;
}

find('#operate').addEventListener('click', () => (find('#operator').hidden ? begin() : end()));
addEventListener('authenticated', offer);
offer();
