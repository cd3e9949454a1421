// The session with the gateway: its state, the token, and which panels the gateway grants.

import { Belfry } from '/belfry.js';
import { find } from './dom.js';

const COUNT_MS = 250;
const NO_ACCESS = [1008, 4001, 4002];

// The fragment may have a token. No request sends the fragment.
const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? undefined;
if (token) history.replaceState(null, '', location.pathname); // The address in the bar must not have the token.

let presented = token; // The credential that the gateway accepted last.

const panels = [];
let countdown = 0;

let event = ''; // The text of the event that is being handled.

export const gateway = new Belfry(undefined, { token, onState: showState, onError: complain, parse: (text) => JSON.parse((event = text)) });

/** The payload of the message that is being handled, as JSON whose numbers keep their digits. */
export const payload = () => JSON.stringify(exact(event).data);

/** Reads JSON. Where the browser can (`JSON.rawJSON`), a number keeps the digits that it is written with. */
export function exact(text) {
  return JSON.parse(text, (_, value, context) => {
    const isRounded = typeof value === 'number' && context?.source !== undefined && String(value) !== context.source;
    return isRounded && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
  });
}

/** The token or key of this page, if it has one. */
export const credential = () => presented;

// The unsubscribe from a refused subscription is an error that nobody needs to see.
function complain(error) {
  if (error.code !== 'not_subscribed') notify(error.message);
}

/**
 * A part of the page with one subscription. It is hidden while the gateway does not grant the subscription.
 */
export class Panel {
  #element;
  #topic;
  #options;
  #subscription = null;
  refused = false;

  constructor(element, topic, options) {
    this.#element = element;
    this.#topic = topic;
    this.#options = options;
    panels.push(this);
    this.begin();
  }

  begin() {
    this.#subscription?.unsubscribe();
    this.#subscription = gateway.subscribe(this.#topic, {
      ...this.#options,
      onSubscribed: () => this.#show(true),
      onError: (error) => (error.code === 'not_allowed' ? this.#show(false) : notify(error.message)),
    });
  }

  #show(granted) {
    this.refused = !granted;
    this.#element.hidden = !granted;
    showAccess();
  }
}

/** Shows an error, until the next change of state. */
export function notify(text) {
  find('#notice').textContent = text;
}

function showState(state, { code, reason, retryInMs = 0 } = {}) {
  clearInterval(countdown);
  document.documentElement.dataset.state = state;
  find('#state').dataset.state = state;
  if (state === 'waiting' || (state === 'closed' && !NO_ACCESS.includes(code))) find('#retry').hidden = false;
  else hide('#retry');
  if (state === 'waiting') {
    const returnsAt = performance.now() + retryInMs;
    const count = () => {
      const seconds = Math.max(1, Math.ceil((returnsAt - performance.now()) / 1000));
      const cause = code === 1001 ? 'the gateway is restarting' : 'the gateway is gone';
      find('#state span').textContent = `${cause}, next try in ${seconds} s`;
    };
    count();
    countdown = setInterval(count, COUNT_MS);
  } else {
    const closed = `closed${code ? ` with ${code}` : ''}${reason ? `: ${reason}` : ''}`;
    find('#state span').textContent = { connecting: 'connecting', open: 'connected', closed }[state];
  }
  if (state === 'open') notify('');
  // A disabled button would make Enter do nothing, and say nothing, in its form.
  for (const button of document.querySelectorAll('button[data-needs-session]')) button.ariaDisabled = String(state !== 'open');
  queueMicrotask(() => { // `gateway` has no value yet when the first state is reported.
    showAccess(state === 'closed' ? code : undefined);
    const name = gateway.user ? ` as ${gateway.user}` : '';
    find('#session').textContent = gateway.session ? `Session ${gateway.session}${name}` : 'No session';
  });
}

/** Hides an element. If it has the focus, the focus moves to the header. */
function hide(selector) {
  if (find(selector).contains(document.activeElement)) find('#token-button').focus();
  find(selector).hidden = true;
}

/** Opens the token form if a visitor without a token sees neither panels nor the chat. */
export function showAccess(code) {
  const nothing = gateway.user == null && panels.every(({ refused }) => refused) && find('#chat').hasAttribute('data-refused');
  const words = { 1008: 'The gateway wants a token.', 4001: 'The gateway refused the token.', 4002: 'The token has expired.' };
  if (words[code] || nothing) {
    find('#entry').hidden = false;
    find('#refusal').textContent = words[code] ?? 'Quotes, chat and figures need a token here.';
  }
  find('#token-button').setAttribute('aria-expanded', String(!find('#entry').hidden));
}

find('#retry').addEventListener('click', () => gateway.reconnect());

find('#token-button').addEventListener('click', () => {
  find('#entry').hidden = !find('#entry').hidden;
  find('#token-button').setAttribute('aria-expanded', String(!find('#entry').hidden));
  if (!find('#entry').hidden) find('#token').focus();
});

find('#entry').addEventListener('keydown', ({ key }) => {
  if (key !== 'Escape') return;
  hide('#entry');
  find('#token-button').setAttribute('aria-expanded', 'false');
});

find('#entry form').addEventListener('submit', async (event) => {
  event.preventDefault();
  notify('');
  try {
    const given = find('#token').value.trim();
    await gateway.authenticate(given);
    presented = given;
    hide('#entry');
    for (const panel of panels) if (panel.refused) panel.begin();
    dispatchEvent(new Event('authenticated'));
  } catch (error) {
    find('#refusal').textContent = `The gateway refused the token: ${error.message}`;
  }
  showAccess();
});
