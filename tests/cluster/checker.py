"""Compares what was published, acknowledged and received in a storm (PROTOCOL section 13)."""

import bisect
import collections

FAULTS_SHOWN = 8


class Run:
    """Messages that one subscriber must get without a hole: a topic's messages of one epoch, above `start`."""

    def __init__(self, epoch, start):
        self.epoch, self.start, self.messages = epoch, start, []
        self.end = None  # the offset up to which it is complete; None: the last message's

    @property
    def last(self):
        return self.messages[-1][0] if self.messages else self.start


class Checker:
    """The records of all clients. A message's content is unique, and identifies it."""

    def __init__(self):
        self.at = {}  # (epoch, offset) → (topic, content), from any source
        self.offsets = {}  # content → offset
        self.acknowledged = {}  # content → (epoch or None, offset, topic)
        self.runs = []  # (subscriber, topic, run)
        self.faults = []
        self.counts = collections.Counter()

    def fault(self, kind, details):
        self.counts[f"fault: {kind}"] += 1
        if len(self.faults) < FAULTS_SHOWN:
            self.faults.append(f"{kind}: {details}")

    def record(self, source, epoch, offset, topic, content):
        """Records that `source` has seen this message."""
        known = self.at.setdefault((epoch, offset), (topic, content))
        if known != (topic, content):
            self.fault("two contents", f"{source} has {topic} {content} at {epoch} {offset}, and others have {known}")
        if self.offsets.setdefault(content, offset) != offset:
            self.fault("stored twice", f"{source} has {content} at {offset}; it was at {self.offsets[content]}")

    def acknowledge(self, epoch, offset, topic, content):
        self.acknowledged[content] = (epoch, offset, topic)

    def begin(self, source, topic, epoch, start):
        run = Run(epoch, start)
        self.runs.append((source, topic, run))
        return run

    def close(self):
        """Compares each run with all records; returns the faults."""
        epochs = {epoch for epoch, _ in self.at}
        for content, (epoch, offset, topic) in self.acknowledged.items():
            if epoch is None and len(epochs) == 1:
                epoch = next(iter(epochs))
            if epoch is not None:
                self.record("an acknowledgement", epoch, offset, topic, content)
            elif self.offsets.get(content, offset) != offset:
                self.fault("acknowledged elsewhere", f"{topic} {content} at {offset}, received at {self.offsets[content]}")
        kept = collections.defaultdict(list)
        for (epoch, offset), (topic, content) in self.at.items():
            kept[epoch, topic].append((offset, content))
        for messages in kept.values():
            messages.sort()
        received = set()
        for source, topic, run in self.runs:
            received.update(content for _, content in run.messages)
            all_messages, end = kept[run.epoch, topic], run.last if run.end is None else run.end
            first = bisect.bisect_right(all_messages, (run.start, "\uffff"))
            expected = all_messages[first : bisect.bisect_right(all_messages, (end, "\uffff"))]
            self.counts["received"] += len(run.messages)
            if expected != run.messages:
                missing = sorted(set(expected) - set(run.messages))
                self.fault("missing", f"{source} on {topic} in {run.epoch} from {run.start} to {end}: {missing[:4]} of {len(missing)}")
        self.counts["acknowledged"] = len(self.acknowledged)
        self.counts["acknowledged and received by no one"] = len(self.acknowledged.keys() - received)
        self.counts["epochs"] = len(epochs)
        return self.faults
