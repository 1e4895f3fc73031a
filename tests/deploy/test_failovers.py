"""deploy/failovers.py: what nodes tell of their elections, read and put in order."""

import pytest

from chaos.resp import ErrorReply, Reply
from chaos.topology import Address, BadView
from deploy.failovers import parse_accounts

NODE = Address("127.0.0.1", 7000)


def test_accounts_are_read() -> None:
    reply: Reply = [[b"time", 5, b"outcome", b"won", b"took-ms", 23, b"waited-ms", -1]]
    (told,) = parse_accounts(NODE, reply)
    assert (told.node, told.unix_ms, told.text("outcome")) == (NODE, 5, "won")
    assert (told.ms("took-ms"), told.ms("waited-ms"), told.ms("missing")) == ("23 ms", "", "")


def test_a_router_tells_nothing() -> None:
    assert parse_accounts(NODE, ErrorReply("ERR CLUSTER FAILOVER-LOG is for nodes that hold data")) == []


@pytest.mark.parametrize("reply", [b"OK", [b"x"], [[b"odd"]], 7])
def test_anything_else_is_no_account(reply: Reply) -> None:
    with pytest.raises(BadView):
        parse_accounts(NODE, reply)
