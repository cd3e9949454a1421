"""A chat in the terminal: python chat.py [nickname] [topic] [url]   (pip install websocket-client)

In the raw dialect a topic is a plain WebSocket: each message that is sent is published, and each message of others is received.
"""
import json
import sys
import threading

try:
    import websocket
except ImportError as error:
    raise SystemExit(f"{error}; run `pip install websocket-client`")

nickname = sys.argv[1] if len(sys.argv) > 1 else "python"
topic = sys.argv[2] if len(sys.argv) > 2 else "chat.lobby"
gateway = sys.argv[3] if len(sys.argv) > 3 else "ws://127.0.0.1:8765"
try:
    socket = websocket.create_connection(f"{gateway}/raw/{topic}?last=10")
except (OSError, websocket.WebSocketException) as error:
    raise SystemExit(f"no gateway at {gateway}: {error}; start one with `belfry serve`")


def show():
    for message in iter(socket.recv, ""):  # An empty text is the end.
        try:  # The built-in page sends JSON. Other clients may send plain text.
            line = json.loads(message)
            print(f"{line['nickname']}: {line['text']}", flush=True)
        except (ValueError, KeyError, TypeError):
            print(message, flush=True)


threading.Thread(target=show, daemon=True).start()
for line in sys.stdin:
    socket.send(json.dumps({"nickname": nickname, "text": line.strip()}))
socket.close()
