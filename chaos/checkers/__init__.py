"""What the record of a run says. Pure functions: a history in, findings out."""
