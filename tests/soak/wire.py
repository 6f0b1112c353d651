"""A connection to jobpoold for those who send a lot: requests in one write, replies by a small parser.

A stock Redis client does the same (the other stories use one); this one costs a tenth, so that the daemon is what is loaded.
"""

import socket

DEADLINE = 300  # seconds without a byte: longer than any pause of a queue, any hold and any slow reader
PIPELINE = 400  # requests; the daemon works on at most 1024 of a connection at a time


class Refused(Exception):
    """An error reply: code and message."""

    @property
    def code(self):
        return str(self).split(" ", 1)[0]


def encode(words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def as_map(flat):
    return dict(zip(flat[::2], flat[1::2]))


class Connection:
    def __init__(self, path, receive_buffer=None):
        self._socket = socket.socket(socket.AF_UNIX)
        if receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(DEADLINE)
        self._socket.connect(path)
        self._file = self._socket.makefile("rb", receive_buffer or 1 << 16)

    def close(self):
        self._file.close()
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, requests):
        self._socket.sendall(b"".join(map(encode, requests)))

    def send_cut(self, requests):
        """All of them but the last byte: the last request never arrives."""
        self._socket.sendall(b"".join(map(encode, requests))[:-1])

    def reply(self):
        """The next reply; an error is returned as Refused, not raised."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("jobpoold closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        return rest if kind == b"+" else Refused(rest.decode(errors="replace"))

    def ask(self, *words):
        self.send([words])
        reply = self.reply()
        if isinstance(reply, Refused):
            raise reply
        return reply

    def ask_all(self, requests):
        """Their replies in order, errors among them as Refused."""
        replies = []
        for first in range(0, len(requests), PIPELINE):
            part = requests[first:first + PIPELINE]
            self.send(part)
            replies += [self.reply() for _ in part]
        return replies

    def ask_map(self, *words):
        return as_map(self.ask(*words))

    def list(self, *filters):
        """Every job of a LIST, as maps."""
        cursor = b"0"
        while True:
            cursor, jobs = self.ask("LIST", *filters, "CURSOR", cursor, "COUNT", 500)
            yield from map(as_map, jobs)
            if int(cursor) == 0:
                return
