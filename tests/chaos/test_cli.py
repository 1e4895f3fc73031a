"""chaos/cli.py: what is refused before anything is touched."""

import socket

import pytest

from chaos.cli import main


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--port", "7000", "--host", "192.0.2.1"], "only into nodes on this machine's loopback"),
        (["--port", "0"], "between 1 and 65535"),
        (["--port", "7000", "--rounds", "0"], "rounds=0"),
        (["--port", "7000", "--rate", "9999"], "rate=9999"),
        (["--port", "7000", "--restart-limit-s", "70"], "restart_ms=70000"),
    ],
)
def test_refused(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kill-primary", *words]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["no-such"], ["kill-primary"], ["kill-primary", "--port", "1", "--peer", "redis"]]
)
def test_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_freeze_has_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["freeze-primary", "--port", "7000", "--for-ms", "1"]) == 2
    assert "freeze_ms=1.0: between 10 and 60000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--seconds", "0"], "seconds=0"),
        (["--for-ms", "10"], "freeze_ms=10.0: between 50 and 60000"),
        (["--pause-ms", "-1"], "pause_ms=-1"),
        (["--busy", "1000"], "busy=1000: between 0 and 256"),
    ],
)
def test_a_stutter_has_bounds(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stutter", "--port", "7000", *words]) == 2
    assert text in capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert main(["kill-primary", "--port", str(port), "--seed", "5"]) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith("seed 5 ")
    assert f"127.0.0.1:{port}: Connection refused" in captured.err
