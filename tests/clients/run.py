#!/usr/bin/env python3
"""Third-party Python clients, the examples and proxies with a real gateway: tests/clients/run.py [NAME…]

Needs websockets, websocket-client and cent, nginx, haproxy, caddy and curl. The gateway is $BELFRY, or
target/release/belfry. NAME is a part of a test's name.
"""

import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request

import cent
import websocket
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "harness"))  # behind the packages, one of which is `websocket` too
sys.dont_write_bytecode = True
from process import free_port

BINARY = pathlib.Path(os.environ.get("BELFRY", ROOT / "target" / "release" / "belfry")).resolve()
SECONDS = 60  # the deadline of each wait
CHAT = """
auth.anonymous = { subscribe = ["chat.>"], publish = ["chat.>"] }
limits = { commands_per_second = 1000000, commands_burst = 1000000 }
endpoints = { "/" = "chat.lobby" }
"""
ADMIN = "an-admin-key-for-this-run-alone"
KEYS = f'auth.api_keys = [{{ name = "admin", key = "{ADMIN}", admin = true }}]\n'
QUOTES = """
auth.anonymous.subscribe = ["quotes.>"]
endpoints = { "/" = "quotes.AAPL" }
feed.simulator = { enabled = true, symbols = ["AAPL", "MSFT"], interval = "20ms" }
"""


@contextlib.contextmanager
def gateway(config=None, unix=None):
    """A gateway with `config`, or with the built-in configuration; yields its host and port.

    With `unix` it also listens on a Unix socket at that path.
    """
    with tempfile.TemporaryDirectory() as home:
        file, port_file, log = (pathlib.Path(home, name) for name in ("belfry.toml", "port", "log"))
        command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--port-file", port_file]
        if unix:
            command += ["--listen", f"unix:{unix}"]
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
            yield port_file.read_text().split()[0]
            assert process.poll() is None, f"the gateway ended with {process.returncode}:\n{log.read_text()}"
        finally:
            process.kill()
            process.wait()


def test_three_clients_exchange_messages_at_the_root():
    with gateway(CHAT) as address:
        names, url = ["ana", "ben", "你好"], f"ws://localhost:{address.rpartition(':')[2]}/"
        sockets = [websocket.create_connection(url, timeout=SECONDS) for _ in names]
        for name, socket in zip(names, sockets):
            socket.send(f"{name} is here")
            for other in sockets:
                if other is not socket:
                    assert other.recv() == f"{name} is here"
        # A client that got its own message would have got it before this one.
        sockets[0].send_binary(b"\x00\xff")
        assert sockets[1].recv() == b"\x00\xff" and sockets[2].recv() == b"\x00\xff"
        sockets[1].send("last")
        assert sockets[0].recv() == "last"
        for socket in sockets:
            socket.close()


def test_a_client_with_callbacks_receives_messages():
    """`WebSocketApp` of websocket-client."""
    with gateway(CHAT) as address:
        received, opened = queue.Queue(), threading.Event()
        app = websocket.WebSocketApp(
            f"ws://{address}/", on_open=lambda _: opened.set(), on_message=lambda _, text: received.put(text)
        )
        thread = threading.Thread(target=app.run_forever, daemon=True)
        thread.start()
        assert opened.wait(SECONDS)
        other = websocket.create_connection(f"ws://{address}/", timeout=SECONDS)
        other.send("hi")
        assert received.get(timeout=SECONDS) == "hi"
        app.send("and you")
        assert other.recv() == "and you"
        app.close()
        thread.join(SECONDS)
        assert not thread.is_alive() and received.empty()


def test_quotes_at_the_root_are_json_texts():
    async def read(url):
        async with asyncio.timeout(SECONDS), connect(url) as socket:
            return [json.loads(await socket.recv()) for _ in range(20)]

    with gateway(QUOTES) as address:
        quotes = asyncio.run(read(f"ws://localhost:{address.rpartition(':')[2]}/"))
    assert {quote["stock_id"] for quote in quotes} == {"AAPL"}
    assert all(isinstance(quote["price"], (int, float)) and quote["price"] > 0 for quote in quotes)
    times = [quote["ts"] for quote in quotes]
    assert times == sorted(times)


