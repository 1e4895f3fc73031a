from node.engine.keyspace import Keyspace

def digest(keyspace: Keyspace) -> int:
    """64 bits for everything in all databases that has not expired.

    Nothing else runs meanwhile: about 100 ns an entry.
    """
