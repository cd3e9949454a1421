"""The figures of an attack, each with its bound."""

from witness import BOUND_SECONDS, CPU_WAITS, WORST_SECONDS

MIB = 1 << 20


class Outcome:
    """The figures of one attack; `failures` names those outside their bounds, `late` those that a busy machine explains."""

    def __init__(self):
        self.figures, self.failures, self.late = [], [], []

    def record(self, name, text, passed, failures=None):
        self.figures.append(f"{name} {text}" if passed else f"✗ {name} {text}")
        if not passed:
            (self.failures if failures is None else failures).append(name)

    def report(self, name, value):
        """A figure without a bound."""
        self.record(name, str(value), True)

    def at_most(self, name, value, bound, timed=False):
        """`timed`: the value depends on the machine's load, as times and CPU seconds do. Counts and bytes do not."""
        self.record(name, f"{formatted(value)} (at most {formatted(bound)})", value <= bound, self.late if timed else None)

    def at_least(self, name, value, bound, timed=False):
        self.record(name, f"{formatted(value)} (at least {formatted(bound)})", value >= bound, self.late if timed else None)

    def equal(self, name, value, expected):
        self.record(name, f"{value!r} (expected {expected!r})" if value != expected else f"{value!r}", value == expected)

    def one_of(self, name, value, expected):
        self.record(name, f"{value!r} (expected one of {expected!r})" if value not in expected else f"{value!r}", value in expected)

    def true(self, name, value):
        self.record(name, "yes" if value else "no", bool(value))

    def check_witness(self, witness):
        """The witness's p99 in the median window of the attack, its longest delay, and the order of its messages."""
        quiet, p99, worst = witness.figures()
        bound = max(BOUND_SECONDS, 2 * quiet, CPU_WAITS * witness.cpu_wait)
        self.record("witness p99", f"{quiet * 1000:.1f} → {p99 * 1000:.1f} ms (at most {bound * 1000:.1f})", p99 <= bound, self.late)
        self.record("worst", f"{worst * 1000:.0f} ms (at most {WORST_SECONDS * 1000:.0f})", worst <= WORST_SECONDS, self.late)
        if witness.error:
            self.record("witness", witness.error, False)


def formatted(value):
    return f"{value:.2f}" if isinstance(value, float) else str(value)
