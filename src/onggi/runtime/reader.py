"""JSON objects read strictly: every error says which field of which document it is about."""

from ..errors import InvalidInput, Unsupported
from ..typed import Any


class Reader:
    """A JSON object and its name, for errors that say where."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise InvalidInput(f"config.json: {where} must be an object")
        self._value = value
        self._where = where

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = None) -> Any:
        value = self._value.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            names = kind.__name__ if isinstance(kind, type) else kind[0].__name__
            raise InvalidInput(f"config.json: {self._where}.{key} must be of type {names}")
        if isinstance(value, str) and "\0" in value:  # where C ends a path, our checks would not
            raise self.error(key, "holds a NUL")
        return value

    def number(self, key: str, low: int, high: int, default: int = 0) -> int:
        value: int = self.get(key, int, default)
        if not low <= value <= high:
            raise self.error(key, f"is {value}, not from {low} to {high}")
        return value

    def choice(self, key: str, values: dict[str, int], default: str = "") -> int:
        """The number that a word stands for."""
        word: str = self.get(key, str, default)
        if word not in values:
            raise self.error(key, f"is {word[:64]!r}, not one of {', '.join(values)}")
        return values[word]

    def numbers(self, key: str) -> tuple[int, ...]:
        items = self.get(key, list, [])
        for index, item in enumerate(items):
            if not isinstance(item, int) or isinstance(item, bool) or item < 0:
                raise InvalidInput(f"config.json: {self._where}.{key}[{index}] must be a number")
        return tuple(items)

    def object(self, key: str) -> "Reader":
        return Reader(self._value.get(key) or {}, f"{self._where}.{key}".lstrip("."))

    def names(self) -> tuple[str, ...]:
        return tuple(self._value)

    def has(self, key: str) -> bool:
        return bool(self._value.get(key))

    def objects(self, key: str) -> "list[Reader]":
        items = self.get(key, list, [])
        return [
            Reader(item, f"{self._where}.{key}[{i}]".lstrip(".")) for i, item in enumerate(items)
        ]

    def strings(self, key: str) -> tuple[str, ...]:
        items = self.get(key, list, [])
        for index, item in enumerate(items):
            if not isinstance(item, str) or "\0" in item:
                raise InvalidInput(f"config.json: {self._where}.{key}[{index}] must be a string")
        return tuple(items)

    def string_map(self, key: str) -> dict[str, str]:
        items = self.get(key, dict, {})
        for name, item in items.items():
            if not isinstance(item, str) or "\0" in name + item:
                raise InvalidInput(f"config.json: {self._where}.{key}.{name} must be a string")
        return dict(items)

    def error(self, key: str, text: str) -> InvalidInput:
        return InvalidInput(f"config.json: {self._where}.{key} {text}")

    def refuse(self, *keys: str) -> None:
        for key in keys:
            if self.has(key):
                raise Unsupported(f"config.json: {self._where}.{key} is not supported")
