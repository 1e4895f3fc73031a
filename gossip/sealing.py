"""Sealing: with a gossip key, every message is encrypted and authenticated (AES-GCM), and only then decoded.

      0      1      2          6            14          18                                   length - 16
    +------+------+----------+------------+-----------+------------------------------------+--------------+
    | 0xC1 | kind | key id   | sender's   | counter   | the message, encrypted             | tag          |
    |      |      | 4 bytes  | life, 8    | 4 bytes   |                                    | 16 bytes     |
    +------+------+----------+------------+-----------+------------------------------------+--------------+
     \\____ associated _____/ \\_______ nonce _______/      associated too, but not sent: the cluster id

0xC1 begins no msgpack value, so a sealed message and a plain one are told apart by their first byte. The key
id (the start of the key's SHA-256) finds the key in the ring without trying them all. The cluster id is
associated: what was sealed for another cluster does not open here, though both use one key. Only a meeting of
two clusters is sealed for nobody in particular, and says so in `kind`.

**Keyring.** The first key seals, every key opens. To change the key under way: add the new one behind the
old at every member; put it first at every member; drop the old one. At each step everybody opens what
anybody may seal. `none` in place of a key stands for plain messages, so encryption itself comes and goes in
the same three steps.

**Nonces.** With AES-GCM a nonce must never be used twice under one key, by no member. Each life of each
member draws 64 random bits, counts 32 more up from zero, and draws again when they are used up. With a
million lives under one key the odds that two drew the same are 1 : 37 million. Rejected: 96 random bits
each time, whose limit of 2^32 messages a cluster of 1,000 reaches in a day. A virtual machine that is
copied while it runs repeats its nonces: restart Grapevine in the copy.

**Replay.** A datagram that was recorded and is sent again opens, of course. Within a sender's life it is
dropped: a window of the last 1,024 counters tells what came already. Beyond (the sender's earlier lives, or
after our own restart) it passes, and does no more than a network that delivers late and twice, which every
core here has to stand: claims carry incarnations, answers the question's number or ballot, grants the
moment they were asked for. An old request for a lease may make a voter wait for a primary that is gone, one
lease for each packet sent again: whoever can do that could as well drop our packets. Frames on a connection
are not checked: they come in order, and a connection of its own is what an attacker would open.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gossip.errors import PeerError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SEALED: Final = 0xC1
DATAGRAM, FRAME, MEETING = 1, 2, 3
ID_BYTES: Final = 4
LIFE_BYTES: Final = 8
COUNTER_BYTES: Final = 4
TAG_BYTES: Final = 16
HEADER_BYTES: Final = 2 + ID_BYTES
NONCE_BYTES: Final = LIFE_BYTES + COUNTER_BYTES
OVERHEAD_BYTES: Final = HEADER_BYTES + NONCE_BYTES + TAG_BYTES
KEYS_MAX: Final = 16
WINDOW: Final = 1_024
LIVES_MAX: Final = 16_384  # twice the members there can be; the longest silent are forgotten first


class KeyringError(ValueError):
    """The keys cannot be used. The text says where and why, and never what the key is."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """Attributes:
    keys: of 16, 24 or 32 bytes; None stands for plain messages. The first seals.
    """

    keys: tuple[bytes | None, ...] = (None,)

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= KEYS_MAX:
            raise KeyringError(f"a keyring has 1 to {KEYS_MAX} keys, not {len(self.keys)}")
        for number, key in enumerate(self.keys, 1):
            if key is not None and len(key) not in (16, 24, 32):
                raise KeyringError(f"key {number} has {len(key)} bytes: 16, 24 or 32 are needed")
        if len(dict.fromkeys(self.keys)) != len(self.keys):
            raise KeyringError("a key stands in the keyring twice")

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """From the lines of a key file: a key in hexadecimal or `none` each; # begins a comment.

        Raises:
            KeyringError: names the line.
        """
        keys: list[bytes | None] = []
        for number, line in enumerate(text.splitlines(), 1):
            word = line.partition("#")[0].strip()
            if word == "none":
                keys.append(None)
            elif word:
                try:
                    keys.append(bytes.fromhex(word))
                except ValueError:
                    raise KeyringError(
                        f"line {number} is no key: write 32, 48 or 64 hexadecimal digits, or none"
                    ) from None
        if not keys:
            raise KeyringError(
                "there is no key in it: write 32, 48 or 64 hexadecimal digits on a line, or none"
            )
        return cls(tuple(keys))

    def __str__(self) -> str:
        """For the log: the keys' ids, the sealing one first."""
        return ", ".join("none" if key is None else key_id(key).hex() for key in self.keys)


PLAIN: Final = Keyring()


def key_id(key: bytes) -> bytes:
    """What is told about a key in each message."""
    return hashlib.sha256(b"grapevine gossip key " + key).digest()[:ID_BYTES]


