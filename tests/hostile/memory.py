"""Memory of held messages, HTTP responses and bodies, replay cursors, incomplete frames and compressed copies."""

import threading
import time

from client import Session, amid_a_frame, dial, other_address
from outcome import MIB, Outcome
from stage import Gateway, measured, populate
from process import until


def held_messages():
    """An interval of an hour holds 2,000 messages of 60 KB: `outbox_bytes` bounds them, and another session is not closed."""
    outcome = Outcome()
    settings = ["limits.history_bytes=1048576", "limits.outbox_total_bytes=33554432"]
    with Gateway(settings=settings) as gateway:
        topics = [f"chat.held.t{number}" for number in range(2000)]
        holder = Session(gateway)
        assert holder.ask(op="subscribe", topics=["chat.held.*"], interval_ms=3_600_000, last=0)["op"] == "subscribed"
        populate(gateway, topics, "first")
        for _ in topics:
            holder.receive_event(lambda event: event["op"] == "message")
        other = Session(gateway, address=other_address(1), receive_buffer=4096)
        other.ask(op="subscribe", topics=["chat.other"], last=0)
        gateway.publish_batch([("chat.other", "o" * 60_000) for _ in range(8)], other_address(2))
        rss_before = gateway.rss()
        gateway.reset_peak()

        def publish(gateway):
            for part in range(0, len(topics), 150):
                gateway.publish_batch(((topic, "h" * 60_000) for topic in topics[part : part + 150]), other_address(100 + part // 150))
            time.sleep(1)

        _, witness, _ = measured(gateway, publish)
        outcome.at_most("memory growth in MiB", (gateway.rss() - rss_before) // MIB, 48)
        outcome.at_most("bytes in outboxes", gateway.total("outbox_bytes"), 2 * MIB)
        outcome.at_least("limit_hits_total{outbox_bytes}", gateway.total("limit_hits_total", limit="outbox_bytes"), 1)
        outcome.equal("others closed as too_full", gateway.total("sessions_closed_total", reason="too_full"), 0)
    outcome.check_witness(witness)
    return outcome


def fill_history(gateway, topic, messages=100, size=10_300):
    """Publishes about 1 MiB of history."""
    gateway.publish_batch([(topic, "h" * size) for _ in range(messages)], other_address(50))


def unread_answers():
    """1,500 HTTP connections of fifteen addresses request 1 MiB of history each, and don't read."""
    outcome = Outcome()
    with Gateway() as gateway:
        fill_history(gateway, "chat.long")
        gateway.reset_peak()
        rss_before = gateway.rss()

        def ask(gateway):
            connections = []
            request = b"GET /v1/topics/chat.long/history?limit=100 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            for number in range(1500):
                try:
                    own = dial(gateway, other_address(number % 15), receive_buffer=4096)
                    own.sendall(request)
                    connections.append(own)
                except OSError:
                    continue
            time.sleep(2)
            return len(connections)

        requests, witness, _ = measured(gateway, ask)
        outcome.report("requests", requests)
        # `http_bytes` is 256 MiB, and each of the 1,500 connections also has buffers.
        outcome.at_most("memory growth in MiB", (gateway.peak() - rss_before) // MIB, 340)
    outcome.check_witness(witness)
    return outcome


def held_bodies():
    """60 batches of 16 MiB that lack their last byte, from a client without a grant for their topics."""
    outcome = Outcome()
    with Gateway() as gateway:
        gateway.reset_peak()
        rss_before = gateway.rss()
        line = b'{"topic":"quotes.AAPL","data":"' + b"x" * 60_000 + b'"}\n'
        bodies = [line * (16 * MIB // len(line)), b"x" * (16 * MIB)]

        def send(gateway):
            def one(number):
                body = bodies[number % 2]
                try:
                    own = dial(gateway, other_address(number % 3))
                    own.settimeout(6)
                    own.sendall(f"POST /v1/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode())
                    for begin in range(0, len(body), 256 << 10):  # slowly, so that the machine has time for the witness
                        own.sendall(memoryview(body)[begin : min(begin + (256 << 10), len(body) - 1)])
                        time.sleep(0.05)
                    held.append(own)
                except OSError:
                    return

            held = []
            threads = [threading.Thread(target=one, args=(number,)) for number in range(60)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            time.sleep(1)
            return len(held)

        bodies_read, witness, _ = measured(gateway, send, seconds=60)
        outcome.report("bodies read except for their last byte", bodies_read)
        outcome.at_most("memory growth in MiB", (gateway.peak() - rss_before) // MIB, 128)
    outcome.check_witness(witness)
    return outcome


def replay_cursors():
    """100 sessions that don't read, each with cursors in 19,500 topics, and 300 messages meanwhile."""
    outcome = Outcome()
    with Gateway() as gateway:
        populate(gateway, (f"chat.c.t{number}" for number in range(19_500)), "c" * 100)
        rss_before = gateway.rss()
        readers = [Session(gateway, receive_buffer=4096) for _ in range(100)]
        for reader in readers:
            reader.send_command(op="subscribe", topics=["chat.c.*"], last=1)
        until("all are subscribed", lambda: gateway.total("subscriptions") == len(readers), 10)
        time.sleep(1)

        def publish(gateway):
            with Session(gateway) as session:
                session.ask(op="subscribe", topics=["chat.c.live"])
                for number in range(300):
                    session.send_command(op="publish", topic="chat.c.live", data=number)
                    time.sleep(0.011)
                return session.ask(op="publish", id=2, topic="chat.c.live", data="last")["op"]

        answer, witness, used = measured(gateway, publish)
        outcome.equal("the last publish", answer, "published")
        outcome.at_most("CPU seconds", used, 0.8, timed=True)
        outcome.at_most("memory growth in MiB", (gateway.rss() - rss_before) // MIB, 80)
    outcome.check_witness(witness)
    return outcome


def half_sent_frames():
    """400 clients of Centrifugo's protocol without a `connect`, each with an incomplete frame of 1 MiB."""
    outcome = Outcome()
    with Gateway() as gateway:
        gateway.reset_peak()
        rss_before = gateway.rss()

        def send(gateway):
            held = []
            for number in range(400):
                held.append(amid_a_frame(gateway, other_address(number % 4)))
                time.sleep(0.01)  # otherwise the senders would delay the witness
            return len(held)

        sent, witness, _ = measured(gateway, send, seconds=60)
        outcome.report("senders", sent)
        outcome.at_most("memory growth in MiB", (gateway.peak() - rss_before) // MIB, 96)
    outcome.check_witness(witness)
    return outcome


def paced_copies():
    """200 compressed sessions with `interval_ms`: each message is deflated for all of them together."""
    outcome = Outcome()
    with Gateway() as gateway:
        sessions = [Session(gateway, deflate=True) for _ in range(200)]
        for session in sessions:
            session.send_command(op="subscribe", topics=["chat.paced"], interval_ms=100, last=0)
        until("all are subscribed", lambda: gateway.total("subscriptions") == 200, 10)

        def publish(gateway):
            with Session(gateway) as session:
                for number in range(30):
                    session.send_command(op="publish", topic="chat.paced", data=f"{number:05}" + "lorem ipsum " * 166)
                    time.sleep(0.05)
            time.sleep(0.5)

        before = gateway.total("deflate_in_bytes_total")
        _, witness, used = measured(gateway, publish)
        deflated = gateway.total("deflate_in_bytes_total") - before
        outcome.at_most("bytes deflated for each byte published", deflated / (30 * 1997), 8.0)
        outcome.at_most("CPU seconds", used, 1.0, timed=True)
    outcome.check_witness(witness)
    return outcome
