"""The keys that leave a container without stopping it; `ctrl-p,ctrl-q` by default. Sans-IO."""

DEFAULT = "ctrl-p,ctrl-q"


def parse_keys(text: str) -> bytes:
    """`ctrl-p,ctrl-q`, `a,ctrl-[`; ValueError in docker's words."""
    keys = bytearray()
    for key in text.split(",") if text else ():
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif (
            len(key) == 6
            and key.startswith("ctrl-")
            and key[5] in "abcdefghijklmnopqrstuvwxyz@[\\]^_"
        ):
            keys.append(ord(key[5].upper()) - 64)
        else:
            raise ValueError(f"invalid detach keys ({text}): Unknown character: '{key}'")
    return bytes(keys)


class DetachScanner:
    """Input goes in, what may be passed on comes out; `found` once the whole sequence was typed.

    A started sequence is held back until the next key shows whether it was one.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0
        self.found = False

    def feed(self, data: bytes) -> bytes:
        if not self._keys:
            return data
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.found = True
                    break
                continue
            if self._matched:
                passed += self._keys[: self._matched]
                self._matched = 0
                if byte == self._keys[0]:
                    self._matched = 1
                    if len(self._keys) > 1:
                        continue
            passed.append(byte)
        return bytes(passed)
