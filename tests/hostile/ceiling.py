"""Fills each account of docs/security.md to its bound, and compares the resident memory with the account."""

import base64
import json
import random
import re
import signal
import threading
import time

from client import Session, amid_a_frame, command_frame, dial, exchange, is_closed, other_address, read_all, read_response
from outcome import MIB, Outcome
from process import until
from stage import Gateway
from websocket import frame

KEY = "the-operator-of-this-test-has-a-key"
# Anonymous clients may do everything, and no rate or timeout disturbs the filling.
CONFIG = f"""
[server]
shards = 2
[auth]
anonymous = {{ subscribe = [">"], publish = [">"] }}
api_keys = [{{ name = "feed", key = "{KEY}", publish = [">"], admin = true, commands_per_second = 10000000 }}]
[limits]
commands_per_second = 1000000
commands_burst = 1000000
frames_per_second = 1000000
frames_burst = 1000000
sessions_per_address = 100000
http_connections_per_address = 10000
pending_per_address = 10000
ping_interval = "1h"
write_timeout = "1h"
body_timeout = "1h"
handshake_timeout = "1h"
keep_alive = "1h"
message_timeout = "1h"
LIMITS
[[topics]]
match = "kept.>"
history = 1000
[[topics]]
match = "drop.>"
on_slow = "drop_oldest"
[[topics]]
match = "replay.>"
history = 10
on_slow = "replay"
[[topics]]
match = "room.>"
presence = true
[[topics]]
match = "refer.>"
deflate = "history"
"""
# The allocator's and the pages' share beside the counted bytes.
ROUNDING = 1.4
# The threads' arenas and buffers of any busy program.
BASE_MIB = 8


class Account:
    """A gateway with small `limits`, and its memory while one account is filled."""

    def __init__(self, limits):
        self.gateway = Gateway(CONFIG.replace("LIMITS", limits))
        self.outcome = Outcome()

    def __enter__(self):
        self.gateway.__enter__()
        self.gateway.key = KEY
        self.gateway.publish("other.warm", 1)
        self.rss_before = self.gateway.rss()
        self.gateway.reset_peak()
        return self

    def __exit__(self, *exception):
        return self.gateway.__exit__(*exception)

    def check_filled(self, name, value, bound):
        """The account is near its bound, and not above it."""
        self.outcome.at_least(f"{name} filled to", value / bound, 0.8)
        self.outcome.at_most(f"{name} at most", value / bound, 1.02)

    def await_filled(self, name, bound, sessions):
        """Waits until the gauge is near its bound, while no session is closed."""
        until(f"{name} is filled", lambda: self.gateway.total(name) >= 0.8 * bound, 10)
        self.check_filled(name, self.gateway.total(name), bound)
        self.outcome.equal("sessions", self.gateway.total("sessions"), sessions)

    def await_slow_closes(self, sessions):
        until("all sessions are closed as slow", lambda: self.gateway.total("sessions_closed_total", reason="slow") == sessions, 10)

    def check_memory(self, bound):
        """Memory has grown by no more than `bound` allows; returns the outcome."""
        growth = (self.gateway.peak() - self.rss_before) / MIB
        self.outcome.at_most("memory growth in MiB", growth, bound / MIB * ROUNDING + BASE_MIB)
        return self.outcome


