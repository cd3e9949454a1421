// Chat: one topic below `chat.` at a time, with its history and its members.

import { find, Log, make, makeTime } from './dom.js';
import { gateway, showAccess } from './session.js';
import { leave, observe, resume } from './watch.js';

const LINES_MAX = 300;
const MEMBERS_SHOWN = 50;
const MEMBERS_EVERY_MS = 300;

const log = new Log(find('#log'), LINES_MAX);
const nicknames = new Map(); // session → its last nickname; nicknames are not verified
let chat = null;

function join(topic) {
  chat?.unsubscribe();
  leave(topic);
  log.clear();
  find('#log').ariaBusy = 'true'; // Keeps screen readers from reading out the history.
  find('#members').replaceChildren();
  find('#chat-title').textContent = 'Chat';
  showTrouble('');
  let early = []; // live messages that came before the history did
  const hear = (message) => {
    observe(message);
    if (early) early.push(message);
    else say(message, Date.now());
  };
  const subscription = gateway.subscribe(topic, {
    last: 0,
    presence: true,
    onMessage: hear,
    onLost: () => note('Messages may be missing here.'),
    onGap: ({ from, to }) => note(`${to - from + 1} messages were dropped: this page was too slow.`),
    onSubscribed: showMembers,
    onJoin: showMembers,
    onLeave: showMembers,
    onError: (error) => refused(subscription, error),
  });
  chat = subscription;
  resume();
  subscription.ready
    .then(() => find('#chat').removeAttribute('data-refused'))
    .then(() => gateway.history(topic, { limit: 50 }))
    .catch(() => ({ messages: [] })) // Without history, or without a grant for it, the log begins here.
    .then(({ messages }) => {
      if (chat !== subscription) return;
      for (const message of messages) say(message, message.ts);
      const known = messages.at(-1)?.offset ?? 0;
      for (const message of early) if (message.offset > known) say(message, Date.now());
      early = null;
      find('#log').ariaBusy = 'false';
    });
}

// A topic without presence has no list of members. A refusal is shown in the log.
function refused(subscription, error) {
  if (error.code === 'presence_off' || chat !== subscription) return;
  if (error.code !== 'not_allowed') return showTrouble(error.message);
  find('#chat').dataset.refused = '';
  showAccess();
  note(`You may not read ${subscription.topics[0]}. Another topic, or a token, may open it.`);
}

function say({ data }, at) {
  const { text, nickname, session } = typeof data === 'object' && data ? data : { text: data };
  const name = typeof nickname === 'string' && nickname ? nickname : 'anonymous';
  if (typeof session === 'string' && nicknames.get(session) !== name) {
    nicknames.set(session, name);
    showMembers();
  }
  const own = typeof session === 'string' && session === gateway.session;
  const words = make('span', {}, make('b', { textContent: name }), typeof text === 'string' ? text : JSON.stringify(data));
  log.append(make('li', { className: own ? 'mine' : '' }, makeTime(at), words), { own });
}

function note(text) {
  log.append(make('li', { className: 'note', textContent: text }));
}

// The list is requested again after each change and each reconnect.
let asking = null;
function showMembers() {
  asking ??= setTimeout(async () => {
    asking = null;
    const subscription = chat;
    const { count, members } = await gateway.presence(subscription.topics[0]).catch(() => ({ count: 0, members: [] }));
    if (chat !== subscription) return;
    const items = members.slice(0, MEMBERS_SHOWN).map(({ session, user }) => {
      const mine = session === gateway.session;
      const name = user ?? (mine ? find('#nickname').value.trim() : nicknames.get(session));
      const textContent = `${name || session.slice(0, 6)}${mine ? ' (you)' : ''}`;
      return make('li', { className: mine ? 'me' : '', title: `Session ${session}`, textContent });
    });
    if (count > items.length) items.push(make('li', { textContent: `and ${count - items.length} more` }));
    find('#members').replaceChildren(...items);
    find('#chat-title').textContent = `Chat${count ? `, ${count} here` : ''}`;
  }, MEMBERS_EVERY_MS);
}

function showTrouble(text) {
  find('#trouble').textContent = text;
}

find('#join').addEventListener('submit', (event) => {
  event.preventDefault();
  const topic = `chat.${find('#topic').value.trim()}`;
  if (chat.topics[0] !== topic) join(topic);
});

find('#speak').addEventListener('submit', async (event) => {
  event.preventDefault();
  const text = find('#text').value.trim();
  if (!text) return;
  if (gateway.state !== 'open') return showTrouble('There is no connection; the message was not sent.');
  const nickname = find('#nickname').value.trim() || undefined;
  find('#text').value = '';
  showTrouble('');
  try {
    await gateway.publish(chat.topics[0], { text, nickname, session: gateway.session });
  } catch (error) {
    showTrouble(error.code === 'unknown' ? 'The connection broke; the message may have been sent or not.' : error.message);
    if (!find('#text').value) find('#text').value = text;
  }
});

find('#text').addEventListener('input', () => showTrouble(''));

find('#nickname').value = localStorage.getItem('belfry.nickname') ?? '';
find('#nickname').addEventListener('change', ({ target }) => {
  localStorage.setItem('belfry.nickname', target.value.trim());
  showMembers();
});

addEventListener('authenticated', () => join(chat.topics[0])); // With the grants of the token.

join('chat.lobby');
