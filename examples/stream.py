"""Prints quotes from server-sent events, without a library: python stream.py [url] [topics]"""
import http.client
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

base = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8765"
topics = sys.argv[2] if len(sys.argv) > 2 else "quotes.AAPL,quotes.MSFT"
url = f"{base}/sse?topics={urllib.parse.quote(topics, safe=',')}&last=1"
last_id, retry = None, 2.0  # The position in the stream, and the seconds before a reconnect.


def read(stream):
    """Prints the messages of one stream, until it ends."""
    global last_id, retry
    name, data = "message", []
    for line in stream:
        field, _, value = line.decode().rstrip("\n").partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            last_id = value
        elif field == "retry":
            retry = int(value) / 1000
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not field and not value:  # An empty line ends an event. A line that begins with a colon is a comment.
            if data and name == "message":
                message = json.loads("\n".join(data))
                print(message["topic"], message["offset"], json.dumps(message["data"]), flush=True)
            elif data:
                print(name, "\n".join(data), file=sys.stderr, flush=True)
            name, data = "message", []


while True:
    request = urllib.request.Request(url, headers={"Accept": "text/event-stream"})
    if last_id:
        request.add_header("Last-Event-ID", last_id)  # Missed messages are replayed first, in order, each once.
    try:
        with urllib.request.urlopen(request, timeout=60) as stream:  # The gateway sends a heartbeat after 25 seconds of silence.
            read(stream)
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code}: {error.read().decode()}")
    except (OSError, http.client.HTTPException) as error:
        print(f"{base}: {error} (`belfry serve` starts a gateway)", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        break
    time.sleep(retry)
