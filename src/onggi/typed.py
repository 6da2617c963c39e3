"""What we use of `typing`, which takes 4 ms to import, and records, which take it 0.07 ms each to
define: a third of what `run` imports before it can do anything (docs/decisions/0001-records.md).

A type checker sees typing's own. At run time annotations are only looked at by `spec/codec`, so
most names stand for nothing but themselves, and NamedTuple is a class that is cheap to define.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any as Any
    from typing import BinaryIO as BinaryIO
    from typing import Final as Final
    from typing import Literal as Literal
    from typing import NewType as NewType
    from typing import NoReturn as NoReturn
    from typing import Protocol as Protocol
    from typing import TypeVar as TypeVar
    from typing import get_args as get_args
else:

    class Any:
        """Any value."""

    class BinaryIO:
        """An open file of bytes."""

    class NoReturn:
        """What never returns."""

    class Protocol:
        """Classes that have the same methods, as a type checker sees it."""

        def __class_getitem__(cls, item):
            return cls

    class Final:
        """A name that is bound once."""

        def __class_getitem__(cls, item):
            return item

    class Literal:
        """Literal["a", "b"] knows its values; see `get_args`."""

        __slots__ = ("__args__",)

        def __class_getitem__(cls, values):
            made = object.__new__(cls)
            made.__args__ = values if isinstance(values, tuple) else (values,)
            return made

        def __or__(self, other):
            return self

        __ror__ = __or__

    def TypeVar(name, *constraints, bound=None):
        return object

    def NewType(name, kind):
        return kind

    def get_args(hint):
        """The arguments of `tuple[A, B]`, `A | B` or `Literal[a, b]`."""
        return getattr(hint, "__args__", ())


MADE_OFTEN = 512  # then a constructor of its own, which is three times as fast, costs less


def compile_no_more() -> None:
    """Constructors stay as they are, in a process that may compile nothing any more."""
    global MADE_OFTEN
    MADE_OFTEN = 0


if TYPE_CHECKING or sys.version_info >= (3, 14):  # 3.14 has annotations as functions
    from typing import NamedTuple as NamedTuple
else:
    from _collections import _tuplegetter  # what namedtuple uses

    class _Fields(type):
        """Turns a class body of annotated names into a tuple with named fields."""

        def __new__(meta, name, bases, body):
            fields = tuple(body.get("__annotations__", ()))
            body["_fields"] = body["__match_args__"] = fields
            body["_field_defaults"] = {field: body[field] for field in fields if field in body}
            body["__slots__"] = ()
            for index, field in enumerate(fields):
                body[field] = _tuplegetter(index, None)
            body["_made"] = 0
            return type.__new__(meta, name, bases, body)

    class NamedTuple(tuple, metaclass=_Fields):
        """typing.NamedTuple, at a tenth of the price of defining one."""

        def __new__(cls, *args, **named):
            cls._made += 1
            if cls._made == MADE_OFTEN:
                from collections import namedtuple

                defaults = cls._field_defaults
                required = [field for field in cls._fields if field not in defaults]
                fields = (*required, *defaults)
                cls.__new__ = namedtuple(cls.__name__, fields, defaults=defaults.values()).__new__
            given = len(args)
            fields = cls._fields
            if given == len(fields) and not named:
                return tuple.__new__(cls, args)
            defaults = cls._field_defaults
            rest = [
                named.pop(field) if field in named else defaults[field]
                for field in fields[given:]
                if field in named or field in defaults
            ]
            if named or given + len(rest) != len(fields):
                raise TypeError(f"{cls.__name__} has the fields {fields}, not {args} and {named}")
            return tuple.__new__(cls, (*args, *rest))

        @classmethod
        def _make(cls, values):
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, not {len(made)}")
            return made

        def _replace(self, /, **named):
            made = tuple.__new__(type(self), map(named.pop, self._fields, self))
            if named:
                raise ValueError(f"{type(self).__name__} has no fields {list(named)}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            fields = zip(self._fields, self, strict=True)
            return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in fields)})"

        def __getnewargs__(self):
            return tuple(self)