API = """
auth.anonymous = { subscribe = ["chat.>"], publish = [] }
auth.keys = [{ algorithm = "HS256", secret = "SECRET" }]
auth.api_keys = [{ name = "backend", key = "key-of-the-backend", admin = true, subscribe = [">"], publish = ["chat.>"] }]
topics = [{ match = "chat.>", history = 10, presence = true }]
"""
SECRET = "a secret of these tests, which has 32 bytes"
API = API.replace("SECRET", SECRET)


def test_centrifugos_python_library_calls_the_server_api():
    """`cent`, Centrifugo's own library for Python backends, with Belfry's URL and key."""
    with gateway(API) as address:
        socket = websocket.create_connection(f"ws://{address}/ws?topics=chat.a", timeout=SECONDS)
        assert [json.loads(socket.recv())["op"] for _ in range(2)] == ["welcome", "subscribed"]
        client = cent.Client(f"http://{address}/api", "key-of-the-backend")
        result = client.publish(cent.PublishRequest(channel="chat.a", data={"text": "hi", "price": 187.30}, tags={"a": "b"}))
        assert result.offset == 1 and result.epoch
        assert json.loads(socket.recv())["data"] == {"text": "hi", "price": 187.3}
        result = client.broadcast(cent.BroadcastRequest(channels=["chat.a", "nope:x"], data={"n": 1}))
        assert result.responses[0].result.offset == 2 and result.responses[1].error.code == 103
        assert len(client.presence(cent.PresenceRequest(channel="chat.a")).presence) == 1
        assert client.presence_stats(cent.PresenceStatsRequest(channel="chat.a")).num_clients == 1
        history = client.history(cent.HistoryRequest(channel="chat.a", limit=10, reverse=True))
        assert [publication.offset for publication in history.publications] == [2, 1] and history.publications[1].tags == {"a": "b"}
        assert client.channels(cent.ChannelsRequest(pattern="chat*")).channels["chat.a"].num_clients == 1
        assert client.info(cent.InfoRequest()).nodes[0].name == "belfry"
        requests = [cent.PublishRequest(channel="chat.a", data=1), cent.PresenceRequest(channel="chat.a")]
        assert len(client.batch(cent.BatchRequest(requests=requests)).replies) == 2
        client.disconnect(cent.DisconnectRequest(user="42"))
        user = {"user": "ann"}
        command = [BINARY, "token", "--secret", SECRET, "--sub", user["user"]]
        token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        ann = websocket.create_connection(f"ws://{address}/connection/websocket", timeout=SECONDS)
        ann.send(json.dumps({"id": 1, "connect": {"token": token}}))
        assert json.loads(ann.recv())["connect"]["expires"]
        client.subscribe(cent.SubscribeRequest(channel="chat.b", info={"seat": 7}, **user))
        pushed = json.loads(ann.recv())["push"]
        assert pushed["channel"] == "chat.b" and pushed["subscribe"]["recoverable"], pushed
        client.publish(cent.PublishRequest(channel="chat.b", data=1))
        assert json.loads(ann.recv())["push"]["pub"]["data"] == 1
        (member,) = client.presence(cent.PresenceRequest(channel="chat.b")).presence.values()
        assert member.user == "ann" and member.chan_info == {"seat": 7}, member
        client.unsubscribe(cent.UnsubscribeRequest(channel="chat.b", **user))
        assert json.loads(ann.recv())["push"]["unsubscribe"] == {"code": 2000, "reason": "server unsubscribe"}
        client.refresh(cent.RefreshRequest(expired=True, **user))
        assert ann.recv_data()[1][:2] == (3005).to_bytes(2, "big")
        try:
            client.publish(cent.PublishRequest(channel="nope:x", data={}))
        except cent.CentApiResponseError as error:
            assert error.code == 103
        else:
            raise AssertionError("a publish without a grant was accepted")
        try:
            cent.Client(f"http://{address}/api", "wrong").info(cent.InfoRequest())
        except cent.CentUnauthorizedError:
            pass
        else:
            raise AssertionError("a wrong key was accepted")
        socket.close()


async def request(socket, **command):
    """Sends `command`, and returns the first event that is neither a message nor the welcome."""
    await socket.send(json.dumps(command))
    while (event := json.loads(await socket.recv()))["op"] in ("message", "welcome"):
        pass
    return event


