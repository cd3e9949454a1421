"""Floods within the rates: joins and leaves, echoes that inflate, publishers that fill an inbox."""

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
    """So many sessions that watch `pattern` and read what comes."""
    sessions = [Session(gateway, address=other_address(5 + number % 4)) for number in range(count)]
    for session in sessions:
        session.say(op="subscribe", topics=[pattern], presence=True, last=0)
    return read_all(sessions, lambda: flags["ends"])


def presence_storm():
    """Row 11: three sessions join and leave 1,000 rooms, and 30 watch them all."""
    outcome = Outcome()
    with Gateway() as gateway:
        flags = Flags()
        watchers = Worker(watch, gateway, 30, flags, "chat.>", nice=True)
        until("the watchers watch", lambda: gateway.total("subscriptions") == 30, 10)
        resting = gateway.rss()
        gateway.reset_peak()

        def join_and_leave(gateway):
            rooms = [f"chat.room.r{number}" for number in range(1000)]
            sessions, rounds = [Session(gateway) for _ in range(3)], 0
            deadline = time.monotonic() + 4
            while time.monotonic() < deadline:
                for op in ("subscribe", "unsubscribe"):
                    for session in sessions:
                        session.say(op=op, id=op, topics=rooms)
                    for session in sessions:
                        rounds += session.receive_event(lambda event: event.get("id") == op)["op"] == op + "d"
                        session.events.clear()
                time.sleep(0.02)
            return rounds

        commands, witness, used = measured(gateway, join_and_leave, seconds=60)
        flags["ends"] = True
        received = watchers.result(20)
        outcome.note("commands done", str(commands), True)
        outcome.note("MiB to watchers", str(received // MIB), True)
        # A busy machine may be too slow for the clients to come to their rate.
        outcome.note("commands refused", str(gateway.total("limit_hits_total", limit="commands_per_second")), True)
        outcome.at_most("memory rose by MiB", (gateway.peak() - resting) // MIB, 96)
        outcome.at_most("CPU seconds", used, 3.5)
    outcome.beside(witness)
    return outcome


def watched_command():
    """Row 11: a command joins 1,000 rooms that 2,000 watch, and another leaves them again, three times."""
    outcome = Outcome()
    with Gateway() as gateway:
        flags = Flags()
        watchers = Worker(watch, gateway, 2000, flags, "chat.room.>", nice=True)
        until("the watchers watch", lambda: gateway.total("subscriptions") == 2000, 30)
        resting = gateway.rss()
        gateway.reset_peak()

        def join_and_leave(gateway):
            session, rooms = Session(gateway), [f"chat.room.r{number}" for number in range(1000)]
            longest = 0
            for op in ("subscribe", "unsubscribe") * 3:
                began = time.monotonic()
                session.ask(op=op, topics=rooms)
                longest = max(longest, time.monotonic() - began)
                time.sleep(0.4)
            until("all is told", lambda: gateway.total("presence_bytes") == 0, 50)
            return longest

        took, witness, used = measured(gateway, join_and_leave, seconds=60)
        flags["ends"] = True
        watchers.result(30)
        outcome.at_most("milliseconds for a command", took * 1000, 1000)
        outcome.at_most("memory rose by MiB", (gateway.peak() - resting) // MIB, 96)
        outcome.note("CPU seconds", f"{used:.1f}", True)
    outcome.beside(witness)
    return outcome


def inflating_echoes():
    """Row 13: 20 clients of `/echo` send 85 bytes that inflate to 64 KiB, as fast as frames may come, and come back where they are closed."""
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
        outcome.note("closed with", str(codes), True)
        outcome.at_least("limit_hits_total{frames_per_second}", gateway.total("limit_hits_total", limit="frames_per_second"), 1)
        outcome.at_most("CPU seconds", used, 3.5)
    outcome.beside(witness)
    return outcome


def full_inbox():
    """Row 24: four sessions publish as fast as a small inbox takes it; each gets its share, and none is found silent while it has to wait."""
    outcome = Outcome()
    settings = [
        "limits.inbox_bytes=65536", "limits.commands_per_second=1000000", "limits.commands_burst=1000000", "limits.frames_per_second=1000000",
        "limits.frames_burst=1000000", 'limits.ping_interval="1s"', 'limits.pong_timeout="1s"', "limits.outbox_bytes=67108864",
    ]  # fmt: skip
    with Gateway(settings=settings) as gateway:
        flags = Flags()
        listeners = [Worker(listen, gateway, 60, flags) for _ in range(2)]
        until("all listen", lambda: gateway.total("subscriptions") == 120, 10)
        publishers = [Worker(publish_on, gateway, f"chat.flood.p{number}", flags) for number in range(4)]
        time.sleep(6)
        counts = {}
        for number in range(4):
            status, body = gateway.admin_request("GET", f"/v1/topics/chat.flood.p{number}")
            counts[number] = int(body.split(b'"offset":')[1].split(b",")[0].split(b"}")[0]) if status == 200 else 0
        waited = gateway.total("limit_hits_total", limit="inbox_bytes")
        silent = gateway.total("sessions_closed_total", reason="pong_timeout")
        flags["ends"] = True
        for worker in publishers + listeners:
            worker.result(20)
        outcome.note("messages of each", str(sorted(counts.values())), True)
        outcome.at_least("times that the inbox was full", waited, 1)
        outcome.at_least("the fewest of the most", min(counts.values()) / max(1, *counts.values()), 0.6)
        outcome.equal("closed as silent", silent, 0)
    return outcome


def listen(gateway, count, flags):
    sessions = [Session(gateway, address=other_address(7)) for _ in range(count)]
    for session in sessions:
        session.say(op="subscribe", topics=["chat.flood.*"], last=0)
    alive = time.monotonic()

    def ends():
        nonlocal alive
        if time.monotonic() - alive > 0.3:  # a pong that nobody asked for is a sign of life (RFC 6455 §5.5.3)
            alive = time.monotonic()
            for session in sessions:
                try:
                    session.send(frame(10, b""))
                except Closed:
                    pass  # the metrics count it
        return flags["ends"]

    return read_all(sessions, ends)


def publish_on(gateway, topic, flags):
    """Publishes until the end, as much as the gateway takes; its bytes are its signs of life."""
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


def bursts_of_commands():
    """1,000 sessions of one address that each send a whole burst at the same time: pings, and commands that are refused."""
    outcome = Outcome()
    with Gateway() as gateway:
        burst = b"".join(command_frame(op=op) for op in ("ping", "unheard") * 100)
        sessions = [Session(gateway) for _ in range(1000)]

        def ask(gateway):
            for session in sessions:
                session.send(burst)
            deadline = time.monotonic() + 20
            read_all(sessions, lambda: time.monotonic() > deadline or gateway.total("commands_total", op="ping") >= 100 * len(sessions))

        _, witness, used = measured(gateway, ask, seconds=60)
        outcome.at_least("pings", gateway.total("commands_total", op="ping"), 100 * len(sessions))
        outcome.at_most("CPU seconds", used, 6.0)
    outcome.beside(witness)
    return outcome
