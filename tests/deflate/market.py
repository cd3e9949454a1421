"""A reproducible mix of messages: quotes, ticks, order books, and data that no reference compresses."""

import json
import random

QUOTES = [f"quotes.{symbol}" for symbol in ("AAPL", "MSFT", "GOOG", "AMZN", "TSLA", "NVDA")]
START_TIME = 1_732_233_600_000


class Market:
    """`next` returns a message as (topic, the JSON text of its data)."""

    def __init__(self, seed=15):
        self.chance = random.Random(seed)
        self.prices = {topic: self.chance.randrange(5_000, 40_000) for topic in QUOTES}
        self.book = [self.chance.randrange(1, 900) for _ in range(20)]
        self.moment = START_TIME

    def next(self):
        self.moment += self.chance.randrange(1, 40)
        kinds = (self.quote, 52), (self.tick, 20), (self.order_book, 10), (self.news, 8), (self.uncompressed, 6), (self.talk, 3), (self.large, 1)
        kind = self.chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
        topic, data = kind()
        return topic, data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))

    def quote(self):
        topic = self.chance.choice(QUOTES)
        self.prices[topic] += self.chance.randrange(-9, 10)
        price, spread = self.prices[topic], self.chance.randrange(1, 6)
        bid, ask = f"{(price - spread) / 100:.2f}", f"{(price + spread) / 100:.2f}"
        volume = self.chance.randrange(100, 9_000)
        text = f'{{"stock_id":"{topic[7:]}","price":{price / 100:.2f},"bid":{bid},"ask":{ask},"volume":{volume},"ts":{self.moment}}}'
        return topic, text

    def tick(self):
        price = 86_655 + self.chance.randrange(-40, 41)
        return "ticks.USDJPY", f'{{"timestamp":{self.moment},"bid":{price / 1000:.3f},"ask":{(price + 70) / 1000:.3f}}}'

    def order_book(self):
        for _ in range(3):
            self.book[self.chance.randrange(20)] = self.chance.randrange(1, 900)
        sides = [[[f"{187 + side * 0.01 * level:.2f}", self.book[level + 10 * (side > 0)]] for level in range(10)] for side in (-1, 1)]
        return "books.AAPL", {"bids": sides[0], "asks": sides[1], "ts": self.moment}

    def news(self):
        return "news.all", {"headline": " ".join(self.chance.choices("shares rise fall as the bank says it will buy sell".split(), k=90))}

    def uncompressed(self):
        return "off.all", {"n": self.chance.random(), "said": "a" * self.chance.randrange(0, 400)}

    def talk(self):
        return "chat.房間", {"said": "".join(self.chance.choices("你好早安晚安謝謝🙂é", k=self.chance.randrange(1, 60)))}

    def large(self):
        """Data too long to be copied into a write, or to be referred to."""
        return "large.all", {"bytes": "%x" % self.chance.getrandbits(self.chance.choice((20_000, 60_000, 160_000)))}
