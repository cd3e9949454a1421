#!/usr/bin/env python3
"""Checks licences, sources and duplicate versions of all dependencies against deny.toml, without network.

Reads the output of `cargo metadata` from standard input. Prints every violation, and every exception that is not needed.
"""

import collections
import json
import pathlib
import re
import sys
import tomllib

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def is_allowed(expression, allowed):
    """Whether the allowed licences satisfy an SPDX expression, which may have the old form with slashes."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def any_of():
        met = all_of()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = all_of() or met
        return met

    def all_of():
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one():
        token = tokens.pop(0)
        if token == "(":
            met = any_of()
            tokens.pop(0)
            return met
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token += " WITH " + tokens.pop(0)
        return token in allowed

    return any_of()


def problems(metadata, deny):
    allowed = set(deny["licenses"]["allow"])
    skipped = set(deny["bans"]["skip"])
    versions = collections.defaultdict(set)
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        versions[package["name"]].add(package["version"])
        if not is_allowed(package["license"] or "none", allowed):
            yield f"{name}: the licence {package['license']!r} is not in licenses.allow"
        if package["source"] not in (None, REGISTRY):
            yield f"{name}: comes from {package['source']}; only the registry and this repository are allowed"
    doubled = {name for name, known in versions.items() if len(known) > 1}
    for name in sorted(doubled - skipped):
        yield f"{name}: has the versions {', '.join(sorted(versions[name]))}; remove one, or list the name in bans.skip"
    for name in sorted(skipped - doubled):
        yield f"{name}: is in bans.skip and has one version; remove it from the list"


def test():
    allowed = {"MIT", "ISC", "Apache-2.0 WITH LLVM-exception"}
    for expression, expected in [
        ("MIT", True),
        ("GPL-3.0", False),
        ("MIT/Apache-2.0", True),
        ("GPL-3.0 OR ISC", True),
        ("GPL-3.0 AND ISC", False),
        ("(MIT OR GPL-3.0) AND ISC", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("Apache-2.0", False),
    ]:
        assert is_allowed(expression, allowed) == expected, expression
    package = {"name": "a", "version": "1.0.0", "license": "GPL-3.0", "source": "git+https://example.com/a"}
    newer = {"name": "a", "version": "2.0.0", "license": "MIT", "source": REGISTRY}
    deny = {"licenses": {"allow": ["MIT"]}, "bans": {"skip": ["b"]}}
    assert len(list(problems({"packages": [package, newer]}, deny))) == 4


test()
root = pathlib.Path(__file__).parents[2]
found = list(problems(json.load(sys.stdin), tomllib.loads((root / "deny.toml").read_text())))
for problem in found:
    print(problem, file=sys.stderr)
sys.exit(bool(found))