async def exchange_native_messages(url, **options):
    """One session publishes a thousand messages, and another gets each once, in order."""
    async with asyncio.timeout(2 * SECONDS), connect(url, **options) as reader, connect(url, **options) as writer:
        extensions = [extension.name for extension in reader.protocol.extensions]
        assert json.loads(await reader.recv())["op"] == "welcome"
        subscribed = await request(reader, op="subscribe", id="s", topics=["chat.a", "chat.*"])
        assert subscribed["op"] == "subscribed" and [entry["topic"] for entry in subscribed["topics"]] == ["chat.a", "chat.*"]
        texts = [f"{number} " + "repeated " * (number % 100) for number in range(1000)]
        for number, text in enumerate(texts):
            published = await request(writer, op="publish", id=number, topic="chat.a", data={"text": text})
            assert (published["op"], published["id"], published["offset"]) == ("published", number, number + 1), published
        events = [json.loads(await reader.recv()) for _ in texts]
        assert [event["offset"] for event in events] == list(range(1, 1001))
        assert [event["data"]["text"] for event in events] == texts
        assert (await request(reader, op="ping", id=7)) == {"op": "pong", "id": 7}
        return extensions


def test_native_sessions_with_deflate():
    factory = ClientPerMessageDeflateFactory(client_max_window_bits=True)
    small = ClientPerMessageDeflateFactory(server_max_window_bits=9, client_no_context_takeover=True)
    for extensions in ([factory], [small]):
        with gateway(CHAT) as address:
            assert asyncio.run(exchange_native_messages(f"ws://{address}/ws", extensions=extensions, compression=None)) == ["permessage-deflate"]


def test_native_sessions_without_deflate():
    with gateway(CHAT) as address:
        assert asyncio.run(exchange_native_messages(f"ws://{address}/ws", compression=None, subprotocols=["belfry.json.v1"])) == []


def example(name, *arguments):
    """Runs a program of `examples/`; yields its process and the queue of its output lines."""
    return python(ROOT / "examples" / name, *arguments)


@contextlib.contextmanager
def python(*arguments):
    """Runs Python with these arguments; yields its process and the queue of its output lines."""
    process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    lines = queue.Queue()
    threading.Thread(target=lambda: [lines.put(line.rstrip("\n")) for line in process.stdout], daemon=True).start()
    try:
        yield process, lines
    finally:
        process.kill()
        process.wait()


def test_two_processes_of_the_example_chat_exchange_messages():
    with gateway() as address, example("chat.py", "ana", "chat.lobby", f"ws://{address}") as (ana, lines_of_ana):
        print("hello", file=ana.stdin, flush=True)
        with example("chat.py", "ben", "chat.lobby", f"ws://{address}") as (ben, lines_of_ben):
            assert lines_of_ben.get(timeout=SECONDS) == "ana: hello"  # live or from history
            print("hi ana", file=ben.stdin, flush=True)
            assert lines_of_ana.get(timeout=SECONDS) == "ben: hi ana"
            ben.stdin.close()
            assert ben.wait(SECONDS) == 0


def test_the_example_quotes_prints_prices():
    with gateway() as address, example("quotes.py", f"ws://{address}/ws") as (_, lines):
        topic, offset, price = lines.get(timeout=SECONDS).split()
        assert topic.startswith("quotes.") and int(offset) > 0 and float(price) > 0


def test_the_example_stream_prints_prices():
    with gateway() as address, example("stream.py", f"http://{address}", "quotes.AAPL") as (_, lines):
        topic, offset, quote = lines.get(timeout=SECONDS).split(maxsplit=2)
        assert topic == "quotes.AAPL" and int(offset) > 0 and json.loads(quote)["price"] > 0


def test_the_readmes_python_program_prints_quotes():
    program = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)[1]
    with gateway() as address, python("-u", "-c", program.replace("127.0.0.1:8765", address)) as (_, lines):
        messages = (line for line in iter(lambda: lines.get(timeout=SECONDS), None) if "'op': 'message'" in line)
        assert "quotes." in next(messages) and "'price'" in next(messages)


def test_the_examples_name_a_missing_package():
    for name, package in [("chat.py", "websocket-client"), ("quotes.py", "websockets")]:
        # -S: without installed packages.
        run = subprocess.run([sys.executable, "-S", "-E", ROOT / "examples" / name], capture_output=True, text=True, timeout=SECONDS)
        assert run.returncode == 1 and run.stderr.endswith(f"run `pip install {package}`\n") and run.stderr.count("\n") == 1, run.stderr


