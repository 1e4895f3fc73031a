"""What is asked of a cluster while faults happen, and the record of every answer."""
