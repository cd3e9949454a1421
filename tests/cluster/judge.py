"""What was published, acknowledged and heard in a storm, and whether all of it agrees (PROTOCOL section 13)."""

import bisect
import collections

FAULTS_SHOWN = 8


class Run:
    """What one subscriber was told is whole: a topic's messages of one epoch, above `start`."""

    def __init__(self, epoch, start):
        self.epoch, self.start, self.got = epoch, start, []
        self.end = None  # up to there, both included; None: up to its last message

    @property
    def last(self):
        return self.got[-1][0] if self.got else self.start


class Judge:
    """Everybody's notes. A message's content is unique, and stands for it."""

    def __init__(self):
        self.at = {}  # (epoch, offset) → (topic, content), whoever said so
        self.offsets = {}  # content → offset
        self.acknowledged = {}  # content → (epoch or None, offset, topic)
        self.runs = []  # (subscriber, topic, run)
        self.faults = []
        self.counts = collections.Counter()

    def fault(self, kind, words):
        self.counts[f"fault: {kind}"] += 1
        if len(self.faults) < FAULTS_SHOWN:
            self.faults.append(f"{kind}: {words}")

    def note(self, who, epoch, offset, topic, content):
        """`who` says that this message is there."""
        known = self.at.setdefault((epoch, offset), (topic, content))
        if known != (topic, content):
            self.fault("two contents", f"{who} has {topic} {content} at {epoch} {offset}, where others have {known}")
        if self.offsets.setdefault(content, offset) != offset:
            self.fault("stored twice", f"{who} has {content} at {offset}; it was at {self.offsets[content]}")

    def acknowledge(self, epoch, offset, topic, content):
        self.acknowledged[content] = (epoch, offset, topic)

    def begin(self, who, topic, epoch, start):
        run = Run(epoch, start)
        self.runs.append((who, topic, run))
        return run

    def close(self):
        """Holds each run against all that is known; answers the faults."""
        epochs = {epoch for epoch, _ in self.at}
        for content, (epoch, offset, topic) in self.acknowledged.items():
            if epoch is None and len(epochs) == 1:
                epoch = next(iter(epochs))
            if epoch is not None:
                self.note("an acknowledgement", epoch, offset, topic, content)
            elif self.offsets.get(content, offset) != offset:
                self.fault("acknowledged elsewhere", f"{topic} {content} at {offset}, heard at {self.offsets[content]}")
        kept = collections.defaultdict(list)
        for (epoch, offset), (topic, content) in self.at.items():
            kept[epoch, topic].append((offset, content))
        for messages in kept.values():
            messages.sort()
        heard = set()
        for who, topic, run in self.runs:
            heard.update(content for _, content in run.got)
            messages, end = kept[run.epoch, topic], run.last if run.end is None else run.end
            first = bisect.bisect_right(messages, (run.start, "\uffff"))
            wanted = messages[first : bisect.bisect_right(messages, (end, "\uffff"))]
            self.counts["held against the ledger"] += len(run.got)
            if wanted != run.got:
                missing = sorted(set(wanted) - set(run.got))
                self.fault("missing", f"{who} on {topic} in {run.epoch} from {run.start} to {end}: {missing[:4]} of {len(missing)}")
        self.counts["acknowledged"] = len(self.acknowledged)
        self.counts["acknowledged and heard by nobody"] = len(self.acknowledged.keys() - heard)
        self.counts["epochs"] = len(epochs)
        return self.faults
