"""What an attack did: each figure beside its bound, and whether it keeps to it."""

from witness import BOUND_SECONDS, WORST_SECONDS

MIB = 1 << 20


class Outcome:
    """The figures of one attack; `misses` are those that break their bound, `late` those of a witness that had to wait."""

    def __init__(self):
        self.figures, self.misses, self.late = [], [], []

    def note(self, name, told, good, misses=None):
        self.figures.append(f"{name} {told}" if good else f"✗ {name} {told}")
        if not good:
            (self.misses if misses is None else misses).append(name)

    def at_most(self, name, value, bound):
        self.note(name, f"{told(value)} (at most {told(bound)})", value <= bound)

    def at_least(self, name, value, bound):
        self.note(name, f"{told(value)} (at least {told(bound)})", value >= bound)

    def equal(self, name, value, wanted):
        self.note(name, f"{value!r} (is to be {wanted!r})" if value != wanted else f"{value!r}", value == wanted)

    def one_of(self, name, value, wanted):
        self.note(name, f"{value!r} (is to be one of {wanted!r})" if value not in wanted else f"{value!r}", value in wanted)

    def true(self, name, value):
        self.note(name, "yes" if value else "no", bool(value))

    def beside(self, witness):
        """The promise to the witness: its p99 in the median window of the attack, no long stall, and every message in order."""
        quiet, p99, worst = witness.figures()
        bound = max(BOUND_SECONDS, 2 * quiet)
        self.note("witness p99", f"{quiet * 1000:.1f} → {p99 * 1000:.1f} ms (at most {bound * 1000:.1f})", p99 <= bound, self.late)
        self.note("worst", f"{worst * 1000:.0f} ms (at most {WORST_SECONDS * 1000:.0f})", worst <= WORST_SECONDS, self.late)
        if witness.trouble:
            self.note("witness", witness.trouble, False)


def told(value):
    return f"{value:.2f}" if isinstance(value, float) else str(value)
