// A program with mistakes. belfry.d.ts must refuse each line that ends with `// error`, and no other line.

import { Belfry, Subscription } from 'belfry';
import type { State } from 'belfry';

const gateway = new Belfry('ws://127.0.0.1:8765/ws', { backoff: 100 }); // error
new Belfry(8765); // error
new Belfry(undefined, { token: () => 7 }); // error
gateway.state = 'open'; // error
const state: State = 'opened'; // error
const session: string = gateway.session; // error

const quotes = gateway.subscribe<{ price: number }>('quotes.*', {
  onMessage: ({ data }) => console.log(data.cost), // error
  onGap: ({ missed }) => console.log(missed), // error
  onLost: ({ reason }) => console.log(reason === 'slow'), // error
  interval_ms: 250, // error
});
gateway.subscribe({ topics: ['quotes.*'] }); // error
gateway.subscribe('chat.lobby', { since: { 'chat.lobby': 7 } }); // error
new Subscription(); // error
for await (const { data } of quotes) console.log(data.cost); // error

const offset: string = await gateway.publish('chat.lobby', { text: 'hi' }); // error
await gateway.publish('chat.lobby'); // error
await gateway.publish('chat.lobby', 1, { echo: 'no' }); // error
await gateway.history('chat.lobby', { since: '7' }); // error
(await gateway.presence('chat.lobby')).members.map(({ name }) => name); // error
gateway.disconnect(); // error
console.log(state, session, offset);
