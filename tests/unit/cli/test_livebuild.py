"""The live view of a build: what stays, what is rewritten, and that nothing breaks the lines."""

from hypothesis import given
from hypothesis import strategies as st

from onggi.cli.livebuild import LiveBuild, cut, fitted, plain, width
from onggi.progress import Event, Layer, Message, StepFinished, StepOutput, StepStarted, Warning


def shown(*events: Event, columns: int = 40, rows: int = 24) -> tuple[list[str], list[str]]:
    view = LiveBuild(0.0)
    for event in events:
        view.take(event, 1.0)
    return view.frame(3.5, columns, rows)


def test_finished_steps_stay_and_running_ones_move() -> None:
    told, block = shown(
        StepStarted(1, 3, "FROM busybox"),
        StepFinished(1, "abc"),
        StepStarted(2, 3, "COPY  a\n  b", "made"),
        StepFinished(2, "abc", True),
        StepStarted(3, 3, "RUN make"),
        *(StepOutput(3, b"line %d\n" % n) for n in range(9)),
        StepOutput(3, b"the\rsame\rend"),
    )
    assert told == [
        " => [1/3] FROM busybox             0.0s",
        " => CACHED [made 2/3] COPY a b",
    ]
    assert block == [
        "[+] Building 3.5s (2/3)",
        " => [3/3] RUN make                 2.5s",
        *(f" => => # line {n}" for n in range(5, 9)),
        " => => # end",
    ]


def test_what_is_told_once() -> None:
    view = LiveBuild(0.0)
    view.take(Layer("ab", "Downloading", 5, 10), 0.0)
    assert "ab: Downloading" in view.frame(0.0, 60, 9)[1][1]
    view.take(Message("Status: done"), 0.0)
    view.take(Warning("odd"), 0.0)
    assert view.frame(0.0, 60, 9) == (["Status: done", "WARNING: odd"], ["[+] Building 0.0s "])
    assert view.frame(0.0, 60, 9)[0] == []


def test_a_small_terminal_keeps_the_last_lines() -> None:
    events = [StepStarted(1, 1, "RUN x"), *(StepOutput(1, b"l%d\n" % n) for n in range(9))]
    _, block = shown(*events, rows=4)
    assert block == ["[+] Building 3.5s (0/1)", " => => # l7", " => => # l8"]
    assert len(shown(*events, rows=1)[1]) == 1


def test_a_failed_step_tells_everything() -> None:
    view = LiveBuild(0.0)
    view.take(StepStarted(2, 4, "RUN make"), 0.0)
    view.take(StepStarted(3, 4, "RUN quiet"), 0.0)
    view.take(StepOutput(2, b"a\x1b[31mb\x07\n" + b"x" * 90 + b"\n"), 0.0)
    assert view.failed(40) == ["------", " > [2/4] RUN make:", "ab", "x" * 90, "", "------"]


def test_control_characters_go() -> None:
    assert plain("\x1b]0;title\x07a\x1b[2J\x1b[1;31mb\x9b\x1bMc\td") == "abc     d"


def test_wide_letters_fill_two_cells() -> None:
    assert width("옹기a\u0301") == 5
    assert cut("옹기장이", 5) == "옹기" and cut("abc", 2) == "ab"
    assert fitted("옹기장이\t1s", 8) == "옹기 1s"


@given(st.text(max_size=60), st.integers(1, 50))
def test_no_line_is_wider_than_the_terminal(text: str, columns: int) -> None:
    assert width(fitted(plain(text), columns)) < max(columns, 2)
    assert width(fitted(f"{plain(text)}\t1.0s", columns + 7)) < columns + 7
