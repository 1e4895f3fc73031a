KIND_NAMES: dict[int, str]

class SnapshotError(ValueError):
    """A snapshot that cannot be loaded or written; says what is wrong and where."""
