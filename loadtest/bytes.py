#!/usr/bin/env python3
"""The bytes of a delivery with deflate and history, in three markets, from one run:

    loadtest/bytes.py [--messages N] [--ticks FILE]

The gateway's simulator, recorded ticks of USD/JPY, and the scenario `market`, whose subscribers have ten topics each. FILE is a recording with the
columns `timestamp,bid,ask`; without it one of that shape is made. The gateway is $BELFRY, or target/release/belfry; the load test is
$LOADTEST, or target/release/belfry-loadtest. Each message that is read is compared with what a session without compression reads.
"""

import argparse
import base64
import datetime
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "harness"))
sys.dont_write_bytecode = True

from process import BINARY, Process

LOADTEST = os.environ.get("LOADTEST", str(ROOT / "target" / "release" / "belfry-loadtest"))
SECONDS = 60
# The largest bytes of a delivery.
BOUNDS = {"simulator": 36, "USD/JPY ticks": 26, "market": 40}
RULES = """
auth.anonymous = { subscribe = ["quotes.>"] }
topics = [{ match = "quotes.>", history = 100, deflate = "history", on_slow = "conflate" }]
"""


class Session:
    """A subscriber: the texts that it reads, and the payload bytes that they took."""

    def __init__(self, port, extension):
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.stream = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        offer = f"Sec-WebSocket-Extensions: {extension}\r\n" if extension else ""
        head = f"GET /ws?topics=quotes.%3E&last=0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        self.socket.sendall(f"{head}Sec-WebSocket-Key: {key}\r\n{offer}\r\n".encode())
        answer = b"".join(iter(self.stream.readline, b"\r\n")).decode()
        assert " 101 " in answer and bool(extension) == ("permessage-deflate" in answer), answer
        assert "server_no_context_takeover" not in answer, "the gateway keeps no window"
        self.inflater = zlib.decompressobj(-15)

    def read(self):
        """The next message and the bytes of its payload on the wire."""
        while True:
            first, short = self.stream.read(2)
            size = {126: 2, 127: 8}.get(short)
            payload = self.stream.read(int.from_bytes(self.stream.read(size), "big") if size else short)
            text = self.inflater.decompress(payload + b"\x00\x00\xff\xff") if first & 0x40 else payload
            if first & 0x0F == 1 and text.startswith(b'{"op":"message"'):
                return text, len(payload)


def of_a_feed(settings, messages):
    """The messages of a feed to one subscriber: how many, their bytes, and those on the wire."""
    with Process(RULES, settings) as gateway:
        plain, own = Session(gateway.port, None), Session(gateway.port, "permessage-deflate")
        known, ended = set(), threading.Event()

        def read_plain():
            while not ended.is_set():
                known.add(plain.read()[0])

        reader = threading.Thread(target=read_plain, daemon=True)
        reader.start()
        read = [own.read() for _ in range(messages)]
        ended.set()
        reader.join(SECONDS)
        # The two readers end at slightly different messages.
        compared = sum(text in known for text, _ in read)
        assert compared > 0.9 * messages, f"{compared} of {messages} messages were read without compression, too"
        return messages, sum(len(text) for text, _ in read), sum(size for _, size in read)


def made_ticks(folder):
    """A recording of the shape of real ticks: two per second in the mean, prices of three decimals, walking."""
    chance, moment, bid = random.Random(15), datetime.datetime(2013, 1, 1, 22, tzinfo=datetime.timezone.utc), 86_655
    rows = ["timestamp,bid,ask"]
    for _ in range(1_000):
        moment += datetime.timedelta(milliseconds=chance.choice((1, 40, 200, 500, 1_500)))
        bid += chance.randrange(-3, 4)
        rows.append(f"{moment.isoformat(timespec='microseconds')},{bid / 1000:.3f},{(bid + chance.randrange(5, 75)) / 1000:.3f}")
    file = pathlib.Path(folder, "ticks.csv")
    file.write_text("\n".join(rows) + "\n")
    return file


def of_ticks(ticks, messages):
    file = ticks.resolve()
    replay = f'feed.replay=[{{ file = "{file}", topic = "quotes.USDJPY", speed = 2000, repeat = true }}]'
    return of_a_feed([replay], messages)


def of_the_market(messages):
    """Portfolios: what the load test measures, which checks every byte itself."""
    command = [LOADTEST, "market", "--start", BINARY, "--deflate=history", "--duration", "5", "--sessions", "500", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(ended.stdout)
    assert ended.returncode == 0, report.get("failures")
    deliveries = report["deliveries"]
    return deliveries, deliveries * report["inflated_bytes_per_delivery"], deliveries * report["bytes_per_delivery"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--messages", type=int, default=5_000, help="messages of each feed")
    arguments.add_argument("--ticks", type=pathlib.Path, help="a recording, in place of one that is made")
    asked = arguments.parse_args()
    print("| market | deliveries | bytes before | bytes a delivery | at most |\n| --- | --- | --- | --- | --- |")
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        markets = {
            "simulator": lambda: of_a_feed(['feed.simulator={ enabled = true, interval = "10ms", seed = 15 }'], asked.messages),
            "USD/JPY ticks": lambda: of_ticks(asked.ticks or made_ticks(folder), asked.messages),
            "market": lambda: of_the_market(asked.messages),
        }
        for name, measure in markets.items():
            deliveries, plain, packed = measure()
            each = packed / deliveries
            print(f"| {name} | {deliveries:,} | {plain / deliveries:.1f} | {each:.1f} | {BOUNDS[name]} |", flush=True)
            missed += [name] if each > BOUNDS[name] else []
    return f"more bytes than there may be: {', '.join(missed)}" if missed else 0


if __name__ == "__main__":
    sys.exit(main())
