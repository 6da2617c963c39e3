"""The entry: dispatch, exit codes, help, hints, and that nothing shows a traceback."""

import os
from pathlib import Path

import pytest

from onggi import __version__
from onggi.cli import dispatch as entry
from onggi.cli.commands.logs import tail_of
from onggi.cli.main import main
from onggi.cli.session import CommandError, Session, WriteError, each
from onggi.errors import CommandNotFound, Conflict


class Ask:
    def __init__(self, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.environment = {
            "HOME": str(home),
            "ONGGI_ROOT": f"{home}/root",
            "ONGGI_RUN": f"{home}/run",
        }
        self._capfd = capfd

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._capfd.readouterr()
        code = main(list(arguments), self.environment)
        out, err = self._capfd.readouterr()
        return code, out, err


@pytest.fixture
def ask(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Ask:
    return Ask(tmp_path, capfd)


def test_version(ask: Ask) -> None:
    for word in ("--version", "-v"):
        assert ask(word) == (0, f"onggi version {__version__}\n", "")


def test_a_word_that_is_nearly_a_command(ask: Ask) -> None:
    code, out, err = ask("exex")
    assert (code, out) == (1, "")
    assert err.splitlines()[:2] == [
        "onggi: unknown command: onggi exex",
        'no command "exex" – did you mean: exec',
    ]
    assert ask("frobnicate")[2].splitlines()[1] == ""
    assert "did you mean: inspect" in ask("container", "inspct")[2]


def test_in_korean(ask: Ask) -> None:
    ask.environment["LANG"] = "ko_KR.UTF-8"
    assert '"exex" 명령이 없습니다 – 혹시: exec' in ask("exex")[2]


def test_a_build_without_its_folder(ask: Ask) -> None:
    code, _, err = ask("build", "-t", "test:latest")
    lines = err.splitlines()
    assert code == 1 and lines[0] == "onggi: 'onggi build' requires 1 argument"
    assert lines[-1] == (
        "missing the build context – did you mean: onggi build -t test:latest .  "
        "(the dot is the folder that is sent)"
    )


def test_an_upper_case_tag(ask: Ask, tmp_path: Path) -> None:
    code, _, err = ask("build", "-t", "Test:Latest", str(tmp_path))
    assert code == 125 and "must be lowercase" in err and "did you mean test:latest" in err
    assert "did you mean test:latest" in ask("tag", "a", "Test:Latest")[2]


def test_a_flag_that_is_nearly_one(ask: Ask) -> None:
    code, _, err = ask("run", "--netwrk", "x", "y")
    assert code == 125 and err.splitlines()[-1] == "did you mean: --network"


def test_known_but_not_there_yet(ask: Ask) -> None:
    assert ask("swarm", "init") == (
        1,
        "",
        "onggi: command 'swarm' is not supported: "
        "onggi runs containers on one host and has no swarm\n",
    )
    assert ask("--config", "x", "ps") == (125, "", "onggi: flag --config is not supported yet\n")
    assert ask("run", "--use-api-socket", "x") == (
        125,
        "",
        "onggi: flag --use-api-socket is not supported: it is an experiment of docker's; "
        "-v SOCKET:/var/run/docker.sock gives a container the engine where that is meant\n",
    )


def test_help(ask: Ask) -> None:
    code, out, err = ask()
    assert (code, err) == (0, "") and out.startswith("Usage:  onggi [OPTIONS] COMMAND\n")
    assert ask("--help")[1] == out == ask("help")[1]
    assert ask("run", "--help")[1] == ask("help", "run")[1]
    assert ask("container")[1].startswith("Usage:  onggi container COMMAND\n")
    assert "  ls          List containers" in ask("container", "--help")[1]
    for name in ("run", "images", "builder", "login"):
        assert f"  {name:<11} " in out


def test_roots_come_from_flags_or_the_environment(ask: Ask, tmp_path: Path) -> None:
    assert ask("--root", str(tmp_path / "r"), "--run-root", str(tmp_path / "s"), "ps")[0] == 0
    assert (tmp_path / "r" / "onggi.db").exists() and not (tmp_path / "root").exists()
    assert ask("ps")[0] == 0 and (tmp_path / "root" / "onggi.db").exists()


def fails(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def dispatch(session: Session, argv: list[str]) -> int:
        raise error

    monkeypatch.setattr(entry, "dispatch", dispatch)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (WriteError("write error: No space left on device"), 1,
         "onggi: write error: No space left on device\n"),
        (Conflict("taken", hint="do this"), 1, "Error response from daemon: taken\ndo this\n"),
        (CommandNotFound("gone"), 127, "Error response from daemon: gone\n"),
        (OSError(28, "No space left on device", "/x"), 1, "onggi: /x: no space left on device\n"),
        (ZeroDivisionError("oops"), 1, "onggi: internal error: ZeroDivisionError: oops "
                                       "(run with --debug to see where)\n"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_line(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    fails(monkeypatch, error)
    assert ask("ps") == (code, "", text)


def test_debug_shows_where(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: str) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(entry, "load", load)
    assert "Traceback" in ask("-D", "ps")[2]
    assert "Traceback" not in ask("ps")[2]


@pytest.mark.sec("34")
def test_a_full_disk_is_said(ask: Ask, capfd: pytest.CaptureFixture[str]) -> None:
    saved = os.dup(1)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        os.dup2(full, 1)
        code = main(["ps"], ask.environment)
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(full)
    assert code == 1
    assert capfd.readouterr().err == "onggi: write error: No space left on device\n"


def test_one_that_cannot_be_done_keeps_none_of_the_others(
    capfd: pytest.CaptureFixture[str],
) -> None:
    session = Session({})

    def work(name: str) -> str:
        if name == "bad":
            raise OSError(5, "Input/output error", "/there")
        return name

    assert each(session, ["a", "bad", "b"], work) == 1
    assert capfd.readouterr() == ("a\nb\n", "onggi: /there: input/output error\n")


def test_how_many_lines_of_a_log() -> None:
    assert [tail_of(text) for text in ("all", "7", "0", "-1")] == [None, 7, 0, None]
    for bad in ("", "-", "--5", "x", "²"):
        with pytest.raises(CommandError, match="want a number of lines"):
            tail_of(bad)
