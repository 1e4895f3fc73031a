"""What goes wrong because of others."""


class PeerError(Exception):
    """A stranger or a peer sent something we do not accept. Never our fault.

    Attributes:
        reason: stable, countable: 'size', 'malformed', 'version', 'cluster', 'type', and with a gossip key
            'plain', 'key', 'seal', 'replay' (sealing.py).
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
