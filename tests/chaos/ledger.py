"""What each subscriber has received, in memory that outlives a killed process: nothing missing, nothing twice, nothing out of order."""

import mmap
import struct
import zlib

PUBLISHERS_MAX = 8
# epoch, offset, received, lives (epochs seen), recovered, lost; then the faults, then the newest number of each publisher.
ROW = struct.Struct(f"<16sQQIII6I{PUBLISHERS_MAX}Q")
FAULTS = ("missing", "twice", "out of order", "damaged", "not recovered", "after unsubscribed")


def payload(publisher, number, size=64):
    """What a publisher sends: who, which of its messages on that topic, and a check sum over both with the filling."""
    filling = "x" * size
    return {"p": publisher, "n": number, "x": filling, "c": zlib.crc32(f"{publisher} {number} {filling}".encode())}


class Ledger:
    """Rows of subscribers × topics, and for each subscriber when it was last answered `subscribed`."""

    def __init__(self, subscribers, topics):
        self.topics = topics
        self.index = {topic: index for index, topic in enumerate(topics)}
        self.subscribers = subscribers
        self.memory = mmap.mmap(-1, subscribers * (len(topics) * ROW.size + 8))
        self.seated = subscribers * len(topics) * ROW.size

    def account(self, subscriber, topic):
        return Account(self.memory, (subscriber * len(self.topics) + self.index[topic]) * ROW.size)

    def note_seated(self, subscriber, moment):
        struct.pack_into("<d", self.memory, self.seated + 8 * subscriber, moment)

    def seated_at(self, subscriber):
        return struct.unpack_from("<d", self.memory, self.seated + 8 * subscriber)[0]

    def faults(self):
        """The sum of each kind of fault, of those that there are."""
        sums = [0] * len(FAULTS)
        for row in self.rows():
            sums = [total + count for total, count in zip(sums, row[6:12])]
        return {name: count for name, count in zip(FAULTS, sums) if count}

    def received(self):
        return sum(row[2] for row in self.rows())

    def recoveries(self):
        """How often a topic came back with `recovered` true, and how often with false."""
        return sum(row[4] for row in self.rows()), sum(row[5] for row in self.rows())

    def rows(self):
        return ROW.iter_unpack(memoryview(self.memory)[: self.seated])


class Account:
    """One subscriber's position on one topic."""

    def __init__(self, memory, at):
        self.memory, self.at = memory, at
        row = ROW.unpack_from(memory, at)
        self.epoch = row[0].rstrip(b"\0").decode()
        self.offset, self.received, self.lives, self.recovered, self.lost = row[1:6]
        self.faults = list(row[6:12])
        self.newest = list(row[12:])

    def keep(self):
        # One copy into the shared memory, so that a process killed between two lines leaves no half row.
        row = ROW.pack(self.epoch.encode(), self.offset, self.received, self.lives, self.recovered, self.lost, *self.faults, *self.newest)
        self.memory[self.at : self.at + ROW.size] = row

    def fault(self, name):
        self.faults[FAULTS.index(name)] += 1

    def begin(self, epoch, offset=0):
        """A life of the topic begins for this subscriber, after `offset`."""
        if epoch != self.epoch:
            self.lives += 1
        self.epoch, self.offset = epoch, offset
        self.keep()

    def resume(self, recovered, epoch, restarts):
        """The answer to `since`; only where the gateway may have died is a loss no fault, and then only with a new epoch."""
        if recovered:
            self.recovered += 1
            if epoch != self.epoch:
                self.fault("out of order")
        else:
            self.lost += 1
            if not restarts or epoch == self.epoch:
                self.fault("not recovered")
            self.epoch, self.offset = epoch or "", 0
            self.lives += bool(epoch)
        self.keep()

    def take(self, event, strict):
        """A message; with `strict`, each publisher's numbers have no holes either."""
        offset, epoch, data = event["offset"], event["epoch"], event["data"]
        if epoch != self.epoch:
            if self.epoch:
                self.fault("out of order")
            self.epoch, self.offset, self.lives = epoch, 0, self.lives + 1
        if offset == self.offset + 1:
            self.received += 1
        elif offset <= self.offset:
            self.fault("twice")
        else:
            self.fault("missing")
        self.offset = max(self.offset, offset)
        publisher, number = data["p"], data["n"]
        before = self.newest[publisher]
        if number <= before or (strict and number != before + 1):
            self.fault("out of order")
        self.newest[publisher] = number
        if zlib.crc32(f"{publisher} {number} {data['x']}".encode()) != data["c"]:
            self.fault("damaged")
        self.keep()
