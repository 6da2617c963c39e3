"""Docker's sizes, durations, CPU counts and times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onggi import units

DAY = 86400


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("512", 512), ("1b", 1), ("1k", 1024), ("64m", 64 << 20), ("64M", 64 << 20),
        ("64MB", 64 << 20), ("64MiB", 64 << 20), ("1.5g", 3 << 29), ("1.5 GiB", 3 << 29),
        ("2t", 2 << 40), ("1p", 1 << 50), (".5k", 512), ("3.k", 3072),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "abc", "-5", "5x", "5kbb", "5kxx", "5bb", "5i", "5ki", "5.5.5", ".", "nan1", "1e3", "0x10",
     "1_0", "9999999999g", "5 k b", "٣"],
)  # fmt: skip
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid (size|suffix): '"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("text", "nano"),
    [("1", 10**9), ("1.5", 1_500_000_000), (".25", 250_000_000), ("1/2", 500_000_000), ("0", 0)],
)
def test_cpus(text: str, nano: int) -> None:
    assert units.parse_cpus(text) == nano


@pytest.mark.parametrize("text", ["", "abc", "NaN", "-1", "1/0", "1e3", "1_0", "inf"])
def test_bad_cpus(text: str) -> None:
    with pytest.raises(ValueError, match=r"failed to parse .* as a rational number"):
        units.parse_cpus(text)
    with pytest.raises(ValueError, match="too precise"):
        units.parse_cpus("0.0000000001")


@pytest.mark.parametrize(
    ("text", "ns"),
    [("0", 0), ("1s", 10**9), ("1h30m", 5400 * 10**9), ("1.5s", 15 * 10**8), ("-5ms", -5 * 10**6),
     ("1h1m1s1ms1us1ns", 3661001001001), (".5s", 5 * 10**8), ("+2m", 120 * 10**9)],
)  # fmt: skip
def test_durations(text: str, ns: int) -> None:
    assert units.parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'time: invalid duration ""'),
        ("abc", 'time: invalid duration "abc"'),
        ("5", 'time: missing unit in duration "5"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        (".s", 'time: invalid duration ".s"'),
        ("99999999999h", 'time: invalid duration "99999999999h"'),
    ],
)
def test_bad_durations(text: str, words: str) -> None:
    with pytest.raises(ValueError) as error:
        units.parse_duration(text)
    assert str(error.value) == words


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0s"), (1, "1ns"), (1500, "1.5µs"), (300 * 10**6, "300ms"), (10**9, "1s"),
     (90 * 10**9, "1m30s"), (5401500 * 10**6, "1h30m1.5s"), (-(10**9), "-1s")],
)  # fmt: skip
def test_go_durations_out(ns: int, text: str) -> None:
    assert units.format_duration(ns) == text
    assert units.parse_duration(text) == ns


@pytest.mark.parametrize(
    ("size", "digits", "text"),
    [(0, 4, "0B"), (999, 4, "999B"), (1000, 4, "1kB"), (1234, 3, "1.23kB"),
     (1234567890, 3, "1.23GB"), (78_100_000, 3, "78.1MB"), (999999, 4, "1000kB"),
     (999_999, 3, "1000kB"), (2_014_208, 3, "2.01MB"), (10**18, 4, "1EB")],
)  # fmt: skip
def test_sizes_out(size: int, digits: int, text: str) -> None:
    assert units.format_size(size, digits) == text


def test_binary_sizes_out() -> None:
    assert units.format_binary_size(3 << 29) == "1.5GiB"
    assert units.format_binary_size(512) == "512B"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "Less than a second"), (1, "1 second"), (1.9, "1 second"), (2, "2 seconds"),
     (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"), (120, "2 minutes"),
     (3599, "59 minutes"), (3600, "About an hour"), (2 * 3600, "2 hours"), (47 * 3600, "47 hours"),
     (2 * DAY, "2 days"), (13 * DAY, "13 days"), (14 * DAY, "2 weeks"), (59 * DAY, "8 weeks"),
     (60 * DAY, "2 months"), (364 * DAY, "12 months"), (730 * DAY, "2 years")],
)  # fmt: skip
def test_ages(seconds: float, text: str) -> None:
    assert units.format_elapsed(seconds) == text


def test_times() -> None:
    now = 10**18
    assert units.parse_time("1136073845.000000001", now) == 1136073845 * 10**9 + 1
    assert units.parse_time("10m", now) == now - 600 * 10**9
    assert units.parse_time("2006-01-02T15:04:05Z", now) == 1136214245 * 10**9
    assert units.parse_time("2006-01-02T15:04:05.5+02:00", now) == 1136207045 * 10**9 + 5 * 10**8
    for bad in ("zzz", "", "2006-13-40", "2006-01-02T15:04:05+2"):
        with pytest.raises(ValueError, match="failed to parse value as time or duration"):
            units.parse_time(bad, now)


def test_times_out() -> None:
    assert units.format_rfc3339(0) == "0001-01-01T00:00:00Z"
    assert units.format_rfc3339(1136214245 * 10**9 + 7) == "2006-01-02T15:04:05.000000007Z"
    assert units.format_local(1136214245 * 10**9).startswith("2006-01-0")


@given(st.text("0129Z.:-T ", max_size=4), st.integers(0, 31), st.integers(0, 11))
def test_a_time_is_the_same_with_and_without_a_pattern(text: str, at: int, cut: int) -> None:
    whole = "2026-11-24T10:48:34.123456789Z"
    for time in (whole[:at] + text + whole[at + cut :], f"{whole[:19]}Z", f"{whole[:19]}.{text}Z"):
        match = units._RFC3339.fullmatch(time)
        parts = units._stamp(time)
        if parts is not None:
            assert match and tuple(part or "" for part in match.groups()) == parts
