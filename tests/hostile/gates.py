"""Access by address, name and key, and the contents of answers."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

from client import ADDRESS, Refused, Session, dial, exchange
from outcome import Outcome
from process import BINARY
from stage import Gateway, certificate_files
from witness import Witness

PROXY = "127.0.0.2"


def chosen_address():
    """Behind a proxy that sets `X-Forwarded-For`, a client can't choose its address by a `Forwarded` of its own."""
    outcome = Outcome()
    settings = [f'server.trusted_proxies=["{PROXY}"]', "limits.sessions_per_address=5"]
    named = [*settings, "server.client_address_header=x-forwarded-for"]
    try:
        gateway = Gateway(settings=named)
    except AssertionError:
        outcome.true("server.client_address_header is a key", False)
        gateway = Gateway(settings=settings)
    with gateway:
        opened, refused = [], 0
        for number in range(12):
            try:
                headers = ("X-Forwarded-For: 198.51.100.7", f"Forwarded: for=203.0.113.{number}")
                opened.append(Session(gateway, address=PROXY, headers=headers))
            except Refused as error:
                refused += error.status == 429
        outcome.equal("sessions of one address (five are allowed)", len(opened), 5)
        outcome.equal("refused with 429", refused, 7)
    return outcome


MARK = "s3cr3tOfThisTest"
PEM = f"-----BEGIN PRIVATE KEY-----\\n{MARK}\\n-----END PRIVATE KEY-----\\n"
MISPLACED = {
    "a PEM as a public key's file": f'[auth]\nkeys = [{{ public_key = "{PEM}" }}]\n',
    "a PEM as a JWKS file": f'[auth]\nkeys = [{{ jwks = "{PEM}" }}]\n',
    "a PEM as TLS files": f'[server]\ntls = {{ cert = "{PEM}", key = "{PEM}" }}\n',
    "a secret as an algorithm": f'[auth]\nkeys = [{{ algorithm = "{MARK}", secret = "x" }}]\n',
    "a secret as an unknown key's value": f'[auth]\nkeys = [{{ sekret = "{MARK}" }}]\n',
    "a secret as an unknown key": f"[auth.keys]\n{MARK} = 1\n",
    "a secret in a list": f'[auth]\nkeys = ["{MARK}"]\n',
    "a secret as the keys": f'[auth]\nkeys = "{MARK}"\n',
    "an API key with a space": f'[auth]\napi_keys = [{{ name = "a", key = "{MARK} {MARK}" }}]\n',
    "an API key without quotes": f"[auth]\napi_keys = [{{ name = \"a\", key = {MARK} }}]\n",
    "an API key as its rights": f'[auth]\napi_keys = [{{ name = "a", key = "k", admin = "{MARK}" }}]\n',
    "a secret where a number belongs": f'[auth]\napi_keys = [{{ name = "a", key = "k", commands_per_second = "{MARK}" }}]\n',
}


def told_secrets():
    """No message shows a PEM or a secret in a wrong place of a file, of `--set` or of the environment."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "belfry.toml"
        shown = []
        for name, text in MISPLACED.items():
            file.write_text(text)
            file.chmod(0o600)
            done = subprocess.run([BINARY, "check", "--config", file], capture_output=True, text=True)
            if MARK in done.stdout + done.stderr:
                shown.append(name)
            if done.returncode == 0:
                outcome.record(name, "is accepted", False)
        environment = os.environ | {"BELFRY__AUTH__KEYS": f'[{{ sekret = "{MARK}" }}]'}
        done = subprocess.run([BINARY, "serve", "--listen", "127.0.0.1:0"], capture_output=True, text=True, env=environment, timeout=20)
        if MARK in done.stdout + done.stderr:
            shown.append("a variable")
        setting = f'auth.keys=[{{ secret = "{MARK}", algorithm = "{MARK}" }}]'
        done = subprocess.run([BINARY, "serve", "--listen", "127.0.0.1:0", "--set", setting], capture_output=True, text=True, timeout=20)
        if MARK in done.stdout + done.stderr:
            shown.append("--set")
    outcome.equal("places whose secret is shown", shown, [])
    return outcome


def lost_tls():
    """A reload with an empty file, or with one without `tls`, never leads to plain HTTP."""
    outcome = Outcome()
    certificate, key = certificate_files()
    without_tls = '[auth]\nanonymous = { subscribe = ["chat.>"], publish = ["chat.>"] }\n'
    whole = f'[server]\ntls = {{ cert = "{certificate}", key = "{key}" }}\n' + without_tls
    with Gateway(whole, own_tls=True) as gateway:
        for name, text in (("an empty file", ""), ("a file without tls", without_tls)):
            gateway.reload(text)
            plain = 0
            deadline = time.monotonic() + 1
            while time.monotonic() < deadline and not plain:
                plain = plain_status(gateway)
                time.sleep(0.1)
            outcome.equal(f"plain HTTP after {name}", plain, 0)
            try:
                outcome.equal("TLS", gateway.request("GET", "/healthz")[0], 200)
            except OSError as error:
                outcome.equal("TLS", str(error), 200)
            gateway.reload(whole)
            time.sleep(0.3)
    return outcome


def plain_status(gateway):
    gateway.tls = False
    try:
        own = dial(gateway, ADDRESS)
        own.settimeout(1)
        return exchange(own, "GET", "/healthz")[0]
    except Exception:  # no response, as expected
        return 0
    finally:
        gateway.tls = True


def weak_keys():
    """`belfry check` warns of an admin key of one digit, and of a file that every user may read."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "belfry.toml"
        file.write_text('[auth]\napi_keys = [{ name = "ops", key = "7", admin = true }]\n')
        file.chmod(0o644)
        done = subprocess.run([BINARY, "check", "--config", file], capture_output=True, text=True)
        output = done.stdout + done.stderr
        outcome.true("a warning of the short key", re.search(r"api_keys.*(short|bytes|characters)", output))
        outcome.true("a warning of the file's mode", re.search(r"0?644|read(able)? by|others", output))
    return outcome


