"""Expensive requests: reads, wrong credentials, and batches of invalid lines."""

import itertools
import time
from collections import deque

from client import ADDRESS, Closed, Refused, Session, command_frame, dial, exchange, other_address, read_all
from memory import fill_history
from outcome import MIB, Outcome
from process import until
from stage import Gateway, measured

# The duration of an attack; of one that a busy machine keeps below the rates, until something is refused.
SECONDS, SECONDS_AT_MOST = 3, 40


def repeat(request):
    """Calls `request` at full speed until something was refused; returns how often each status came, and the seconds."""
    statuses, started = {}, time.monotonic()
    while (took := time.monotonic() - started) < SECONDS or 429 not in statuses and took < SECONDS_AT_MOST:
        status = request()
        statuses[status] = statuses.get(status, 0) + 1
    return statuses, took


def statuses_of(gateway, method, path, headers=(), connections=8, body=b""):
    """Repeats a request on several connections."""
    held = deque()

    def request():
        own = held.popleft() if len(held) == connections else dial(gateway, ADDRESS)
        try:
            status = exchange(own, method, path, headers, body)[0]
            held.append(own)
            return status
        except (OSError, Closed) as error:
            own.close()
            return type(error).__name__

    return repeat(request)


def refill(seconds):
    """The commands that an address may send in this time, with those of the burst."""
    return 200 + 100 * seconds


def wrong_keys():
    """Wrong admin keys at full speed for three seconds."""
    outcome = Outcome()
    with Gateway() as gateway:
        (statuses, took), witness, used = measured(gateway, statuses_of, "GET", "/v1/sessions", ("Authorization: Bearer guessed",))
        outcome.report("answers", statuses)
        outcome.at_most("401", statuses.get(401, 0), int(67 + took))
        outcome.at_least("429", statuses.get(429, 0), 1)
        outcome.at_least("limit_hits_total{failures_per_minute}", gateway.total("limit_hits_total", limit="failures_per_minute"), 1)
        outcome.equal("another address may try", gateway.request("GET", "/v1/sessions", headers={"Authorization": "Bearer other"}, address=other_address(9))[0], 401)
    outcome.check_witness(witness)
    return outcome


def history_reads(method, commands):
    """GET (or HEAD) of 1 MiB of history at full speed; each that is answered with 200 costs at least so many commands."""

    def attack():
        outcome = Outcome()
        with Gateway() as gateway:
            fill_history(gateway, "chat.long")
            (statuses, took), witness, used = measured(gateway, statuses_of, method, "/v1/topics/chat.long/history?limit=100")
            outcome.report("answers", statuses)
            outcome.at_most("200", statuses.get(200, 0), int(refill(took + 1) / commands))
            outcome.at_least("429", statuses.get(429, 0), 1)
            outcome.at_least("limit_hits_total{commands_per_second}", gateway.total("limit_hits_total", limit="commands_per_second"), 1)
            outcome.at_most("CPU seconds", used, 2.5, timed=True)
        outcome.check_witness(witness)
        return outcome

    return attack


def presence_reads():
    """GET of 800 members at full speed."""
    outcome = Outcome()
    with Gateway() as gateway:
        members = [Session(gateway, address=other_address(3)) for _ in range(800)]
        for member in members:
            member.send_command(op="subscribe", topics=["chat.room"])
        until("all are members", lambda: gateway.total("subscriptions") == len(members), 10)
        (statuses, took), witness, used = measured(gateway, statuses_of, "GET", "/v1/topics/chat.room/presence")
        outcome.report("answers", statuses)
        outcome.at_most("200", statuses.get(200, 0), int(refill(took + 1)))
        outcome.at_least("429", statuses.get(429, 0), 1)
        outcome.at_most("CPU seconds", used, 2.5, timed=True)
    outcome.check_witness(witness)
    return outcome


def bad_tokens():
    """Upgrades with an invalid token at full speed."""
    outcome = Outcome()
    token = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhIiwiZXhwIjo0MTAyNDQ0ODAwfQ." + "A" * 342
    with Gateway() as gateway:

        def connect(gateway):
            def request():
                try:
                    with Session(gateway, f"/ws?token={token}") as session:
                        return session.close_code()
                except Refused as refused:
                    return refused.status

            return repeat(request)

        (codes, took), witness, _ = measured(gateway, connect)
        outcome.report("answers", codes)
        outcome.at_most("4001", codes.get(4001, 0), int(67 + took))
        outcome.at_least("429", codes.get(429, 0), 1)
        outcome.at_least("limit_hits_total{failures_per_minute}", gateway.total("limit_hits_total", limit="failures_per_minute"), 1)
    outcome.check_witness(witness)
    return outcome


