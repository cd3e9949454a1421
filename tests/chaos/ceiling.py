"""Sessions that read nothing, and more bytes for them than all outboxes may hold: the process stays below its ceiling."""

import asyncio
import os
import pathlib

from worker import Worker, Flags
from gateway import Gateway
from process import until
from websocket import connect

MIB = 1 << 20
TOTAL_MIB = 256
CGROUP_MIB = 384
CGROUPS = pathlib.Path("/sys/fs/cgroup/memory")
RULES = '[[topics]]\nmatch = "own.>"\non_slow = "drop_oldest"\n'
RECEIVE_BUFFER = 4096
MESSAGE_BYTES = 16_000
# The other parts of the ceiling: the program, the inboxes of its two shards, bodies of requests, and the sessions.
OTHER_MIB = 16 + 2 * 4 + 2 * 4 + 8


async def read_nothing(port, numbers, flags):
    websockets = []
    for number in numbers:
        websocket = await connect(port, lambda _text: None, receive_buffer=RECEIVE_BUFFER)
        websocket.send_command({"op": "subscribe", "topics": [f"own.s{number}"]})
        websocket.pause()
        websockets.append(websocket)
    while not flags["ends"]:
        await asyncio.sleep(0.05)
    for websocket in websockets:
        websocket.transport.abort()


def offer(gateway, sessions, size, each):
    """Publishes `each` messages of `size` bytes to each session's own topic, so that no two sessions share a frame."""
    filling = "x" * size
    per_batch = max(1, 4 * MIB // (size + 200))
    lines = ((f"own.s{number}", filling) for _ in range(each) for number in range(sessions))
    batch = []
    for line in lines:
        batch.append(line)
        if len(batch) == per_batch:
            gateway.publish_batch(batch)
            batch = []
    if batch:
        gateway.publish_batch(batch)


def own_cgroup():
    """A memory cgroup (v1) for the gateway, and the command that enters it; (None, ()) if it can't be made."""
    folder = CGROUPS / f"belfry-chaos-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(CGROUP_MIB * MIB))
    except OSError:
        return None, ()
    return folder, ("sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh")


def memory_ceiling(_long):
    """Sessions that read nothing, 1 MiB published to each: resident memory stays within `outbox_total_bytes` and 15 %."""
    sessions, folder, wrapper = 1000, *own_cgroup()
    limits = f'outbox_total_bytes = {TOTAL_MIB * MIB}\ninbox_bytes = {4 * MIB}\nwrite_timeout = "1h"\nping_interval = "1h"'
    try:
        with Gateway(rules=RULES, limits=limits, wrapper=wrapper) as gateway:
            flags = Flags()
            parts = [Worker(read_nothing, gateway.port, range(part, sessions, 2), flags) for part in range(2)]
            until("all are subscribed", lambda: gateway.total("subscriptions") == sessions, 60)
            offer(gateway, sessions, MESSAGE_BYTES, MIB // MESSAGE_BYTES)
            *_, messages = gateway.close_accounts("own.>", 30)
            peak, waiting = gateway.peak(), gateway.total("outbox_bytes")
            closed, hits = gateway.total("sessions_closed_total"), gateway.total("limit_hits_total", limit="outbox_total_bytes")
            dropped = gateway.total("messages_dropped_total", reason="total")
            figures = f"peak {peak / MIB:.0f} MiB, {waiting / MIB:.0f} of {TOTAL_MIB} in outboxes, {messages} messages, {dropped} dropped, the total hit {hits} times"
            assert hits and dropped, f"outbox_total_bytes was never reached: {figures}"
            assert closed == 0, f"{closed} sessions were closed, though drop_oldest frees enough: {figures}"
            assert waiting <= TOTAL_MIB * MIB, f"the outboxes hold more than outbox_total_bytes: {figures}"
            assert peak <= TOTAL_MIB * MIB * 1.15 + OTHER_MIB * MIB, f"the peak is above the ceiling: {figures}"
            flags["ends"] = True
            for part in parts:
                part.result(30)
            until("no session is left", lambda: gateway.total("sessions") == 0, 20)
            gateway.close_accounts("own.>")
            assert gateway.total("outbox_bytes") == 0
    finally:
        if folder:
            until("the cgroup is empty", lambda: not (folder / "cgroup.procs").read_text().strip(), 10)
            folder.rmdir()
    how = f"in a cgroup of {CGROUP_MIB} MiB" if folder else "resident memory sampled"
    return f"{sessions} sessions that read nothing, 1 MiB published to each, {how}: {figures}"