@dataclass(slots=True)
class _Heard:
    """Counters that came from one life: the highest, and a bit for each of the WINDOW below it."""

    highest: int = -1
    seen: int = 0

    def first_time(self, counter: int) -> bool:
        ahead = counter - self.highest
        if ahead > 0:
            self.seen = ((self.seen << ahead) | 1) & ((1 << WINDOW) - 1) if ahead < WINDOW else 1
            self.highest = counter
            return True
        if -ahead >= WINDOW or self.seen >> -ahead & 1:
            return False
        self.seen |= 1 << -ahead
        return True


@dataclass(slots=True)
class Seal:
    """Closes and opens the messages of one member.

    Args:
        draw: random bytes of that number, from the operating system; called at the start and after every
            2^32 messages.
    """

    draw: Callable[[int], bytes]
    _plain_opens: bool = True
    _closing: tuple[bytes, "AESGCM"] | None = None
    _forged: type[Exception] = ValueError
    _opening: dict[bytes, "AESGCM"] = field(default_factory=dict)
    _life: bytes = b""
    _counter: int = 0
    _heard: OrderedDict[bytes, _Heard] = field(default_factory=OrderedDict)

    def use(self, keyring: Keyring) -> None:
        """From now on these keys. What was heard is remembered: a change of keys opens no door to replays."""
        ciphers: dict[bytes, AESGCM] = {}
        if any(key is not None for key in keyring.keys):
            # Not at the top: its library takes some MB, which a cluster without keys need not pay.
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415
            from cryptography.hazmat.primitives.ciphers import aead  # noqa: PLC0415

            self._forged = InvalidTag
            ciphers = {key_id(key): aead.AESGCM(key) for key in keyring.keys if key is not None}
        self._opening = ciphers
        self._plain_opens = None in keyring.keys
        first = keyring.keys[0]
        self._closing = None if first is None else (key_id(first), ciphers[key_id(first)])

    @property
    def seals(self) -> bool:
        """Whether what we send is sealed."""
        return self._closing is not None

    def close(self, data: bytes, cluster: str, kind: int) -> bytes:
        """`data` as it leaves: sealed, or as it is when plain messages are what the ring says."""
        if self._closing is None:
            return data
        name, cipher = self._closing
        if self._counter >> (8 * COUNTER_BYTES) or not self._life:
            self._life, self._counter = self.draw(LIFE_BYTES), 0
        nonce = self._life + self._counter.to_bytes(COUNTER_BYTES, "big")
        self._counter += 1
        header = bytes((SEALED, kind)) + name
        return header + nonce + cipher.encrypt(nonce, data, _associated(header, cluster))

    def open(self, data: bytes, cluster: str, *, datagram: bool) -> tuple[bytes, int | None]:
        """The message in `data`, and the kind that was sealed, None for a plain one.

        Raises:
            PeerError: 'plain': not sealed, though it has to be. 'key': sealed with a key that we do not have.
                'seal': cut off, altered, or of another cluster. 'replay': it came before.
        """
        if not data or data[0] != SEALED:
            if not self._plain_opens:
                raise PeerError("plain", "it is not sealed, and gossip has a key here")
            return data, None
        if len(data) < OVERHEAD_BYTES:
            raise PeerError("seal", f"{len(data)} bytes are no sealed message")
        kind, name = data[1], data[2:HEADER_BYTES]
        cipher = self._opening.get(name)
        if cipher is None:
            held = "we have others" if self._opening else "we have none"
            raise PeerError("key", f"sealed with gossip key {name.hex()}, {held}")
        if datagram != (kind == DATAGRAM):
            raise PeerError("seal", f"a message of kind {kind} came the wrong way")
        nonce = data[HEADER_BYTES : HEADER_BYTES + NONCE_BYTES]
        associated = _associated(data[:HEADER_BYTES], cluster)
        try:
            opened: bytes = cipher.decrypt(nonce, data[HEADER_BYTES + NONCE_BYTES :], associated)
        except self._forged:
            raise PeerError("seal", "it was altered, or sealed for another cluster") from None
        if kind == DATAGRAM:
            self._note(nonce)
        return opened, kind

    def _note(self, nonce: bytes) -> None:
        life, counter = nonce[:LIFE_BYTES], int.from_bytes(nonce[LIFE_BYTES:], "big")
        heard = self._heard.get(life)
        if heard is None:
            if len(self._heard) >= LIVES_MAX:
                self._heard.popitem(last=False)
            heard = self._heard[life] = _Heard()
        else:
            self._heard.move_to_end(life)
        if not heard.first_time(counter):
            raise PeerError("replay", "it came before")


def _associated(header: bytes, cluster: str) -> bytes:
    return header if header[1] == MEETING else header + bytes.fromhex(cluster)
