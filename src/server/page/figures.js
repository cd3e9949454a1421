// The gateway's figures: totals come once a second on `$belfry.stats`, and rates are computed over five seconds.

import { find, make } from './dom.js';
import { Panel } from './session.js';

const samples = [];
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

new Panel(find('#figures'), '$belfry.stats', {
  onLost: () => samples.splice(0),
  onMessage({ data, replay }) {
    for (const name of ['sessions', 'topics', 'subscriptions']) show(name, data[name].toLocaleString('en'));
    show('outbox_bytes', compact.format(data.outbox_bytes), 'B');
    show('uptime_s', duration(data.uptime_s));
    if (data.saved_bytes !== undefined) show('saved_bytes', compact.format(data.saved_bytes), 'B', make('small', { className: 'ratio', textContent: ratio(data) }));
    if (data.version !== undefined) find('#version').textContent = `version ${data.version}`;
    if (replay) return; // The time of a replayed message is unknown, so it gives no rate.
    samples.push({ at: performance.now(), ...data });
    if (samples.length > 6) samples.shift();
    const [first, last] = [samples[0], samples.at(-1)];
    if (first === last) return;
    for (const name of ['published', 'delivered']) {
      show(name, compact.format((last[name] - first[name]) / ((last.at - first.at) / 1000)), '/s');
    }
  },
});

function show(name, value, unit = '', ...more) {
  find(`[data-figure=${name}]`).replaceChildren(value, make('small', { textContent: unit }), ...more);
}

/** The compressed share of the bytes of compressed messages. */
function ratio({ saved_bytes: saved, deflated_bytes: deflated }) {
  return deflated ? `to ${Math.round((100 * deflated) / (deflated + saved))} %` : '';
}

function duration(seconds) {
  const [days, hours, minutes] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}
