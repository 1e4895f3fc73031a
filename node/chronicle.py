"""Tells of elections: completes their accounts with what others know, and writes each to the log once.

The accounts themselves are the election's (node/accounts.py); CLUSTER FAILOVER-LOG answers from them.
"""

from __future__ import annotations

import json
import logging

from gossip.membership import Membership
from gossip.topology import shard_register
from node.accounts import Account
from node.election import Election

log = logging.getLogger("grapevine.cluster")


class Chronicle:
    """Of one node."""

    def __init__(self, election: Election, service: Membership) -> None:
        self._election = election
        self._service = service
        self._unserved: Account | None = None  # of an election we won, before our first lease

    def look(self, now_ms: int) -> None:
        """Gossip may have news of our primary."""
        self._election.note_accusers(self._service.accusers(self._election.shard.primary), now_ms)

    def tell(self, now_ms: int, unix_ms: int, *, serves: bool) -> None:
        """Looks for elections that ended.

        Args:
            serves: we lead and have a lease.
        """
        for account in self._election.take_ended():
            account.unix_ms = unix_ms - (now_ms - account.noticed_ms)
            if account.won and account.stood_ms >= 0:
                account.accepted_by = self._service.accepted_by(shard_register(account.shard_id))
            if account.won:
                self._unserved = account
            else:
                _write(account)
        if self._unserved is not None and (serves or not self._election.leads):
            if serves:
                self._unserved.served_ms = now_ms
            _write(self._unserved)
            self._unserved = None

    def returned(self, member_id: str, dropped_bytes: int) -> None:
        """A replica came back to the history we took over: what only it had of that is gone."""
        won = [account for account in self._election.accounts if account.won]
        if won and won[-1].old_primary == member_id:
            won[-1].discarded_bytes = dropped_bytes
            log.info(
                "shard %s: %s came back and drops %d bytes of the stream that nobody else has",
                won[-1].shard_id,
                member_id,
                dropped_bytes,
            )


def _write(account: Account) -> None:
    """The event line: what CLUSTER FAILOVER-LOG answers, as one JSON object."""
    log.info("failover %s", json.dumps(dict(account.fields())))
