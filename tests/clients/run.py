#!/usr/bin/env python3
"""Python clients that know nothing of Belfry, and the examples, against a real gateway: tests/clients/run.py [NAME…]

Needs websockets and websocket-client. The gateway is $BELFRY, or target/release/belfry. NAME is a part of a test's name.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import websocket
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("BELFRY", ROOT / "target" / "release" / "belfry")).resolve()
SECONDS = 15  # the deadline of each thing that is waited for
CHAT = """
auth.anonymous = { subscribe = ["chat.>"], publish = ["chat.>"] }
limits = { commands_per_second = 1000000, commands_burst = 1000000 }
endpoints = { "/" = "chat.lobby" }
"""
QUOTES = """
auth.anonymous.subscribe = ["quotes.>"]
endpoints = { "/" = "quotes.AAPL" }
feed.simulator = { enabled = true, symbols = ["AAPL", "MSFT"], interval = "20ms" }
"""


@contextlib.contextmanager
def gateway(config=None):
    """A gateway on `config`, or on the built-in file; its host and port while it runs. It is ended by its own handle."""
    with tempfile.TemporaryDirectory() as home:
        file, port_file, log = (pathlib.Path(home, name) for name in ("belfry.toml", "port", "log"))
        command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--port-file", port_file]
        if config is not None:
            file.write_text(config)
            command += ["--config", file]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + SECONDS
            while not (port_file.exists() and port_file.read_text().strip()):
                assert process.poll() is None and time.monotonic() < deadline, f"no address:\n{log.read_text()}"
                time.sleep(0.02)
            yield port_file.read_text().strip()
            assert process.poll() is None, f"the gateway ended with {process.returncode}:\n{log.read_text()}"
        finally:
            process.kill()
            process.wait()


def test_three_websocket_clients_chat_at_the_root():
    with gateway(CHAT) as address:
        names, url = ["ana", "ben", "你好"], f"ws://localhost:{address.rpartition(':')[2]}/"
        sockets = [websocket.create_connection(url, timeout=SECONDS) for _ in names]
        for name, socket in zip(names, sockets):
            socket.send(f"{name} is here")
            for other in sockets:
                if other is not socket:
                    assert other.recv() == f"{name} is here"
        # Each heard the two others, in order; would one hear itself, it would have been before this.
        sockets[0].send_binary(b"\x00\xff")
        assert sockets[1].recv() == b"\x00\xff" and sockets[2].recv() == b"\x00\xff"
        sockets[1].send("last")
        assert sockets[0].recv() == "last"
        for socket in sockets:
            socket.close()


def test_a_callback_client_hears_the_chat():
    """websocket-client's `WebSocketApp`, as most examples on the web use it."""
    with gateway(CHAT) as address:
        heard, opened = queue.Queue(), threading.Event()
        app = websocket.WebSocketApp(
            f"ws://{address}/", on_open=lambda _: opened.set(), on_message=lambda _, text: heard.put(text)
        )
        thread = threading.Thread(target=app.run_forever, daemon=True)
        thread.start()
        assert opened.wait(SECONDS)
        other = websocket.create_connection(f"ws://{address}/", timeout=SECONDS)
        other.send("hi")
        assert heard.get(timeout=SECONDS) == "hi"
        app.send("and you")
        assert other.recv() == "and you"
        app.close()
        thread.join(SECONDS)
        assert not thread.is_alive() and heard.empty()


def test_quotes_come_as_json_texts_at_the_root():
    async def read(url):
        async with asyncio.timeout(SECONDS), connect(url) as socket:
            return [json.loads(await socket.recv()) for _ in range(20)]

    with gateway(QUOTES) as address:
        quotes = asyncio.run(read(f"ws://localhost:{address.rpartition(':')[2]}/"))
    assert {quote["stock_id"] for quote in quotes} == {"AAPL"}
    assert all(isinstance(quote["price"], (int, float)) and quote["price"] > 0 for quote in quotes)
    times = [quote["ts"] for quote in quotes]
    assert times == sorted(times)


