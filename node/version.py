"""What we say we are."""

from typing import Final

GRAPEVINE_VERSION: Final = "0.1.0"  # a test keeps it equal to pyproject.toml's
# Clients choose commands by this number; we speak the protocol and the command set of that version.
REDIS_VERSION: Final = "7.2.4"
