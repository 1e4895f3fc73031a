from node.engine.keyspace import Keyspace

def audit(keyspace: Keyspace) -> list[str]:
    """Walks everything and says, a line each, where counts, bytes or bounds are wrong; empty when none is.

    Takes as long as reading every entry once, in one go.
    """
