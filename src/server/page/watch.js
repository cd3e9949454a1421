// Watches any topic or pattern, and publishes to any topic.

import { matches } from '/belfry.js';
import { find, Log, make, makeTime } from './dom.js';
import { exact, gateway, payload } from './session.js';

const LINES_MAX = 200;
const TEXT_MAX = 2000;

const log = new Log(find('#watch-log'), LINES_MAX);
let watched = null; // the topic or pattern
let subscription = null; // its own subscription; null while another panel's subscription has the same name

/** Shows a message of another panel, if that panel's subscription has the name of the watched topic. */
export function observe(message) {
  if (watched !== null && !subscription && matches(watched, message.topic)) show(message);
}

/** Ends the subscription to `topic`, because another panel needs it: a name belongs to one subscription at a time. */
export function leave(topic) {
  if (watched !== topic) return;
  subscription?.unsubscribe();
  subscription = null;
}

/** Subscribes to the watched topic, unless another panel has it. */
export function resume() {
  if (watched !== null && !subscription) subscription = subscribe(watched);
}

function subscribe(topic) {
  try {
    return gateway.subscribe(topic, {
      onMessage: show,
      onSubscribed: () => showOutcome(''),
      onLost: () => note('Messages may be missing here.'),
      onGap: ({ topic: name, from, to }) => note(`${name}: offsets ${from} to ${to} were dropped.`),
      onError: (error) => showOutcome(error.message, true),
    });
  } catch {
    return null; // Another panel has the name, and passes its messages to `observe`.
  }
}

function show({ topic, offset, data, replay }) {
  const text = data instanceof Uint8Array ? `${data.length} bytes` : payload();
  const head = make('b', { textContent: `${topic} ${offset}${replay ? ' (replayed)' : ''}` });
  log.append(make('li', {}, makeTime(Date.now()), make('span', {}, head, text.slice(0, TEXT_MAX))));
}

function note(text) {
  log.append(make('li', { className: 'note', textContent: text }));
}

function showOutcome(text, isTrouble = false) {
  find('#watch-outcome').textContent = text;
  find('#watch-outcome').classList.toggle('trouble', isTrouble);
}

function stop() {
  subscription?.unsubscribe();
  watched = subscription = null;
  find('#watch-form button').textContent = 'Watch';
}

find('#watch-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const topic = find('#watch-topic').value.trim();
  const again = watched === topic;
  stop();
  showOutcome('');
  if (again || !topic) return;
  log.clear();
  watched = topic;
  find('#watch-form button').textContent = 'Stop';
  resume();
});

find('#watch-topic').addEventListener('input', ({ target }) => {
  find('#watch-form button').textContent = target.value.trim() === watched ? 'Stop' : 'Watch';
});

find('#publish-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  if (gateway.state !== 'open') return showOutcome('There is no connection; nothing was published.', true);
  const [topic, text] = [find('#publish-topic').value.trim(), find('#publish-data').value];
  let data = text;
  try {
    data = exact(text);
  } catch {
    // Text that is not JSON is published as a string.
  }
  try {
    const offset = await gateway.publish(topic, data);
    showOutcome(`Published to ${topic} with offset ${offset}.`);
  } catch (error) {
    showOutcome(error.message, true);
  }
});

addEventListener('authenticated', () => {
  subscription?.unsubscribe();
  subscription = null;
  resume();
});
