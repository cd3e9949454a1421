// Types of belfry.js.

/** A position in a topic. */
export interface Position { epoch: string; offset: number }
export interface Member { session: string; user: string | null }
/** `waiting`: until the next reconnect. */
export type State = 'connecting' | 'open' | 'waiting' | 'closed';
/** The close that led to the state, if any. */
export interface StateDetail { code?: number; reason?: string; retryInMs?: number }
export type Token = string | (() => string | Promise<string>);

export interface Message<Data = any> {
  topic: string;
  epoch: string;
  offset: number;
  replay?: true;
  data: Data;
}

/** Messages that can't be recovered. `before` is the last known position. */
export interface Lost { topic: string; reason: 'history' | 'epoch' | 'pattern'; before?: Position }
/** An entry of the gateway's answer to a subscribe. A pattern has no position. */
export interface Subscribed { topic: string; epoch?: string; offset?: number; recovered?: boolean }

export interface GatewayOptions {
  token?: Token;
  onState?(state: State, detail: StateDetail): void;
  onError?(error: BelfryError): void;
  WebSocket?: new (url: string, protocols?: string | string[]) => any;
  backoffMs?: number;
  backoffMaxMs?: number;
  timeoutMs?: number;
  random?(): number;
  parse?(text: string): any;
}

export interface SubscribeOptions<Data = any> {
  last?: number;
  since?: Record<string, Position>;
  intervalMs?: number;
  presence?: boolean;
  onMessage?(message: Message<Data>): void;
  onGap?(gap: { topic: string; from: number; to: number }): void;
  onLost?(lost: Lost): void;
  onJoin?(join: { topic: string; member: Member }): void;
  onLeave?(leave: { topic: string; member: Member }): void;
  onSubscribed?(topics: Subscribed[]): void;
  onError?(error: BelfryError): void;
}

export class BelfryError extends Error {
  constructor(code: string, message: string);
  readonly code: string;
}

export class Belfry {
  constructor(url?: string, options?: GatewayOptions);
  readonly url: string;
  readonly state: State;
  readonly session: string | null;
  readonly user: string | null;
  subscribe<Data = any>(topics: string | string[], options?: SubscribeOptions<Data>): Subscription<Data>;
  publish(topic: string, data: unknown, options?: { echo?: boolean }): Promise<number>;
  history<Data = any>(topic: string, options?: { since?: number; limit?: number }): Promise<{
    epoch: string;
    messages: { offset: number; ts: number; data: Data }[];
    more?: boolean;
  }>;
  presence(topic: string): Promise<{ count: number; members: Member[] }>;
  authenticate(token: Token): Promise<void>;
  ping(): Promise<number>;
  reconnect(): void;
  close(): void;
}

export class Subscription<Data = any> implements AsyncIterable<Message<Data>> {
  private constructor();
  readonly ready: Promise<Subscribed[]>;
  readonly topics: string[];
  readonly positions: Record<string, Position>;
  unsubscribe(): void;
  [Symbol.asyncIterator](): AsyncGenerator<Message<Data>, void, undefined>;
}

/** Whether a pattern matches a topic's name. */
export function matches(pattern: string, topic: string): boolean;
