"""A client that reads and writes sockets the way the original Python client of CoreMQ does, in our own words.

What it takes for granted, and what a server therefore must do:
- the first read asks for ten bytes, and the whole header is in them;
- each read is UTF-8 by itself;
- LEN is compared with the number of characters;
- whatever frame comes next is the answer to the last request;
- an answer comes within a second.

usage: python_client.py HOST PORT HTTP_PORT
"""

import json
import socket
import sys
import threading
import urllib.request


class Client:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.id, self.welcome = self.next()

    def next(self, timeout=10):
        self.socket.settimeout(timeout)
        text = self.socket.recv(10).decode("utf-8")
        if not text:
            raise EOFError("closed")
        assert text[0] == "+", text
        header, text = text.split(" ", 1)
        length = int(header[1:])
        while len(text) < length:
            part = self.socket.recv(length - len(text)).decode("utf-8")
            if not part:
                raise EOFError("closed in a frame")
            text += part
        assert len(text) == length, (len(text), length)
        queue, message = text.split(" ", 1)
        return queue, json.loads(message)

    def send(self, queue, message):
        if isinstance(message, str):
            message = {"coremq_string": message}
        content = "%s %s" % (queue, json.dumps(message))
        self.socket.sendall(("+%d %s" % (len(content), content)).encode("utf-8"))

    def ask(self, queue, message):
        self.send(queue, message)
        return self.next()

    def command(self, name, value):
        queue, answer = self.ask(self.id, {"coremq_" + name: value})
        assert queue == self.id, queue
        return answer

    def publish(self, queue, message):
        got = self.ask(queue, message)
        assert got == (self.id, {"response": "OK: Message sent"}), got


def put(http_port, queue, data):
    body = json.dumps({"name": queue, "data": data}).encode("utf-8")
    request = urllib.request.Request("http://127.0.0.1:%d/queue/" % http_port, data=body, method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.loads(answer.read())["message"] == "HTTPMQ_PUT_OK"


def unstamped(message):
    assert isinstance(message.pop("coremq_sent"), float)
    return message.pop("coremq_sender"), message


def check(got, queue, sender, message):
    assert (got[0], unstamped(got[1])) == (queue, (sender, message)), got


def main(host, port, http_port):
    a, b = Client(host, port), Client(host, port)
    assert a.welcome == {"response": "OK: Welcome from CoreMQ!"} and a.id != b.id

    assert a.command("subscribe", ["topic", "work"]) == {"response": "OK: Subscribe successful"}
    assert a.command("subscribe", "topic") == {"response": "OK: Subscribe successful"}
    put(http_port, "work", 1)
    check(a.next(), "work", "http", {"coremq_data": 1})

    texts = ["plain", "é", "世界", "\U0001f600", "\u0000\u001f\"\\", "é" * 80000]
    for queue in ["topic", "work"]:
        for text in texts:
            b.publish(queue, text)
            check(a.next(), queue, b.id, {"coremq_string": text})
            b.publish(queue, {text: [text, {"a": None}]})
            check(a.next(), queue, b.id, {text: [text, {"a": None}]})
            put(http_port, "work", text)
            check(a.next(), "work", "http", {"coremq_string": text})

    assert b.command("options", {"echo": True}) == {"response": "OK: Options set"}
    assert b.command("subscribe", ["topic", "work"]) == {"response": "OK: Subscribe successful"}
    for queue in ["topic", "work"]:
        b.publish(queue, {"echo": 1})
        check(b.next(), queue, b.id, {"echo": 1})
        check(a.next(), queue, b.id, {"echo": 1})
    assert b.command("options", {"echo": None}) == {"response": "OK: Options set"}
    b.publish("topic", {})
    check(a.next(), "topic", b.id, {})
    assert b.command("unsubscribe", ["topic", "work"]) == {"response": "OK: Unsubscribe successful"}

    b.publish(a.id, "réponse")
    check(a.next(), a.id, b.id, {"coremq_string": "réponse"})
    b.publish(b.id, {"to": "me"})
    check(b.next(), b.id, b.id, {"to": "me"})

    for n in range(12):
        b.publish("few", {"n": n, "text": "é"})
    history = b.command("gethistory", ["few", "none"])
    assert history["response"] == history["history"] and list(history["history"]) == ["few"], history
    assert [unstamped(m) for m in history["history"]["few"]] == [(b.id, {"n": n, "text": "é"}) for n in range(2, 12)]
    status = b.command("status", True)
    assert status["connections"] == 2 and status["replicants"] == [] and "master" in status, status
    assert b.ask("x", {"coremq_subscribe": 5})[1]["response"].startswith("ERROR: ")

    # Many at once: frames back to back, none of which may be read into by the first read of the one before.
    def publish_all():
        for n in range(2000):
            b.publish("topic", {"n": n} if n % 2 else {})

    thread = threading.Thread(target=publish_all)
    thread.start()
    for n in range(2000):
        check(a.next(), "topic", b.id, {"n": n} if n % 2 else {})
    thread.join()

    print("ready", flush=True)
    assert a.next() == (a.id, {"response": "BYE"})
    assert b.next() == (b.id, {"response": "BYE"})
    try:
        raise AssertionError(a.next())
    except EOFError:
        print("done")


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
