"""Thousands of sessions, drops, reloads and kills for a long time: memory and descriptors stay flat."""

import time

from client_process import PublishCounts, subscribers_of, publishers_of
from worker import Flags
from gateway import Gateway
from ledger import Ledger
from process import Skipped, until
from recovery import settle

MIB = 1 << 20
RULES = '[[topics]]\nmatch = "room.>"\nhistory = 500\nhistory_ttl = "1m"\non_slow = "disconnect"\n[[topics]]\nmatch = "else.>"\nhistory = 10\nhistory_ttl = "10s"\n'
# Memory rises to its level in this time after a start, and the slope leaves it out.
RISE_SECONDS = 120
SLOPE_MIB_PER_MINUTE = 0.5


def soak(long, minutes=30):
    """5,000 sessions, 1,000 messages and 20 drops a second, a SIGHUP and a kill every five minutes: memory stays flat."""
    if not long:
        raise Skipped("takes half an hour; only with --long")
    count, topics = 5000, [f"room.t{index}" for index in range(100)]
    subscriptions = [[topics[index % 100]] if index % 10 else ["room.>" if index == 0 else f"room.t{index // 10 % 100}"] for index in range(count)]
    ledger, counts, others, flags = Ledger(count, topics), PublishCounts(5), PublishCounts(3), Flags()
    with Gateway(rules=RULES) as gateway:
        clients = subscribers_of(flags, ledger, subscriptions, [gateway.port], 4, restarts=True, strict=False, drop_every=count / 20)
        publishers = publishers_of(flags, counts, topics, gateway.port, 100)
        filling = publishers_of(flags, others, [f"else.t{index}" for index in range(1000)], gateway.port, 900)
        flags["publishes"] = flags["drops"] = True
        started, runs, returns = time.monotonic(), [], []
        while (left := started + 60 * minutes - time.monotonic()) > 0:
            runs.append(watch(gateway, min(left, 150)))
            written = gateway.config.read_text()
            gateway.reload(written.replace("history = 500", f"history = {500 + len(runs)}"))
            runs[-1] += watch(gateway, max(0.0, min(150, started + 60 * minutes - time.monotonic())))
            if started + 60 * minutes - time.monotonic() > RISE_SECONDS:
                gateway.kill()
                restarted = gateway.start()
                until(lambda: f"all have resumed; {missing(ledger, count, restarted)} are not", lambda: not missing(ledger, count, restarted), 60)
                returns.append(time.monotonic() - restarted)
        opened, closed = gateway.total("sessions_opened_total"), gateway.total("sessions_closed_total")
        flags["publishes"] = flags["drops"] = False
        settle(gateway, ledger, counts, subscriptions, exact=False)
        flags["ends"] = True
        for client in clients:
            client.end(30)
        publishers.kill()
        filling.kill()
        gateway.close_accounts("room.>")
        slopes = [slope for slope in map(slope_of, runs) if slope is not None]
        descriptors = [max(run, key=lambda sample: sample[2])[2] - count for run in runs]
        recovered, lost = ledger.recoveries()
        figures = (
            f"{minutes} min, {count} sessions, {counts.totals()[0] + others.totals()[0]} messages, {ledger.received()} received, {len(returns)} kills, "
            f"all resumed within {max(returns, default=0):.1f} s, {opened} opened and {closed} closed in the last run, {recovered} recovered, {lost} lost; "
            f"slope of memory in each run {', '.join(f'{slope:+.2f}' for slope in slopes)} MiB/min, descriptors beside the sessions at most {max(descriptors)}"
        )
        assert all(slope < SLOPE_MIB_PER_MINUTE for slope in slopes), f"memory grows: {figures}"
        return figures


def missing(ledger, count, since):
    return sum(ledger.subscribed_at(index) < since for index in range(count))


def watch(gateway, seconds):
    """Samples of time, resident memory and descriptors, one in each second."""
    samples, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        samples.append((time.monotonic(), gateway.rss() / MIB, gateway.descriptors()))
        time.sleep(1)
    return samples


def slope_of(run):
    """MiB a minute after the rise, by least squares; `None` if there are too few samples."""
    level = [(at / 60, rss) for at, rss, _ in run if at > run[0][0] + RISE_SECONDS]
    if len(level) < 60:
        return None
    mean_at, mean_rss = (sum(values) / len(level) for values in zip(*level))
    return sum((at - mean_at) * (rss - mean_rss) for at, rss in level) / sum((at - mean_at) ** 2 for at, _ in level)
