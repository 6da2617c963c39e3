"""The one table of hints: what a user can do next, in English and Korean.

A hint is at most one line on stderr, after docker's own words, and can be pasted where it names a
command. Nothing here decides exit codes.
"""

from collections.abc import Iterable

from ..typed import Literal

Language = Literal["en", "ko"]

HINTS: dict[str, tuple[str, str]] = {
    "command": (
        'no command "{word}" – did you mean: {near}',
        '"{word}" 명령이 없습니다 – 혹시: {near}',
    ),
    "flag": ("did you mean: {near}", "혹시: {near}"),
    "context": (
        "missing the build context – did you mean: onggi build {words}.  "
        "(the dot is the folder that is sent)",
        "빌드할 폴더가 빠졌습니다 – 혹시: onggi build {words}.  (점은 보낼 폴더입니다)",
    ),
    "image": ("did you mean the image: {near}", "혹시 이 이미지: {near}"),
    "container": ("did you mean the container: {near}", "혹시 이 컨테이너: {near}"),
    "oom": (
        "OOM-killed at {limit}: the container reached its memory limit (raise it with -m)",
        "OOM-killed at {limit}: 컨테이너가 메모리 한도에 닿았습니다 (-m 으로 늘리세요)",
    ),
    "stop-timeout": (
        "{name}: killed by SIGKILL after stop timeout ({seconds} s): its process ignores {signal}",
        "{name}: 정지 시간({seconds}초)이 지나 SIGKILL로 종료했습니다: 프로세스가 {signal} 무시",
    ),
    "killed": (
        "exit code 137: killed by SIGKILL",
        "종료 코드 137: SIGKILL로 종료되었습니다",
    ),
    "killed-by-stop": (
        "exit code 137: killed by SIGKILL after stop timeout",
        "종료 코드 137: 정지 시간이 지나 SIGKILL로 종료되었습니다",
    ),
    "loopback": (
        "{name} listens on 127.0.0.1:{port} inside the container only, so the published port "
        "cannot reach it: make the app bind 0.0.0.0:{port}",
        "{name}: 컨테이너 안에서 127.0.0.1:{port} 에만 열려 있어 게시한 포트로 닿지 않습니다: "
        "앱을 0.0.0.0:{port} 에 여세요",
    ),
    "root": ("try: sudo onggi {words}", "다음을 시도하세요: sudo onggi {words}"),
    "running": (
        "stop it first, or force: onggi rm -f {name}",
        "먼저 멈추거나 강제로 지우세요: onggi rm -f {name}",
    ),
    "not-a-path": (
        "a host path starts with / or ./ – did you mean: -v {near}",
        "호스트 경로는 / 또는 ./ 로 시작합니다 – 혹시: -v {near}",
    ),
}


def hint(key: str, language: Language = "en", **words: object) -> str:
    return HINTS[key][language == "ko"].format(**words)


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The most similar candidate, or "" when none is near enough to be worth a guess."""
    limit = len(word) // 3 if len(word) < 5 else 2 if len(word) < 9 else 3
    best, best_distance = "", limit + 1
    for candidate in candidates:
        if abs(len(candidate) - len(word)) < best_distance and candidate != word:
            distance = edits(word, candidate)
            if distance < best_distance:
                best, best_distance = candidate, distance
    return best


def edits(left: str, right: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that turn one into the other."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        current = [i]
        for j, b in enumerate(right, 1):
            cost = min(row[j] + 1, current[j - 1] + 1, row[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            current.append(cost)
        before, row = row, current
    return row[-1]


def memory_limit(size_bytes: int) -> str:
    """A limit as people wrote it: 536870912 is "512 MB"."""
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")):
        if size_bytes >= unit and size_bytes % unit == 0:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes} bytes"
