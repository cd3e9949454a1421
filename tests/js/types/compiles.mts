// A program that uses all of belfry.d.ts. It must compile.

import { Belfry, BelfryError, Subscription, matches } from 'belfry';
import type { GatewayOptions, Lost, Member, Message, Position, State, StateDetail, Subscribed, Token } from 'belfry';

interface Quote { price: number; at: string }

const token: Token = async () => 'a JWT';
const options: GatewayOptions = {
  token,
  WebSocket,
  backoffMs: 100,
  random: () => 0.5,
  parse: (text) => JSON.parse(text),
  onState(state: State, { code, reason, retryInMs }: StateDetail) {
    const wait: number = retryInMs ?? 0;
    console.log(state === 'waiting' ? wait : `${code} ${reason}`);
  },
  onError: (error: BelfryError) => console.log(error.code, error.message),
};
const gateway = new Belfry('ws://127.0.0.1:8765/ws', options);
new Belfry().close();

const since: Record<string, Position> = { 'quotes.AAPL': { epoch: 'k3x', offset: 7 } };
const quotes: Subscription<Quote> = gateway.subscribe<Quote>(['quotes.*', 'quotes.fx.>'], {
  last: 1,
  since,
  intervalMs: 250,
  presence: true,
  onMessage({ topic, epoch, offset, replay, data }: Message<Quote>) {
    const price: number = data.price;
    console.log(topic, epoch, offset + 1, replay === true, price);
  },
  onGap: ({ topic, from, to }) => console.log(topic, to - from),
  onLost: ({ reason, before }: Lost) => console.log(reason === 'epoch', before?.offset),
  onJoin: ({ member }: { topic: string; member: Member }) => console.log(member.user ?? member.session),
  onLeave: ({ topic }) => console.log(topic.length),
  onSubscribed: (topics: Subscribed[]) => console.log(topics.map(({ topic, recovered }) => recovered && topic)),
});

const first: Subscribed[] = await quotes.ready;
for await (const { data } of quotes) {
  console.log(data.at.length, first.length, quotes.positions['quotes.AAPL']?.offset, quotes.topics.join());
  quotes.unsubscribe();
}

// Without a type of its own, `data` is anything.
gateway.subscribe('chat.lobby', { onMessage: ({ data }) => console.log(data.text.anything) });

const offset: number = await gateway.publish('chat.lobby', { text: 'hi' }, { echo: false });
const { epoch, messages, more } = await gateway.history<Quote>('quotes.AAPL', { since: offset, limit: 10 });
const { count, members } = await gateway.presence('chat.lobby');
console.log(epoch.length, messages.map(({ data, ts }) => data.price + ts), more === true, count, members[0]?.user);
await gateway.authenticate('another');
const milliseconds: number = await gateway.ping();
gateway.reconnect();
try {
  await gateway.publish('chat.lobby', milliseconds);
} catch (error) {
  if (error instanceof BelfryError && error.code === 'unknown') console.log(gateway.url, gateway.session?.length, gateway.user);
}
const isTaken: boolean = matches('quotes.*', 'quotes.AAPL');
console.log(isTaken);
