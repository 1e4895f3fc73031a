"""Replication: cores that decide, thin trio shells that talk."""
