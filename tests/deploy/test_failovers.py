"""deploy/failovers.py: what nodes tell of their elections, read and put in order."""

import pytest

from chaos.resp import ErrorReply, Reply
from chaos.topology import Address, BadView
from deploy.failovers import parse_accounts
from deploy.screen import Screen

NODE = Address("127.0.0.1", 7000)


def test_accounts_are_read() -> None:
    reply: Reply = [[b"time", 5, b"outcome", b"won", b"took-ms", 23, b"waited-ms", -1]]
    (told,) = parse_accounts(NODE, reply)
    assert (told.node, told.unix_ms, told.text("outcome")) == (NODE, 5, "won")
    assert (told.ms("took-ms"), told.ms("waited-ms"), told.ms("missing")) == ("23 ms", "", "")


def test_a_router_tells_nothing() -> None:
    assert parse_accounts(NODE, ErrorReply("ERR CLUSTER FAILOVER-LOG is for nodes that hold data")) == []


def test_elections_fit_on_a_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reply: Reply = [
        [
            *(b"time", 5, b"outcome", b"won", b"old-primary", b"p" * 40, b"new-epoch", 7, b"took-ms", 123),
            *(b"reason", b"its connections were refused", b"waited-ms", 2, b"voted-ms", 99),
            *(b"lost", b"nothing acknowledged (quorum)"),
        ]
    ]
    Screen().failovers(parse_accounts(NODE, reply), {"p" * 40: "127.0.0.1:7001"})
    shown = capsys.readouterr().out
    for wanted in (
        "127.0.0.1:7000",
        "127.0.0.1:7001",
        "123 ms",
        "won",
        "refused",
        "nothing acknowledged (quorum)",
    ):
        assert wanted in shown, shown


@pytest.mark.parametrize("reply", [b"OK", [b"x"], [[b"odd"]], 7])
def test_anything_else_is_no_account(reply: Reply) -> None:
    with pytest.raises(BadView):
        parse_accounts(NODE, reply)
