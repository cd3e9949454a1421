"""Each subscriber's received messages, in shared memory, and the faults in them: missing, twice, out of order."""

import mmap
import struct
import zlib

PUBLISHERS_MAX = 8
# epoch, offset, received, number of epochs, recovered, lost; then the faults, then the newest number of each publisher.
ROW = struct.Struct(f"<16sQQIII6I{PUBLISHERS_MAX}Q")
FAULTS = ("missing", "twice", "out of order", "damaged", "not recovered", "after unsubscribed")


def payload(publisher, number, size=64):
    """A message's data: the publisher, its number for this message on the topic, and a checksum of both and the filling."""
    filling = "x" * size
    return {"p": publisher, "n": number, "x": filling, "c": zlib.crc32(f"{publisher} {number} {filling}".encode())}


class Ledger:
    """A row for each subscriber and topic, and the time of each subscriber's last `subscribed`."""

    def __init__(self, subscribers, topics):
        self.topics = topics
        self.index = {topic: index for index, topic in enumerate(topics)}
        self.subscribers = subscribers
        self.memory = mmap.mmap(-1, subscribers * (len(topics) * ROW.size + 8))
        self.subscribed = subscribers * len(topics) * ROW.size

    def account(self, subscriber, topic):
        return Account(self.memory, (subscriber * len(self.topics) + self.index[topic]) * ROW.size)

    def record_subscribed(self, subscriber, moment):
        struct.pack_into("<d", self.memory, self.subscribed + 8 * subscriber, moment)

    def subscribed_at(self, subscriber):
        return struct.unpack_from("<d", self.memory, self.subscribed + 8 * subscriber)[0]

    def faults(self):
        """The sum of each kind of fault that occurred."""
        sums = [0] * len(FAULTS)
        for row in self.rows():
            sums = [total + count for total, count in zip(sums, row[6:12])]
        return {name: count for name, count in zip(FAULTS, sums) if count}

    def received(self):
        return sum(row[2] for row in self.rows())

    def recoveries(self):
        """How often `recovered` was true, and how often false."""
        return sum(row[4] for row in self.rows()), sum(row[5] for row in self.rows())

    def rows(self):
        return ROW.iter_unpack(memoryview(self.memory)[: self.subscribed])


class Account:
    """One subscriber's position in one topic."""

    def __init__(self, memory, at):
        self.memory, self.at = memory, at
        row = ROW.unpack_from(memory, at)
        self.epoch = row[0].rstrip(b"\0").decode()
        self.offset, self.received, self.epochs, self.recovered, self.lost = row[1:6]
        self.faults = list(row[6:12])
        self.newest = list(row[12:])

    def save(self):
        # A single copy into the shared memory, so that a killed process leaves no half-written row.
        row = ROW.pack(self.epoch.encode(), self.offset, self.received, self.epochs, self.recovered, self.lost, *self.faults, *self.newest)
        self.memory[self.at : self.at + ROW.size] = row

    def fault(self, name):
        self.faults[FAULTS.index(name)] += 1

    def begin(self, epoch, offset=0):
        """The subscriber's position is `offset` of this epoch."""
        if epoch != self.epoch:
            self.epochs += 1
        self.epoch, self.offset = epoch, offset
        self.save()

    def resume(self, recovered, epoch, restarts):
        """The answer to `since`; `recovered` false is a fault unless the gateway may have been killed and the epoch is new."""
        if recovered:
            self.recovered += 1
            if epoch != self.epoch:
                self.fault("out of order")
        else:
            self.lost += 1
            if not restarts or epoch == self.epoch:
                self.fault("not recovered")
            self.epoch, self.offset = epoch or "", 0
            self.epochs += bool(epoch)
        self.save()

    def receive(self, event, strict):
        """Checks a message; `strict` allows no hole in each publisher's numbers."""
        offset, epoch, data = event["offset"], event["epoch"], event["data"]
        if epoch != self.epoch:
            if self.epoch:
                self.fault("out of order")
            self.epoch, self.offset, self.epochs = epoch, 0, self.epochs + 1
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
        self.save()
