"""One subscriber in ten stops reading, is closed, and returns: the other subscribers' latency, by the load test."""

import json
import os
import pathlib
import subprocess

from process import BINARY, ROOT, Skipped

LOADTEST = pathlib.Path(os.environ.get("BELFRY_LOADTEST", ROOT / "target" / "release" / "belfry-loadtest"))
SESSIONS, PER_SECOND, SECONDS, PAYLOAD_BYTES = 1000, 100, 20, 512
# The number of runs without a warning of the load test, and the number of tries for them.
SOUND_RUNS, TRIES = 3, 6
# Small enough that stalled subscribers reach it in their half of the time.
OUTBOX_BYTES = 32_768
RATIO = 1.25
ACCOUNTS = ("belfry_messages_routed_total", "belfry_deliveries_total", "belfry_messages_conflated_total", "belfry_messages_dropped_total")
MIB = 1 << 20


def stalled_sessions(long):
    """100 of 1,000 subscribers stall for 10 s at 100 messages a second: the others' p99 against 20 s without; on one core."""
    if not long:
        raise Skipped("takes a machine of its own; only with --long")
    if not LOADTEST.exists():
        raise Skipped(f"needs {LOADTEST}, of cargo build --release --workspace")
    sizes = ["-n", str(SESSIONS), "-r", str(PER_SECOND), "-d", str(SECONDS), "-p", str(PAYLOAD_BYTES)]
    command = [LOADTEST, "slow", *sizes, "--pin", "--start", BINARY, "--set", f"limits.outbox_bytes={OUTBOX_BYTES}", "--json"]
    reports = []
    for _ in range(TRIES):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.stdout.startswith("{"), f"the load test ended with {done.returncode}: {done.stderr[-300:]}"
        report = json.loads(done.stdout)
        assert done.returncode == 0, f"the load test's own checks failed: {report['failures']} {report['verdict']}"
        reports.append(report)
        if sum(not report["warnings"] for report in reports) == SOUND_RUNS:
            break
    # If the load test warns of too many runs, the ratio is reported and not checked.
    sound = [report for report in reports if not report["warnings"]]
    ratios = sorted(ratio(report["figures"]) for report in sound or reports)
    median = ratios[len(ratios) // 2]
    assert len(sound) < SOUND_RUNS or median <= RATIO, f"p99 of the other subscribers, during the stalls against before: {ratios}"
    report = reports[-1]
    figures, metrics = report["figures"], report["metrics"]
    _, resident = report["server"]["resident_bytes"]
    assert resident <= SESSIONS * OUTBOX_BYTES + 64 * MIB, f"{resident / MIB:.0f} MiB resident"
    routed, delivered, conflated, dropped = (int(metrics.get(name, 0)) for name in ACCOUNTS)
    assert routed == delivered + conflated + dropped, f"{routed} routed, {delivered} delivered, {conflated} conflated, {dropped} dropped"
    stalled, closed = int(figures["stalled_sessions"]), int(figures["closed_sessions"])
    assert figures["recovered_sessions"] == stalled == closed, f"{stalled} stalled, {closed} were closed, {figures['recovered_sessions']} returned and recovered"
    return (
        f"{stalled} of {SESSIONS} stalled, {closed} of them closed with 4004 and recovered; {routed} routed = {delivered} delivered + {conflated} conflated + "
        f"{dropped} dropped; p99 of the others {median:.2f} × ({ratios[0]:.2f}–{ratios[-1]:.2f}, {len(sound)} of {len(reports)} runs sound), "
        f"{resident / MIB:.0f} MiB resident"
    )


def ratio(figures):
    """The other subscribers' p99 while some stall and return, divided by their p99 before."""
    return figures["troubled_p99_us"] / figures["calm_p99_us"]
