// Programs that do what the page does, with this gateway's address.

import { find } from './dom.js';

const [http, ws] = [location.origin, location.origin.replace(/^http/, 'ws')];
const programs = {
  browser: `// curl -O ${http}/belfry.js
import { Belfry } from './belfry.js';

const gateway = new Belfry('${ws}/ws');
gateway.subscribe('quotes.*', {
  onMessage: ({ topic, data }) => console.log(topic, data.price),
});`,
  python: `import json, websocket  # pip install websocket-client

socket = websocket.create_connection('${ws}/raw/quotes.AAPL')
while text := socket.recv():
    print(json.loads(text)['price'])`,
  stream: `// no WebSocket: server-sent events; the browser reconnects and resumes
const stream = new EventSource('${http}/sse?topics=quotes.AAPL,quotes.MSFT');
stream.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  console.log(message.topic, message.data.price);
};`,
  centrifugo: `// npm install centrifuge: Centrifugo's own SDK, which has a channel for each topic
import { Centrifuge } from 'centrifuge';

const client = new Centrifuge('${ws}/connection/websocket');
const subscription = client.newSubscription('quotes.AAPL');
subscription.on('publication', ({ data }) => console.log(data.price));
subscription.subscribe();
client.connect();`,
  shell: `belfry sub --url ${ws}/ws 'quotes.*'

curl ${http}/v1/topics/chat.lobby --data '{"text":"hi"}'
curl '${http}/v1/topics/chat.lobby/history?limit=5'
curl -N '${http}/sse?topics=quotes.AAPL'`,
};
const tabs = [...document.querySelectorAll('#own [role=tab]')];

function showProgram(chosen) {
  for (const tab of tabs) {
    tab.ariaSelected = String(tab === chosen);
    tab.tabIndex = tab === chosen ? 0 : -1;
  }
  find('#own-text').textContent = programs[chosen.dataset.language];
}

find('#own .tabs').addEventListener('click', ({ target }) => tabs.includes(target) && showProgram(target));
find('#own .tabs').addEventListener('keydown', ({ key, target }) => {
  const step = { ArrowRight: 1, ArrowLeft: tabs.length - 1 }[key];
  const stepped = step && tabs[(tabs.indexOf(target) + step) % tabs.length];
  const next = { Home: tabs[0], End: tabs.at(-1) }[key] ?? stepped;
  if (!next) return;
  next.focus();
  showProgram(next);
});
showProgram(tabs[0]);

find('#copy').addEventListener('click', async () => {
  const copied = await navigator.clipboard?.writeText(find('#own-text').textContent).then(() => true, () => false);
  find('#copy').textContent = copied ? 'Copied' : 'Select the text';
  if (!copied) getSelection().selectAllChildren(find('#own-text'));
  setTimeout(() => (find('#copy').textContent = 'Copy'), 1500);
});
