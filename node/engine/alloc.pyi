def keep_pages() -> None:
    """Lets malloc keep up to 32 MB of free pages that it would return after each large reply."""
