"""One stable address for a cluster: tells clients where their keys are. Holds none itself.

routes     the decided topology as the engine's table of owners (pure)
commands   which of a node's commands a router answers, and what it says to the others
server     the composition root: engine, pump, gossip
"""