def rebound_names():
    """DNS rebinding: requests with the `Host` and `Origin` of a name that resolves to the loopback address are refused."""
    outcome = Outcome()
    with Gateway() as gateway:
        evil = f"evil.example:{gateway.port}"
        statuses = {}
        for name, method, path, headers, body in (
            ("publish", "POST", "/v1/topics/chat.evil", (f"Origin: http://{evil}",), b"1"),
            ("page", "GET", "/", (), b""),
            ("history", "GET", "/v1/topics/chat.evil/history", (), b""),
            ("upgrade", "GET", "/ws", (f"Origin: http://{evil}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), b""),
        ):
            own = dial(gateway, ADDRESS)
            own.settimeout(10)
            own.sendall("\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {evil}", *headers, *([f"Content-Length: {len(body)}"] if body else []), "", ""]).encode() + body)
            statuses[name] = int(own.recv(1 << 16).split(b" ")[1])
        for name, status in statuses.items():
            outcome.one_of(name, status, (400, 403, 421))
        for name in ("localhost", "127.0.0.1", "[::1]"):
            outcome.equal(f"Host {name}", exchange(dial(gateway, ADDRESS), "GET", "/healthz", host=f"{name}:{gateway.port}")[0], 200)
    return outcome


def header_fields():
    """The header fields against caching, content sniffing and injected scripts."""
    outcome = Outcome()
    with Gateway() as gateway:
        gateway.publish("chat.h", 1)
        _, history, _ = exchange(dial(gateway), "GET", "/v1/topics/chat.h/history")
        outcome.true("no-store", "no-store" in history.get("cache-control", ""))
        outcome.equal("nosniff", history.get("x-content-type-options"), "nosniff")
        outcome.true("Vary: Origin", "origin" in history.get("vary", ""))
        _, page, body = exchange(dial(gateway), "GET", "/")
        policy = page.get("content-security-policy", "")
        outcome.true("the page's Content-Security-Policy without unsafe-inline", policy and "unsafe-inline" not in policy)
        outcome.true("Referrer-Policy", page.get("referrer-policy"))
        outcome.equal("the page's nosniff", page.get("x-content-type-options"), "nosniff")
    return outcome


def empty_names():
    """The answer to 63 KB of empty names is not much longer than they, and the command is charged for them."""
    outcome = Outcome()
    with Gateway() as gateway, Witness(gateway) as witness:
        with Session(gateway) as session:
            answer = session.ask(op="subscribe", topics=[""] * 21_000)
            outcome.equal("the answer", answer.get("code"), "bad_topic")
            outcome.at_most("the answer's bytes", len(json.dumps(answer)), 66_000)
            refused = [session.ask(id=number, op="ping").get("code") for number in range(2, 6)]
            outcome.equal("the next commands", set(refused), {"rate_limited"})
        witness.stop()
    outcome.check_witness(witness)
    return outcome


def transfer_codings():
    """Transfer codings that the gateway does not support are refused."""
    outcome = Outcome()
    with Gateway() as gateway:
        for coding in ("gzip, chunked", "gzip", "chunked, gzip", "identity"):
            own = dial(gateway)
            own.settimeout(10)
            own.sendall(f"POST /v1/topics/chat.te HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: {coding}\r\n\r\n1\r\nx\r\n0\r\n\r\n".encode())
            outcome.one_of(coding, int((own.recv(1 << 16) + b"  0").split(b" ")[1] or 0), (400, 411, 501))
    return outcome
