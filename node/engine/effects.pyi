DEFAULT_CAPACITY_BYTES: int
SMALLEST_CAPACITY_BYTES: int

class Effects:
    """The end of the stream that replicas follow: a ring of bytes with a 64-bit offset.

    Nothing is kept, and `offset` stands still, until `activate` is called.
    """

    active: bool
    offset: int
    """Bytes ever written: the `master_repl_offset` of INFO."""
    start: int
    """Offset of the first byte still held; `offset - start` never exceeds `capacity_bytes`."""
    database: int
    """Of the last SELECT in the stream; -1 when the next effect has to select."""
    capacity_bytes: int
    capacity_max_bytes: int
    """How far the ring grows by itself rather than overwrite what a reader still needs."""
    def __init__(self, capacity_bytes: int = ...) -> None: ...
    def activate(self) -> None:
        """Begins to record. Does nothing when it is on already."""

    def deactivate(self) -> None:
        """Frees what is held. The offset stays; everything before it is gone."""

    def resize(self, capacity_bytes: int) -> None:
        """Keeps as much of the end of the stream as that. What is too much is freed bit by bit."""

    def release_some(self) -> bool:
        """Frees a few of the blocks that nobody can ask for any more; True when there are more of them."""

    @property
    def held_bytes(self) -> int:
        """The memory that is taken now, for what has been written."""

    def limit_growth(self, capacity_max_bytes: int) -> None:
        """How far the ring may grow for its readers; never below its present size."""

    def hold_for_syncs(self, offset: int | None) -> None:
        """The oldest byte that a full sync in progress will continue with; None: there is none."""

    def hold_for_feeds(self, offset: int | None) -> None:
        """The oldest byte that some replica was not sent yet; None: there is none. The pump does this itself;
        this is for who drives sessions without one."""

    @property
    def oldest_needed(self) -> int:
        """The oldest byte that some reader needs; `offset` when all have everything."""

    def append(self, database: int, args: list[bytes]) -> None:
        """Writes one command, preceded by SELECT when the database changes. Nothing while not active.

        Raises:
            TypeError: an argument is not bytes; nothing was written.
            ValueError: no arguments, or a negative database; nothing was written.
        """

    def append_raw(self, data: bytes) -> None:
        """Writes bytes that are a stream already: what a replica passes on to its own replicas.

        Raises:
            ValueError: the ring is not active.
        """

    def select_again(self) -> None:
        """Makes the next effect carry a SELECT: somebody is about to join the stream here."""

    def reset(self, offset: int) -> None:
        """Forgets the stream; the next byte written has the number `offset`."""

    def can_continue_from(self, offset: int) -> bool:
        """True when a reader that has everything before `offset` can be served from the ring."""

    def read(self, offset: int, max_bytes: int) -> bytes | None:
        """Up to `max_bytes` from `offset`; empty at the end; None when the ring does not reach there."""
