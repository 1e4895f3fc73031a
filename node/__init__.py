"""One cache process: the engine, its commands, replication and the cluster glue."""
