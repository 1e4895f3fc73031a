"""A blocking connection for what benchmarks do aside from the load: set up, ask how far, take a full sync."""

import socket
from collections.abc import Sequence
from typing import Final

REPLY_S: Final = 60.0
MARK_BYTES: Final = 40  # of the mark that ends a snapshot of unknown length
PIECE_BYTES: Final = 1 << 20


class Refused(Exception):
    """The server answered with an error; the text is its own."""


def command(*words: bytes) -> bytes:
    """A command as clients send it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Client:
    """One connection that pipelines."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=REPLY_S)
        self._replies = self._socket.makefile("rb")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, commands: Sequence[bytes]) -> list[bytes | None]:
        """Sends commands together; what is no bulk string comes as its line, an array as its first one.

        Raises:
            Refused: one of the replies is an error, or the connection ended.
        """
        self._socket.sendall(b"".join(commands))
        return [self._reply() for _ in commands]

    def _reply(self) -> bytes | None:
        line = self._replies.readline()
        if line[:1] == b"$":
            size = int(line[1:])
            return None if size < 0 else self._replies.read(size + 2)[:-2]
        if line[:1] == b"-" or not line:
            raise Refused(line[1:].decode("utf-8", "replace").strip() or "the connection ended")
        if line[:1] == b"*":
            for _ in range(int(line[1:])):
                self._reply()
        return line.strip()

    def knows(self, *words: bytes) -> bool:
        """Whether the server has this command; it is called with these words."""
        try:
            self.ask([command(*words)])
        except Refused as refused:
            return "unknown command" not in str(refused)
        return True

    def info(self, section: str) -> dict[str, str]:
        """The fields of one section of INFO."""
        text = (self.ask([command(b"INFO", section.encode())])[0] or b"").decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def integer(self, *words: bytes) -> int:
        """The reply of a command that answers a number."""
        return int((self.ask([command(*words)])[0] or b":-1")[1:])

    def full_sync(self) -> int:
        """Asks for everything, as a replica does, and throws it away; returns how many bytes came."""
        self.ask([command(b"REPLCONF", b"capa", b"eof", b"capa", b"psync2")])
        self._socket.sendall(command(b"PSYNC", b"?", b"-1"))
        head = self._replies.readline()
        while not head.startswith(b"$EOF:"):  # empty lines keep the link alive until the snapshot begins
            if head[:1] == b"-" or not head:
                raise Refused(head[1:].decode("utf-8", "replace").strip() or "the connection ended")
            head = self._replies.readline()
        mark = head[5:].strip()
        tail, count = b"", 0
        while not tail.endswith(mark):
            piece = self._replies.read1(PIECE_BYTES)
            if not piece:
                raise Refused("the connection ended in the middle of a snapshot")
            count += len(piece)
            tail = (tail + piece)[-MARK_BYTES:]
        return count - MARK_BYTES

    def close(self) -> None:
        self._replies.close()
        self._socket.close()