class Highest:
    """Scrapes a gauge again and again in the `with` block; `value` is the highest that a scrape had."""

    def __init__(self, gateway, name):
        self.gateway, self.name, self.value, self.ended = gateway, name, 0, threading.Event()
        self.thread = threading.Thread(target=self.scrape, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def scrape(self):
        while not self.ended.is_set():
            self.value = max(self.value, self.gateway.total(self.name))


def publish_each(gateway, topics, size, each=1):
    """Publishes `each` messages of `size` bytes to each topic."""
    lines = [(topic, "x" * size) for _ in range(each) for topic in topics]
    per_batch = max(1, MIB // (size + 100))
    for begin in range(0, len(lines), per_batch):
        gateway.publish_batch(lines[begin : begin + per_batch])


def readers(gateway, count, **subscribe):
    """Sessions that subscribe and then read nothing."""
    sessions = [Session(gateway, receive_buffer=4096) for _ in range(count)]
    before = gateway.total("subscriptions")
    for session in sessions:
        session.send_command(op="subscribe", **subscribe)
    until("all are subscribed", lambda: gateway.total("subscriptions") >= before + count, 10)
    return sessions


def histories():
    bound = 48 * MIB
    with Account(f"history_bytes = {bound}") as account:
        publish_each(account.gateway, [f"kept.t{number}" for number in range(200)], 4000, each=100)
        account.check_filled("history_bytes", account.gateway.total("history_bytes"), bound)
        return account.check_memory(bound)


def outboxes():
    each, count = MIB, 24
    with Account(f"outbox_bytes = {each}") as account:
        held = readers(account.gateway, count, topics=["drop.*"])
        # Each session also has a topic of its own, so that no two sessions share a frame.
        for number, session in enumerate(held):
            session.send_command(op="subscribe", topics=[f"drop.own.s{number}"])
        until("all are subscribed", lambda: account.gateway.total("subscriptions") == 2 * count, 10)
        publish_each(account.gateway, [f"drop.own.s{number}" for number in range(count)], 4000, each=900)
        account.check_filled("outbox_bytes", account.gateway.total("outbox_bytes"), count * each)
        return account.check_memory(count * each)


def held_messages():
    each, count = MIB, 16
    with Account(f"outbox_bytes = {each}") as account:
        holders = [Session(account.gateway) for _ in range(count)]
        for number, session in enumerate(holders):
            session.ask(op="subscribe", topics=[f"drop.s{number}.*"], interval_ms=3_600_000)
        topics = [f"drop.s{number}.t{topic}" for number in range(count) for topic in range(400)]
        publish_each(account.gateway, topics, 4000, each=2)
        account.check_filled("outbox_bytes", account.gateway.total("outbox_bytes"), count * each)
        # The account counts payloads; each message also has its topic, position and time. Topics have an account of their own,
        # at 1 KB.
        return account.check_memory(count * (each + each // 4000 * 400 + 40 * 1024) + len(topics) * 1000)


def gaps():
    each, count = MIB // 2, 20
    with Account(f"outbox_bytes = {each}") as account:
        held = readers(account.gateway, count, topics=["drop.*"])
        # A topic's gap takes 152 bytes in the account; queued messages are in the account of outboxes.
        most = each // 152
        for part in range(0, 2 * most, 500):
            publish_each(account.gateway, [f"drop.t{number}" for number in range(part, part + 500)], 2000)
            filled = account.gateway.total("gap_bytes")
            if filled >= 0.9 * count * each:
                break
        account.check_filled("gap_bytes", filled, count * each)
        account.outcome.equal("sessions", account.gateway.total("sessions"), count)
        account.check_memory(count * 2 * each)
        publish_each(account.gateway, [f"drop.t{number}" for number in range(2 * most)], 2000)
        account.await_slow_closes(len(held))
        return account.outcome


def cursors():
    each, count = MIB // 4, 20
    with Account(f"outbox_bytes = {each}") as account:
        held = readers(account.gateway, count, topics=["replay.*"], last=0)
        publish_each(account.gateway, ["replay.full"], 60_000, each=20)
        topics = 4 * each // 128
        publish_each(account.gateway, [f"replay.t{number}" for number in range(int(0.95 * topics))], 100)
        account.await_filled("cursor_bytes", count * 4 * each, len(held))
        # The topics have an account of their own, at 1 KB.
        account.check_memory(count * 5 * each + topics * 1000)
        publish_each(account.gateway, [f"replay.u{number}" for number in range(topics // 4)], 100)
        account.await_slow_closes(len(held))
        return account.outcome


def intervals():
    """Sessions with an interval of an hour, and a message of each of many topics."""
    each, count = MIB // 4, 20
    with Account(f"outbox_bytes = {each}") as account:
        held = [Session(account.gateway) for _ in range(count)]
        for session in held:
            session.ask(op="subscribe", topics=["by.*"], interval_ms=3_600_000)
        topics = 4 * each // 160
        for part in range(0, int(0.95 * topics), 500):
            publish_each(account.gateway, [f"by.t{number}" for number in range(part, min(part + 500, int(0.95 * topics)))], 10)
            read_all(held, lambda: account.gateway.total("outbox_bytes") == 0)
        account.await_filled("interval_bytes", count * 4 * each, len(held))
        account.check_memory(count * 5 * each + topics * 1000)
        publish_each(account.gateway, [f"by.u{number}" for number in range(topics // 4)], 10)
        account.await_slow_closes(len(held))
        return account.outcome


def changes():
    """20 sessions join and leave 1,000 topics before 300 watchers: queued changes stay below `inbox_bytes` for each shard."""
    each, count, outbox = MIB, 300, 64 * 1024
    with Account(f"inbox_bytes = {each}\noutbox_bytes = {outbox}") as account:
        watchers = readers(account.gateway, count, topics=["room.>"], presence=True)
        members = [Session(account.gateway) for _ in range(20)]
        rooms, rounds = [f"room.r{number}" for number in range(1000)], 0
        with Highest(account.gateway, "presence_bytes") as highest:
            # Further rounds are for a scrape at the right moment.
            while rounds < 2 or rounds < 20 and highest.value == 0:
                rounds += 1
                for op in ("subscribe", "unsubscribe"):
                    for member in members:
                        member.send_command(op=op, id=op, topics=rooms)
                    for member in members:
                        member.receive_event(lambda event: event.get("id") == op)
        # A command's changes arrive together, and the inbox of a shard may be full of them as well.
        account.outcome.at_least("presence_bytes at most", highest.value, 1)
        account.outcome.at_most("presence_bytes of their bound", highest.value / (2 * each), 1.3)
        # A join's frame has metadata of three times its size.
        account.outcome.at_least("watchers that did not read and were closed", sum(is_closed(watcher.socket) for watcher in watchers), 1)
        return account.check_memory(4 * each + count * 4 * outbox + 20_000 * 2 * 500)


def response_status(own):
    """The status of a connection's response; None if the gateway waits for more of the body."""
    own.settimeout(1)
    try:
        return read_response(own)[0]
    except TimeoutError:
        return None


def bodies():
    bound = 32 * MIB
    with Account(f"http_bytes = {bound}\nmessage_bytes = {MIB}") as account:
        head, body = f"POST /v1/topics/other.t HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {MIB}\r\n\r\n".encode(), b"x" * (MIB - 1)

        def send():
            own = dial(account.gateway)
            own.settimeout(20)
            try:
                own.sendall(head + body)
            except OSError:
                pass  # refused
            return own

        held = [send() for _ in range(30)]
        until("the gateway has read the bodies", lambda: account.gateway.total("http_bytes") >= 30 * MIB, 10)
        account.check_filled("http_bytes", account.gateway.total("http_bytes"), bound)
        # `http_bytes` allows two of these, which need not be the first two.
        late = [send() for _ in range(8)]
        waiting, statuses, deadline = late, [], time.monotonic() + 20
        while len(statuses) < 6 and time.monotonic() < deadline:
            answers = [(own, response_status(own)) for own in waiting]
            statuses += [status for _, status in answers if status]
            waiting = [own for own, status in answers if not status]
        account.outcome.at_least("responses above the bound", len(statuses), 6)
        account.outcome.equal("their statuses", set(statuses), {503})
        return account.check_memory(bound + (len(held) + len(late)) * 80 * 1024)


def unfinished_heads():
    count = 1000
    with Account(f"pending = {count}") as account:
        head, held = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 15_000, []
        for _ in range(count - 5):
            own = dial(account.gateway)
            own.sendall(head)
            held.append(own)
        time.sleep(0.5)
        account.outcome.at_least("held", sum(not is_closed(own) for own in held), int(0.9 * count))
        return account.check_memory(count * (18 + (40 if account.gateway.tls else 64)) * 1024)


def idle_connections():
    count = 600
    with Account(f"http_connections = {count + 50}") as account:
        held = []
        for _ in range(count):
            own = dial(account.gateway)
            own.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            held.append(own)
        until("all are connected", lambda: account.gateway.total("http_connections") >= count, 10)
        return account.check_memory(count * 80 * 1024)


def sessions():
    """Idle sessions, and then sessions with an incomplete message each."""
    count = 400
    with Account("") as account:
        held = [Session(account.gateway) for _ in range(count)]
        until("all are connected", lambda: account.gateway.total("sessions") == count, 10)
        account.check_memory(count * (40 if account.gateway.tls else 1) * 1024)
        part = bytes([0x01, 0xFE]) + (60_000).to_bytes(2, "big") + bytes(4) + b"x" * 60_000
        for session in held:
            session.send(part)
        until("the gateway has read the parts", lambda: account.gateway.total("received_bytes_total") >= count * 60_000, 10)
        return account.check_memory(count * (40 + 64 + 64) * 1024)


def unread_input():
    """Sessions whose answers fill their outboxes send more commands: the gateway leaves these in the kernel."""
    count, each = 30, MIB // 4
    with Account(f"outbox_bytes = {each}") as account:
        publish_each(account.gateway, ["kept.long"], 4000, each=50)
        held = [Session(account.gateway, receive_buffer=4096) for _ in range(count)]
        ask = frame(1, b'{"op":"history","id":1,"topic":"kept.long","limit":50}') * 300
        for session in held:
            session.socket.settimeout(1)
            try:
                session.socket.sendall(ask)
            except TimeoutError:
                pass
        # An answer of 200 KB is 0.77 of an outbox.
        until("the outboxes are full", lambda: account.gateway.total("outbox_bytes") >= 0.7 * count * each, 10)
        # Each session may hold one answer above the bound, and a buffer of input.
        return account.check_memory(count * (each + 210_000 + 128 * 1024) + 50 * 5000)


def topics():
    count = 50_000
    with Account("") as account:
        name = "n" * 80 + "." + "m" * 80 + "." + "o" * 80 + ".t"
        held = [Session(account.gateway) for _ in range(count // 1000)]
        for part, session in enumerate(held):
            session.ask(op="subscribe", topics=[f"{name}{part}s{number}" for number in range(200)])
        publish_each(account.gateway, [f"{name}p{number}" for number in range(count)], 1)
        alive = account.gateway.total("topics")
        account.outcome.report("topics", alive)
        subscriptions = account.gateway.total("subscriptions")
        return account.check_memory(alive * 1000 + subscriptions * 500)


def patterns():
    """Patterns of 16 tokens without shared tokens."""
    with Account("message_bytes = 262144") as account:
        held = [Session(account.gateway) for _ in range(20)]
        for number, session in enumerate(held):
            names = [".".join([f"s{number}", f"p{pattern}", *("tok%x%x" % (pattern, depth) for depth in range(13)), ">"]) for pattern in range(1000)]
            session.ask(op="subscribe", topics=names, last=0)
        subscriptions = account.gateway.total("subscriptions")
        account.outcome.report("patterns", subscriptions)
        return account.check_memory(subscriptions * (500 + 2 * 16 * 200))


def references():
    """Texts without repetition, of twice `reference_bytes` in each shard."""
    bound = 16 * MIB
    with Account(f"reference_bytes = {bound}") as account:
        held = [Session(account.gateway, deflate=True) for _ in range(4)]
        account.outcome.true("compression is accepted", all(session.granted for session in held))
        for session in held:
            session.ask(op="subscribe", topics=["refer.*"], last=0)
        topics, published = 400, 0
        for part in range(0, topics, 20):
            lines = [(f"refer.t{number}", random_text(4000)) for number in range(part, part + 20) for _ in range(8)]
            account.gateway.publish_batch(lines)
            published += len(lines)
            read_all(held, lambda: account.gateway.total("deliveries_total") >= published * len(held))
        account.check_filled("deflate_reference_bytes", account.gateway.total("deflate_reference_bytes"), bound)
        # Topics have an account of their own; the index of a text is at most a third of its length.
        return account.check_memory(bound * 4 // 3 + topics * 1000)


def random_text(size):
    return base64.b64encode(random.randbytes(size * 3 // 4)).decode()


def commands():
    """Many sessions each send a command of 60 KB at the same time, with as many names as fit."""
    count, rounds = 60, 0
    command = command_frame(op="subscribe", id=1, topics=[f"c.{number}" for number in range(6500)])
    with Account("") as account:
        held = [Session(account.gateway) for _ in range(count)]
        with Highest(account.gateway, "input_bytes") as highest:
            # Further rounds are for a scrape at the right moment.
            while rounds == 0 or rounds < 20 and highest.value < 10 * MIB:
                rounds += 1
                send_at_once(account.gateway, held, command)
                for session in held:
                    # The error of the names above the limit is the last answer of the subscribe.
                    session.receive_event(lambda event: event.get("code"))
                    session.events.clear()
        account.outcome.at_least("input_bytes at most", highest.value, 10 * MIB)
        account.outcome.at_most("of 1.2 MiB for each", highest.value / (count * 1.2 * MIB), 1.0)
        account.outcome.equal("subscriptions", account.gateway.total("subscriptions"), count * 1000)
        return account.check_memory(int(count * 1.2 * MIB) + count * 1000 * 500 + 6500 * 1000)


def send_at_once(gateway, sessions, data):
    """The gateway stands still until each session has sent `data`, which the kernel buffers."""
    gateway.signal(signal.SIGSTOP)
    try:
        for session in sessions:
            session.send(data)
    finally:
        gateway.signal(signal.SIGCONT)


def unfinished_frames():
    """The incomplete long frames of one address stay below `unfinished_bytes_per_address`."""
    bound = 8 * MIB
    with Account(f"unfinished_bytes_per_address = {bound}") as account:
        held = [amid_a_frame(account.gateway) for _ in range(40)]
        until("some are closed", lambda: account.gateway.total("sessions_closed_total", reason="too_full") >= 20, 10)
        kept = account.gateway.total("sessions")
        account.check_filled("input_bytes", account.gateway.total("input_bytes") - kept * 65_536, bound)
        return account.check_memory(bound + len(held) * (64 + 64 + 64) * 1024)


def orders():
    """Requests to /emulation wait in the inbox of the session's shard, one for each HTTP connection."""
    count = 600
    with Account(f"http_connections = {count + 50}") as account:
        stream, received = dial(account.gateway), b""
        stream.sendall(b"GET /connection/sse?cf_connect=%7B%22id%22:1,%22connect%22:%7B%7D%7D HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while b'"node":"' not in received:
            received += stream.recv(1 << 16)
        session, node = (re.search(f'"{key}":"([^"]+)"'.encode(), received)[1].decode() for key in ("session", "node"))
        held = [dial(account.gateway) for _ in range(count)]
        body = json.dumps({"session": session, "node": node, "data": "{}"}).encode()
        head = f"POST /emulation HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        for _ in range(3):
            for own in held:
                own.sendall(head + body)
            account.outcome.equal("answers", {read_response(own)[0] for own in held}, {204})
        return account.check_memory(count * 80 * 1024)


def addresses():
    """20,000 addresses, each with a bucket, a topic and a failed credential."""
    count = 20_000
    with Account("") as account:
        wrong = ["Authorization: Bearer nobody-has-this-key"]
        for number in range(count):
            with dial(account.gateway, other_address(number)) as own:
                exchange(own, "POST", f"/v1/topics/kept.a{number}", body=b"1")
                exchange(own, "GET", "/v1/topics/kept.a0/history", wrong)
        account.outcome.at_least("topics", account.gateway.total("topics"), 0.8 * count)
        for table in ("rates", "failures", "topics"):
            account.outcome.at_least(f"addresses{{{table}}}", account.gateway.total("addresses", table=table), 0.8 * count)
        return account.check_memory(count * (1000 + 1000 + 600))


ACCOUNTS = {
    "histories": histories,
    "outboxes": outboxes,
    "held": held_messages,
    "gaps": gaps,
    "cursors": cursors,
    "intervals": intervals,
    "changes": changes,
    "bodies": bodies,
    "heads": unfinished_heads,
    "connections": idle_connections,
    "sessions": sessions,
    "unread-input": unread_input,
    "topics": topics,
    "patterns": patterns,
    "references": references,
    "commands": commands,
    "frames": unfinished_frames,
    "orders": orders,
    "addresses": addresses,
}
