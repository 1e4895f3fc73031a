"""Which faults, in which order, and what is reported. One module per kind of scenario."""
