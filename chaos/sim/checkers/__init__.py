"""What must never be. Each checker is told what happened and raises `Violation`; none knows the simulator."""


class Violation(Exception):
    """A promise was broken. The text says which, where, and by whom."""
