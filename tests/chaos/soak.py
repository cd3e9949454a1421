"""Hours in small: thousands of sessions, churn, reloads and kills for as long as is asked, and memory and descriptors that stay flat."""

import time

from crew import Books, crews_of, publishers_of
from errand import Flags
from gateway import Gateway
from ledger import Ledger
from process import Skipped, until
from recovery import settle

MIB = 1 << 20
RULES = '[[topics]]\nmatch = "room.>"\nhistory = 500\nhistory_ttl = "1m"\non_slow = "disconnect"\n[[topics]]\nmatch = "else.>"\nhistory = 10\nhistory_ttl = "10s"\n'
# The memory's way from its start to its level, which is no growth.
RISE_SECONDS = 120
SLOPE_MIB_PER_MINUTE = 0.5


def soak(long, minutes=30):
    """5,000 sessions, 1,000 messages a second, 20 drops a second; every fifth minute a SIGHUP and a kill -9: no slope, books that balance."""
    if not long:
        raise Skipped("takes half an hour; only with --long")
    count, topics = 5000, [f"room.t{index}" for index in range(100)]
    wishes = [[topics[index % 100]] if index % 10 else ["room.>" if index == 0 else f"room.t{index // 10 % 100}"] for index in range(count)]
    ledger, books, others, flags = Ledger(count, topics), Books(5), Books(3), Flags()
    with Gateway(rules=RULES) as gateway:
        crews = crews_of(flags, ledger, wishes, [gateway.port], 4, restarts=True, strict=False, drop_every=count / 20)
        publishers = publishers_of(flags, books, topics, gateway.port, 100)
        filling = publishers_of(flags, others, [f"else.t{index}" for index in range(1000)], gateway.port, 900)
        flags["publishes"] = flags["drops"] = True
        began, lives, returns = time.monotonic(), [], []
        while (left := began + 60 * minutes - time.monotonic()) > 0:
            lives.append(watch(gateway, min(left, 150)))
            written = gateway.config.read_text()
            gateway.reload(written.replace("history = 500", f"history = {500 + len(lives)}"))
            lives[-1] += watch(gateway, max(0.0, min(150, began + 60 * minutes - time.monotonic())))
            if began + 60 * minutes - time.monotonic() > RISE_SECONDS:
                gateway.kill()
                back = gateway.start()
                until(lambda: f"all back; {missing(ledger, count, back)} are not", lambda: not missing(ledger, count, back), 60)
                returns.append(time.monotonic() - back)
        opened, closed = gateway.total("sessions_opened_total"), gateway.total("sessions_closed_total")
        flags["publishes"] = flags["drops"] = False
        settle(gateway, ledger, books, wishes, exact=False)
        flags["ends"] = True
        for crew in crews:
            crew.end(30)
        publishers.kill()
        filling.kill()
        gateway.close_accounts("room.>")
        slopes = [slope for slope in map(slope_of, lives) if slope is not None]
        descriptors = [max(life, key=lambda sample: sample[2])[2] - count for life in lives]
        recovered, lost = ledger.recoveries()
        told = (
            f"{minutes} min, {count} sessions, {books.totals()[0] + others.totals()[0]} messages, {ledger.received()} received, {len(returns)} kills, "
            f"all back within {max(returns, default=0):.1f} s, {opened} opened and {closed} closed in the last life, {recovered} recovered, {lost} lost; "
            f"slope of memory in each life {', '.join(f'{slope:+.2f}' for slope in slopes)} MiB/min, descriptors beside the sessions at most {max(descriptors)}"
        )
        assert all(slope < SLOPE_MIB_PER_MINUTE for slope in slopes), f"memory grows: {told}"
        return told


def missing(ledger, count, since):
    return sum(ledger.seated_at(index) < since for index in range(count))


def watch(gateway, seconds):
    """Samples of time, resident memory and descriptors, one a second."""
    samples, until_then = [], time.monotonic() + seconds
    while time.monotonic() < until_then:
        samples.append((time.monotonic(), gateway.rss() / MIB, gateway.descriptors()))
        time.sleep(1)
    return samples


def slope_of(life):
    """MiB a minute by least squares, of what lies behind the rise; nothing where that is too short."""
    level = [(at / 60, rss) for at, rss, _ in life if at > life[0][0] + RISE_SECONDS]
    if len(level) < 60:
        return None
    mean_at, mean_rss = (sum(values) / len(level) for values in zip(*level))
    return sum((at - mean_at) * (rss - mean_rss) for at, rss in level) / sum((at - mean_at) ** 2 for at, _ in level)
