"""Subordinate ids as /etc/subuid and /etc/subgid give them out (subuid(5)). Pure."""

Ranges = tuple[tuple[int, int], ...]
Map = tuple[tuple[int, int, int], ...]


def ranges(text: str, user: str, number: int) -> Ranges:
    """(first, count) of every line for that user, by name or by number. Lines that are not
    understood are nobody's, as for newuidmap."""
    found = []
    for line in text.splitlines():
        fields = line.split("#")[0].strip().split(":")
        if len(fields) == 3 and fields[0] in (user, str(number)):
            first, count = fields[1:]
            if first.isascii() and first.isdigit() and count.isascii() and count.isdigit():
                found.append((int(first), int(count)))
    return tuple(pair for pair in found if pair[1])


def mapping(own: int, subordinate: Ranges) -> Map:
    """Root is ourselves, then come the subordinate ids without a gap."""
    rows = [(0, own, 1)]
    following = 1
    for first, count in subordinate:
        rows.append((following, first, count))
        following += count
    return tuple(rows)
