from onggi.dockerfile.problem import at_line, place_of, placed
from onggi.errors import InvalidInput


def test_a_place_is_taken_apart_again() -> None:
    error = placed(InvalidInput("it failed\n  for two reasons"), 12, "RUN a | b\n c")
    assert place_of(error.message) == ("it failed\n  for two reasons", 12)
    for text in ("", "RUNN x"):
        message = at_line("unknown instruction: RUNN", 3, text, near="RUNN").message
        assert place_of(message) == (
            "dockerfile parse error on line 3: unknown instruction: RUNN", 3,
        )  # fmt: skip
    assert place_of("none of it\n  line x | y") == ("none of it\n  line x | y", 0)