def short_streams():
    """Streams of 64 topics each, opened and cut at full speed."""
    outcome = Outcome()
    with Gateway() as gateway:

        def connect(gateway):
            numbers = itertools.count()

            def request():
                number = next(numbers)
                topics = ",".join(f"chat.s{number}.t{topic}" for topic in range(64))
                with dial(gateway, ADDRESS) as own:
                    own.sendall(f"GET /stream?topics={topics} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                    return int(own.recv(1 << 16).split(b" ", 2)[1])

            return repeat(request)

        (statuses, took), witness, used = measured(gateway, connect)
        outcome.report("answers", statuses)
        outcome.at_most("200", statuses.get(200, 0), int(refill(2 * took)))
        outcome.at_least("429", statuses.get(429, 0), 1)
        outcome.at_least("handshakes_rejected_total{commands_per_second}", gateway.total("handshakes_rejected_total", reason="commands_per_second"), 1)
        outcome.at_most("CPU seconds", used, 2.5, timed=True)
    outcome.check_witness(witness)
    return outcome


def lines_of_nothing():
    """Batches of 16 MiB whose lines are not JSON, from four addresses in turn."""
    outcome = Outcome()
    with Gateway() as gateway:
        body = b"x\n" * (8 * MIB)

        def send(gateway):
            statuses = {}
            for number in range(8):
                try:
                    own = dial(gateway, other_address(number % 4))
                    own.settimeout(10)
                    status = exchange(own, "POST", "/v1/publish", body=body)[0]
                except (OSError, Closed) as error:
                    status = type(error).__name__
                statuses[status] = statuses.get(status, 0) + 1
            return statuses

        statuses, witness, used = measured(gateway, send, seconds=60)
        outcome.report("answers", statuses)
        outcome.at_most("CPU seconds", used, 1.5, timed=True)
        outcome.at_least("limit_hits_total{commands_per_second}", gateway.total("limit_hits_total", limit="commands_per_second"), 1)
    outcome.check_witness(witness)
    return outcome


def slowly_read_answer():
    """A client that reads 1 MiB slowly, for longer than `keep_alive`, gets the whole response."""
    outcome = Outcome()
    with Gateway(settings=['limits.keep_alive="1s"']) as gateway:
        fill_history(gateway, "chat.long")

        def read(gateway):
            own = dial(gateway, ADDRESS, receive_buffer=8192)
            own.sendall(b"GET /v1/topics/chat.long/history?limit=100 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            received = bytearray()
            while True:
                try:
                    data = own.recv(32 << 10)
                except ConnectionError:
                    break
                if not data:
                    break
                received += data
                time.sleep(0.08 if len(received) < 800_000 else 0)
            return len(received), b'"epoch"' in received and received.rstrip(b"\r\n0").endswith(b"}")

        (size, whole), witness, _ = measured(gateway, read, seconds=60)
        outcome.report("bytes read", size)
        outcome.true("the response is whole", whole and size > 1_000_000)
    outcome.check_witness(witness)
    return outcome


def members_at_once():
    """100 of a topic's 1,000 members each send 60 presence commands at the same time."""
    outcome = Outcome()
    with Gateway() as gateway:
        members = [Session(gateway, address=other_address(number // 900)) for number in range(1000)]
        for member in members:
            member.send_command(op="subscribe", topics=["chat.members"])
        until("all are members", lambda: gateway.total("subscriptions") >= 1000, 20)
        burst = b"".join(command_frame(op="presence", id=9, topic="chat.members") for _ in range(60))

        def ask(gateway):
            for member in members[:100]:
                member.send(burst)
            deadline = time.monotonic() + 20
            return read_all(members[:100], lambda: time.monotonic() > deadline or gateway.total("commands_total", op="presence") >= 6000)

        received, witness, used = measured(gateway, ask, seconds=60)
        outcome.at_least("MiB of members", received // MIB, 50)
        outcome.at_most("CPU seconds", used, 6.0, timed=True)
    outcome.check_witness(witness)
    return outcome
