"""One stable address: discovery and MOVED answers for a whole cluster."""
