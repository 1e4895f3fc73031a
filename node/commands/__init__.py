"""One module per command family; `table` says name, arity, flags, key positions, handler."""
