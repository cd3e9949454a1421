"""Floods within the rates: joins and leaves, echoes of compressed frames, and publishers that fill an inbox."""

import json
import ssl
import threading
import time

from client import Closed, Session, command_frame, deflated_frame, other_address, read_all
from worker import Worker, Flags
from outcome import MIB, Outcome
from process import until
from stage import Gateway, measured
from websocket import frame


def watch(gateway, count, flags, pattern):
    """Sessions that watch the presence of `pattern`, and read; returns the number of bytes."""
    sessions = [Session(gateway, address=other_address(5 + number % 4)) for number in range(count)]
    for session in sessions:
        session.send_command(op="subscribe", topics=[pattern], presence=True, last=0)
    return read_all(sessions, lambda: flags["ends"])


def start_watchers(gateway, count, flags, pattern):
    """Starts `count` watchers in a process, and returns it and the resident bytes with their subscriptions."""
    watchers = Worker(watch, gateway, count, flags, pattern, nice=True)
    until("the watchers are subscribed", lambda: gateway.total("subscriptions") == count, 30)
    gateway.reset_peak()
    return watchers, gateway.rss()


def presence_storm():
    """Three sessions join and leave 1,000 topics that 30 sessions watch."""
    outcome = Outcome()
    with Gateway() as gateway:
        flags = Flags()
        watchers, rss_before = start_watchers(gateway, 30, flags, "chat.>")

        def join_and_leave(gateway):
            rooms = [f"chat.room.r{number}" for number in range(1000)]
            sessions, rounds = [Session(gateway) for _ in range(3)], 0
            deadline = time.monotonic() + 4
            while time.monotonic() < deadline:
                for op in ("subscribe", "unsubscribe"):
                    for session in sessions:
                        session.send_command(op=op, id=op, topics=rooms)
                    for session in sessions:
                        rounds += session.receive_event(lambda event: event.get("id") == op)["op"] == op + "d"
                        session.events.clear()
                time.sleep(0.02)
            return rounds

        commands, witness, used = measured(gateway, join_and_leave, seconds=60)
        flags["ends"] = True
        received = watchers.result(20)
        outcome.report("commands done", commands)
        outcome.report("MiB to watchers", received // MIB)
        # On a busy machine the clients may be too slow to reach their rate.
        outcome.report("commands refused", gateway.total("limit_hits_total", limit="commands_per_second"))
        outcome.at_most("memory growth in MiB", (gateway.peak() - rss_before) // MIB, 96)
        outcome.at_most("CPU seconds", used, 3.5, timed=True)
    outcome.check_witness(witness)
    return outcome


def watched_command():
    """Three times, a command joins 1,000 topics that 2,000 sessions watch, and another leaves them."""
    outcome = Outcome()
    with Gateway() as gateway:
        flags = Flags()
        watchers, rss_before = start_watchers(gateway, 2000, flags, "chat.room.>")

        def join_and_leave(gateway):
            session, rooms = Session(gateway), [f"chat.room.r{number}" for number in range(1000)]
            longest = 0
            for op in ("subscribe", "unsubscribe") * 3:
                started = time.monotonic()
                session.ask(op=op, topics=rooms)
                longest = max(longest, time.monotonic() - started)
                time.sleep(0.4)
            until("all changes are delivered", lambda: gateway.total("presence_bytes") == 0, 50)
            return longest

        took, witness, used = measured(gateway, join_and_leave, seconds=60)
        flags["ends"] = True
        watchers.result(30)
        outcome.at_most("milliseconds for a command", took * 1000, 1000, timed=True)
        outcome.at_most("memory growth in MiB", (gateway.peak() - rss_before) // MIB, 96)
        outcome.report("CPU seconds", f"{used:.1f}")
    outcome.check_witness(witness)
    return outcome


def inflating_echoes():
    """20 clients of `/echo` send frames of 85 bytes that inflate to 64 KiB above `frames_per_second`, and reconnect."""
    outcome = Outcome()
    bomb = deflated_frame(b"a" * 65_000)
    with Gateway() as gateway:

        def flood(gateway):
            codes, deadline = [], time.monotonic() + 4

            def one(number):
                while time.monotonic() < deadline:
                    with Session(gateway, "/echo", deflate=True) as session:
                        session.socket.settimeout(8)
                        reader = threading.Thread(target=lambda: codes.append(session.close_code()))
                        reader.start()
                        try:
                            while time.monotonic() < deadline and reader.is_alive():
                                session.send(bomb * 20)
                                time.sleep(0.02)
                            session.send(frame(8, b"\x03\xe8"))
                        except (Closed, OSError):
                            pass
                        reader.join(8)

            threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return {code: codes.count(code) for code in set(codes)}

        codes, witness, used = measured(gateway, flood, seconds=40)
        outcome.report("closed with", codes)
        outcome.at_least("limit_hits_total{frames_per_second}", gateway.total("limit_hits_total", limit="frames_per_second"), 1)
        outcome.at_most("CPU seconds", used, 3.5, timed=True)
    outcome.check_witness(witness)
    return outcome


def full_inbox():
    """Four sessions publish to a small inbox at full speed: each gets its share, and none is closed with pong_timeout."""
    outcome = Outcome()
    settings = [
        "limits.inbox_bytes=65536", "limits.commands_per_second=1000000", "limits.commands_burst=1000000", "limits.frames_per_second=1000000",
        "limits.frames_burst=1000000", 'limits.ping_interval="1s"', 'limits.pong_timeout="1s"', "limits.outbox_bytes=67108864",
    ]  # fmt: skip
    with Gateway(settings=settings) as gateway:
        flags, topics = Flags(), [f"chat.flood.p{number}" for number in range(4)]
        listeners = [Worker(listen, gateway, 60, flags) for _ in range(2)]
        until("all listeners are subscribed", lambda: gateway.total("subscriptions") == 120, 10)
        publishers = [Worker(publish_on, gateway, topic, flags) for topic in topics]
        # Those that begin before the others get more until then.
        until("all publish", lambda: all(newest_offset(gateway, topic) for topic in topics), 10)
        before = [newest_offset(gateway, topic) for topic in topics]
        time.sleep(6)
        counts = [newest_offset(gateway, topic) - offset for topic, offset in zip(topics, before)]
        waited = gateway.total("limit_hits_total", limit="inbox_bytes")
        timed_out = gateway.total("sessions_closed_total", reason="pong_timeout")
        flags["ends"] = True
        for worker in publishers + listeners:
            worker.result(20)
        outcome.report("messages of each", sorted(counts))
        outcome.at_least("times that the inbox was full", waited, 1)
        # Under TLS, a shard with long ticks may read its publishers less than the other. src/shard/tests/full_inbox.rs has
        # the exact shares. Without turns, the fewest were a sixtieth of the most.
        share = min(counts) / max(1, *counts)
        outcome.at_least("the fewest divided by the most", share, 0.6, timed=True)
        outcome.at_least("at any load", share, 0.1)
        outcome.equal("closed with pong_timeout", timed_out, 0)
    return outcome


def newest_offset(gateway, topic):
    """The offset of the topic's newest message; 0 if there is none."""
    status, body = gateway.admin_request("GET", f"/v1/topics/{topic}")
    return json.loads(body)["offset"] if status == 200 else 0


def listen(gateway, count, flags):
    sessions = [Session(gateway, address=other_address(7)) for _ in range(count)]
    for session in sessions:
        session.send_command(op="subscribe", topics=["chat.flood.*"], last=0)
    pong_sent_at = time.monotonic()

    def ends():
        nonlocal pong_sent_at
        if time.monotonic() - pong_sent_at > 0.3:  # an unsolicited pong keeps the session pong_sent_at (RFC 6455 §5.5.3)
            pong_sent_at = time.monotonic()
            for session in sessions:
                try:
                    session.send(frame(10, b""))
                except Closed:
                    pass  # `full_inbox` checks the metrics
        return flags["ends"]

    return read_all(sessions, ends)


def publish_on(gateway, topic, flags):
    """Publishes as much as the gateway reads, until the flag `ends`; its bytes keep the session alive."""
    with Session(gateway) as session:
        many = command_frame(op="publish", topic=topic, data="f" * 1000) * 20
        session.socket.settimeout(0)
        waiting = b""
        while not flags["ends"]:
            waiting = waiting or many
            try:
                waiting = waiting[session.socket.send(waiting) :]
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                time.sleep(0.001)
            except OSError:
                return "closed"
    return "open"