async def answer(socket, **command):
    """The first event that is neither a message nor the welcome, after `command`."""
    await socket.send(json.dumps(command))
    while (event := json.loads(await socket.recv()))["op"] in ("message", "welcome"):
        pass
    return event


async def talk_natively(url, **options):
    """Two native sessions: one publishes a thousand messages, the other gets each once and in order."""
    async with asyncio.timeout(2 * SECONDS), connect(url, **options) as reader, connect(url, **options) as writer:
        extensions = [extension.name for extension in reader.protocol.extensions]
        assert json.loads(await reader.recv())["op"] == "welcome"
        subscribed = await answer(reader, op="subscribe", id="s", topics=["chat.a", "chat.*"])
        assert subscribed["op"] == "subscribed" and [entry["topic"] for entry in subscribed["topics"]] == ["chat.a", "chat.*"]
        texts = [f"{number} " + "repeated " * (number % 100) for number in range(1000)]
        for number, text in enumerate(texts):
            published = await answer(writer, op="publish", id=number, topic="chat.a", data={"text": text})
            assert (published["op"], published["id"], published["offset"]) == ("published", number, number + 1), published
        events = [json.loads(await reader.recv()) for _ in texts]
        assert [event["offset"] for event in events] == list(range(1, 1001))
        assert [event["data"]["text"] for event in events] == texts
        assert (await answer(reader, op="ping", id=7)) == {"op": "pong", "id": 7}
        return extensions


def test_the_native_dialect_with_deflate():
    factory = ClientPerMessageDeflateFactory(client_max_window_bits=True)
    small = ClientPerMessageDeflateFactory(server_max_window_bits=9, client_no_context_takeover=True)
    for extensions in ([factory], [small]):
        with gateway(CHAT) as address:
            assert asyncio.run(talk_natively(f"ws://{address}/ws", extensions=extensions, compression=None)) == ["permessage-deflate"]


def test_the_native_dialect_without_deflate():
    with gateway(CHAT) as address:
        assert asyncio.run(talk_natively(f"ws://{address}/ws", compression=None, subprotocols=["belfry.json.v1"])) == []


@contextlib.contextmanager
def example(name, *words):
    """One of `examples/`, run as its reader would; its process and the queue of the lines that it prints."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "examples" / name, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    lines = queue.Queue()
    threading.Thread(target=lambda: [lines.put(line.rstrip("\n")) for line in process.stdout], daemon=True).start()
    try:
        yield process, lines
    finally:
        process.kill()
        process.wait()


def test_the_example_chat_talks_to_another_of_itself():
    with gateway() as address, example("chat.py", "ana", "chat.lobby", f"ws://{address}") as (ana, heard_by_ana):
        print("hello", file=ana.stdin, flush=True)
        with example("chat.py", "ben", "chat.lobby", f"ws://{address}") as (ben, heard_by_ben):
            assert heard_by_ben.get(timeout=SECONDS) == "ana: hello"  # live or from history, whoever was first
            print("hi ana", file=ben.stdin, flush=True)
            assert heard_by_ana.get(timeout=SECONDS) == "ben: hi ana"
            ben.stdin.close()
            assert ben.wait(SECONDS) == 0


def test_the_example_quotes_prints_prices():
    with gateway() as address, example("quotes.py", f"ws://{address}/ws") as (_, lines):
        topic, offset, price = lines.get(timeout=SECONDS).split()
        assert topic.startswith("quotes.") and int(offset) > 0 and float(price) > 0


def main():
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    chosen = {name: test for name, test in tests.items() if not sys.argv[1:] or any(part in name for part in sys.argv[1:])}
    failed = 0
    for name, test in chosen.items():
        try:
            test()
            print(f"ok {name}", flush=True)
        except Exception:  # Whatever a test fails with, the next ones are run.
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not chosen else 0)


if __name__ == "__main__":
    main()
