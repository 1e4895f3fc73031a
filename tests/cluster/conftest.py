"""Clusters for the tests of this room.

`cluster` is shared by the tests of one module and must be left whole by each of them; `own_cluster` is for
tests that break it for good.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.local import LocalCluster, running_cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Three shards with a replica each and a router, shared by one module."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """A cluster for one test."""
    with running_cluster(tmp_path) as running:
        yield running
