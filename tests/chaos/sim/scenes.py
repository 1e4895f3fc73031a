"""What tests of simulated clusters share."""

from chaos.sim.cluster import Machine
from chaos.sim.process import Process


def process_of(machine: Machine) -> Process:
    """The process that runs there; it must."""
    assert machine.process is not None
    return machine.process
