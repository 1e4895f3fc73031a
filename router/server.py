"""The composition root of a router: an engine without slots, a pump, and a seat in gossip.

    options -> directory lock, gossip -> engine, commands -> sockets bound -> pump -> ready

A router is a member like any other, of kind `router`: it hears every change within the time gossip needs, it
votes (it is a good witness, because it holds no data and dies with no shard), and it serves clients with the
very engine and pump of a node. It owns no slot, so the engine redirects each keyed command, in C, by the table
of owners that `_follow_topology` keeps true.
"""

import argparse
import logging
import random
import secrets
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import trio

from gossip.config import GossipConfig
from gossip.service import SelfMeta, Service
from gossip.slots import SLOT_COUNT
from gossip.state import StateError
from node.commands import all_commands
from node.commands.table import CommandTable
from node.config import Config, ConfigError
from node.context import InfoSection
from node.engine.engine import Engine
from node.engine.pump import Pump, boottime_ms
from node.engine.room import install_compiled
from node.info import Meter
from node.server import StartError, drive_pump, follow_config, listening, log_broken_command, stop_on_signals
from node.version import GRAPEVINE_VERSION
from router.commands import router_commands
from router.routes import routes_of

log = logging.getLogger("grapevine.router")

METER_INTERVAL_S = 0.1
