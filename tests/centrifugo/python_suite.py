#!/usr/bin/env python3
"""Runs centrifuge-python's own test suite with a real gateway: tests/centrifugo/python_suite.py FOLDER [--cluster]

FOLDER has the source distribution of centrifuge-python 0.7.0. The gateway is $BELFRY, or target/release/belfry. With
`--cluster` the suite's channels are in a stream of a NATS server, which is $NATS_SERVER, or nats-server on the path.
"""

import argparse
import contextlib
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "harness"), str(ROOT / "tests" / "cluster")]
sys.dont_write_bytecode = True

from process import Process, until  # noqa: E402
from servers import Servers  # noqa: E402

NAME = "centrifuge_python-0.7.0"
TESTS = 185
SECONDS = 300  # for a suite that hangs
# The configuration of the suite's server, from docker-compose.yml of https://github.com/centrifugal/centrifuge-python.
CONFIG = """
[auth]
require_exp = false
keys = [{ algorithm = "HS256", secret = "secret" }]
authenticated = { subscribe = ["#{user}"], publish = ["#{user}"] }
[centrifugo]
personal = "#{user}"
[[topics]]
match = "smallhistory:>"
history = 2
on_slow = "disconnect"
publish_for_subscribers = true
[[topics]]
match = ">"
history = 100
history_ttl = "300s"
presence = true
join_leave = "push"
publish_for_subscribers = true
"""
# The stream of the channels, whose names begin with a token of the stream's own.
CLUSTER = """
[cluster]
urls = ["URL"]
[[cluster.streams]]
name = "SUITE"
match = "suite.>"
replicas = 1
storage = "memory"
"""
CHANNEL = re.compile(r'(f?")([a-z_]\w*(?:\{i\}\w*)?)("(?:,)? \+ uuid\.uuid4\(\)\.hex)')
CHANNELS = 10  # the least number of channels that `CHANNEL` must match
# One test uses the offset as a list index, but a stream's offsets have holes.
BY_OFFSET = ("futures[ctx.pub.offset - 1]", "[future for future in futures if not future.done()][0]")


def unpack(folder, address, clustered):
    """Unpacks the suite, and replaces its server's address, and with `clustered` its channels' names."""
    suite = folder / NAME
    shutil.rmtree(suite, ignore_errors=True)
    with tarfile.open(folder / f"{NAME}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    for file in (suite / "tests").glob("*.py"):
        text = file.read_text().replace("localhost:8000", address)
        if clustered and file.name == "test_client.py":
            text, renamed = CHANNEL.subn(r"\1suite.\2\3", text)
            assert renamed >= CHANNELS and BY_OFFSET[0] in text, f"{renamed} channels were renamed"
            text = text.replace(*BY_OFFSET)
        file.write_text(text)
    return suite


def main():
    arguments = argparse.ArgumentParser(description="runs centrifuge-python's own suite")
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--cluster", action="store_true", help="uses a stream for its channels")
    chosen = arguments.parse_args()
    with contextlib.ExitStack() as stack:
        config = CONFIG
        if chosen.cluster:
            (url,) = stack.enter_context(Servers(1)).urls
            # The stream's rule comes first, with the settings of the rule for all channels.
            last_rule = CONFIG[CONFIG.index('match = ">"') :]
            config = CONFIG.replace("[[topics]]", "[[topics]]\n" + last_rule.replace('">"', '"suite.>"') + "[[topics]]", 1) + CLUSTER.replace("URL", url)
        gateway = stack.enter_context(Process(config))
        until("the gateway is ready", lambda: gateway.status("/readyz") == 200, 10)
        suite = unpack(chosen.folder, f"{gateway.host}:{gateway.port}", chosen.cluster)
        command = [sys.executable, "-m", "unittest", "discover", "-s", "tests"]
        done = subprocess.run(command, cwd=suite, capture_output=True, text=True, timeout=SECONDS)
        ran = re.search(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)
        if done.returncode != 0 or ran is None or int(ran[1]) != TESTS:
            print(done.stderr[-20_000:])
            sys.exit(f"centrifuge-python's suite: status {done.returncode}, {ran[0] if ran else 'no tests'}; {TESTS} must pass")
        if chosen.cluster:
            received = gateway.total("cluster_received_total")
            assert received > TESTS / 4, f"the stream had only {received} messages"
        print(f"centrifuge-python's suite{' with a stream' if chosen.cluster else ''}: {TESTS} tests passed")


if __name__ == "__main__":
    main()