NGINX = """
daemon off; pid {home}/pid; error_log {home}/error.log;
events {{ }}
http {{
  access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ {more} proxy_pass http://{address}; }} }}
}}
"""
NGINX_WEBSOCKET = """
  proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
  proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For 192.0.2.9;
"""


@contextlib.contextmanager
def proxy(text, *command, **values):
    """A proxy with the configuration `text`, the file of `command`'s last argument; yields its host and port."""
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o755)  # nginx's workers run as another user
        port = free_port()
        file = pathlib.Path(home, "proxy.conf")
        file.write_text(text.format(home=home, port=port, **values))
        process = subprocess.Popen([part.format(home=home) for part in command] + [file], stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + SECONDS
            while True:
                assert process.poll() is None and time.monotonic() < deadline, f"{command[0]} does not listen"
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def nginx(address, more=""):
    """nginx with its default buffering, in front of the gateway at `address`."""
    return proxy(NGINX, "nginx", "-e", "{home}/error.log", "-p", "{home}", "-c", address=address, more=more)


def curl(url, *options):
    """Reads a stream with curl; returns its process and the queue of its lines."""
    process = subprocess.Popen(["curl", "-sN", *options, url], stdout=subprocess.PIPE, text=True, encoding="utf-8")
    lines = queue.Queue()
    threading.Thread(target=lambda: [lines.put(line.rstrip("\n")) for line in process.stdout], daemon=True).start()
    return process, lines


def until(lines, beginning):
    """Discards lines up to one that starts with `beginning`; returns the rest of that line."""
    while not (line := lines.get(timeout=SECONDS)).startswith(beginning):
        pass
    return line.removeprefix(beginning)


def test_nginx_forwards_each_event_of_a_stream_at_once():
    """PROTOCOL section 11: each event is forwarded at once, and a client that loses its stream resumes."""
    config = CHAT + '[[topics]]\nmatch = "chat.>"\nhistory = 100\n'
    with gateway(config) as address, nginx(address) as front:

        def publish(number):
            request = urllib.request.Request(f"http://{address}/v1/topics/chat.a", data=str(number).encode(), method="POST")
            urllib.request.urlopen(request, timeout=SECONDS).close()

        for path, beginning in (("sse", "data: "), ("stream", "")):
            process, lines = curl(f"http://{front}/{path}?topics=chat.a")
            assert json.loads(until(lines, beginning))["op"] == "subscribed"
            for number in range(3):
                publish(number)
                assert json.loads(until(lines, beginning))["data"] == number
            process.kill()
            process.wait()
        process, lines = curl(f"http://{front}/sse?topics=chat.a")
        last_id = until(lines, "id: ")
        process.kill()
        process.wait()
        publish(7)
        process, lines = curl(f"http://{front}/sse?topics=chat.a", "-H", f"Last-Event-ID: {last_id}")
        assert json.loads(until(lines, "data: "))["topics"][0]["recovered"]
        assert json.loads(until(lines, "data: "))["data"] == 7
        process.kill()
        process.wait()


def address_of_session(address):
    """The client address of the gateway's only session, by /v1/sessions."""
    request = urllib.request.Request(f"http://{address}/v1/sessions", headers={"Authorization": f"Bearer {ADMIN}"})
    with urllib.request.urlopen(request, timeout=SECONDS) as reply:
        [session] = json.load(reply)["sessions"]
    return session["address"]


def test_nginx_connects_to_a_unix_socket():
    """PROTOCOL section 8: with `unix` in `trusted_proxies` the header of a proxy at the Unix socket names the client."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        unix = f"{folder}/belfry.sock"
        config = CHAT + KEYS + 'server = { unix_mode = "0666", trusted_proxies = ["unix"] }\n'
        with gateway(config, unix) as address, nginx(f"unix:{unix}:", NGINX_WEBSOCKET) as front:
            session = websocket.create_connection(f"ws://{front}/ws", timeout=SECONDS)
            assert json.loads(session.recv())["op"] == "welcome"
            assert address_of_session(address) == "192.0.2.9"
            session.close()


HAPROXY = """
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend push
  bind 127.0.0.1:{port}
  default_backend belfry
backend belfry
  server belfry1 {address} {header} source 127.0.0.9
"""


def test_haproxy_sends_the_client_address_by_the_proxy_protocol():
    """With both versions of the PROXY protocol the session has the address of the proxy's client."""
    config = CHAT + KEYS + 'server = { proxy_protocol = true, trusted_proxies = ["127.0.0.9"] }\n'
    for header in ("send-proxy", "send-proxy-v2"):
        with gateway(config) as address, proxy(HAPROXY, "haproxy", "-q", "-db", "-f", address=address, header=header) as front:
            session = websocket.create_connection(f"ws://{front}/ws", timeout=SECONDS)
            assert json.loads(session.recv())["op"] == "welcome"
            host, port = session.sock.getsockname()
            assert address_of_session(address) == f"{host}:{port}", header
            session.close()


def snippet(name, changes):
    """The settings of belfry.toml that a file of deploy/ asks for, and its text with `changes` as a template of `proxy`."""
    text = (ROOT / "deploy" / name).read_text()
    settings = "\n".join(re.findall(r"^#   (server\..*)$", text, re.M))
    text = text.replace("{", "{{").replace("}", "}}")
    for pattern, replacement in changes:
        text, count = re.subn(pattern, replacement, text)
        assert count, f"deploy/{name} has no {pattern}"
    return settings, text


NGINX_BEFORE = """
daemon off; pid {home}/pid; error_log {home}/error.log;
events {{ }}
http {{
  access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
"""
# The proxies' files of deploy/: the replacements for this test, the text before and after, and the command.
SNIPPETS = [
    (
        "nginx.conf",
        [(r"listen 443 ssl;", "listen 127.0.0.1:{port};"), (r" +ssl_cert.*\n", ""), (r"127\.0\.0\.1:8765", "{address}")],
        (NGINX_BEFORE, "}}"),
        ["nginx", "-e", "{home}/error.log", "-p", "{home}", "-c"],
    ),
    (
        "haproxy.cfg",
        [(r"bind :443 ssl .*", "bind 127.0.0.1:{port}"), (r"127\.0\.0\.1:8765", "{address}")],
        ("", ""),
        ["haproxy", "-q", "-db", "-f"],
    ),
    (
        "Caddyfile",
        [(r"(?m)^push\.example\.org", "http://push.example.org:{port}"), (r"127\.0\.0\.1:8765", "{address}")],
        ("{{\n  admin off\n  auto_https off\n  log {{\n    output discard\n  }}\n}}\n", ""),
        ["caddy", "run", "--adapter", "caddyfile", "--config"],
    ),
]


def status_through(front, path):
    """The status of a GET by the public name, with the path sent literally."""
    connection = http.client.HTTPConnection(front, timeout=SECONDS)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", "push.example.org")
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_proxies_of_deploy_forward_only_public_paths():
    """With the settings that a file's first lines name, the page and sessions work by the public name, a client can't forge
    its address, and administration is refused. The bug: no file named `server.hosts`, without which a gateway on the
    loopback address answers 421."""
    for name, changes, (before, after), command in SNIPPETS:
        settings, text = snippet(name, changes)
        with gateway(CHAT + KEYS + settings) as address, proxy(before + text + after, *command, address=address) as front:
            assert status_through(front, "/belfry.js") == 200, name
            for path in ("/metrics", "/%6detrics", "/v1/topics", "/v1/sessions", "/%761/topics", "/api/info", "/api/publish"):
                assert status_through(front, path) == 404, f"{name}: {path}"
            forged = ["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.2"]
            session = websocket.create_connection(
                f"ws://{front}/ws", timeout=SECONDS, host="push.example.org", origin="https://push.example.org", header=forged
            )
            assert json.loads(session.recv())["op"] == "welcome"
            assert address_of_session(address).split(":")[0] == "127.0.0.1", f"{name}: {address_of_session(address)}"
            session.close()


def main():
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    chosen = {name: test for name, test in tests.items() if not sys.argv[1:] or any(part in name for part in sys.argv[1:])}
    failed = 0
    for name, test in chosen.items():
        try:
            test()
            print(f"ok {name}", flush=True)
        except Exception:  # the other tests run nevertheless
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(chosen) - failed} passed, {failed} failed")
    sys.exit(1 if failed or not chosen else 0)


if __name__ == "__main__":
    main()
