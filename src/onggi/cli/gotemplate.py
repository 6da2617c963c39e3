"""The part of Go's text/template that docker users write, over JSON data. Sans-IO.

Data are dicts, lists, strings, numbers, booleans and None; nothing else is ever looked into, so a
template reaches no Python attribute. A dict may hold callables: they are docker's methods with
arguments (`.Label "x"`). Error texts are Go's. The grammar is in gotemplate_syntax, the functions
are in gotemplate_functions.
"""

from collections.abc import Mapping

from ..typed import Any, NamedTuple
from .gotemplate_functions import FUNCTIONS, FunctionError, show, truthy
from .gotemplate_syntax import (
    Action,
    Branch,
    Command,
    Field,
    Jump,
    Literal,
    Parser,
    Pipe,
    TemplateError,
    Text,
    Variable,
    Word,
    syntax_error,
)

MAX_OUTPUT = 64 << 20


class Template(NamedTuple):
    nodes: tuple[Any, ...]

    def render(self, data: Any) -> str:
        return _Run().run(self.nodes, data)


def parse(text: str) -> Template:
    """Raises TemplateError."""
    return Template(Parser(text).template())


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Run:
    """One execution: output and the stack of variables."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0
        self._variables: list[tuple[str, Any]] = []

    def run(self, nodes: tuple[Any, ...], data: Any) -> str:
        self._variables.append(("$", data))
        self._walk(nodes, data)
        return "".join(self._parts)

    def _emit(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._size > MAX_OUTPUT:
            raise TemplateError("template: output too large")

    def _walk(self, nodes: tuple[Any, ...], dot: Any) -> None:
        for node in nodes:
            match node:
                case Text(text):
                    self._emit(text)
                case Action(pipe):
                    value = self._pipe(pipe, dot)
                    if not pipe.variables:
                        self._emit(show(value))
                case Branch():
                    mark = len(self._variables)
                    self._branch(node, dot)
                    del self._variables[mark:]
                case Jump("break"):
                    raise _Break
                case Jump():
                    raise _Continue

    def _branch(self, node: Branch, dot: Any) -> None:
        if node.kind == "range":
            self._range(node, dot)
            return
        value = self._pipe(node.pipe, dot)
        if truthy(value):
            self._walk(node.body, value if node.kind == "with" else dot)
        else:
            self._walk(node.otherwise, dot)

    def _range(self, node: Branch, dot: Any) -> None:
        value = self._pipe(node.pipe._replace(variables=()), dot)
        items = _items(value, node.pipe)
        names = node.pipe.variables
        for key, item in items:
            mark = len(self._variables)
            if len(names) == 1:
                self._variables.append((names[0], item))
            elif names:
                self._variables += [(names[0], key), (names[1], item)]
            try:
                self._walk(node.body, item)
            except _Continue:
                pass
            except _Break:
                break
            finally:
                del self._variables[mark:]
        if not items:
            self._walk(node.otherwise, dot)

    def _pipe(self, pipe: Pipe, dot: Any) -> Any:
        value: Any = None
        for index, command in enumerate(pipe.commands):
            value = self._command(command, dot, (value,) if index else ())
        for name in pipe.variables:
            self._assign(name, value, pipe.declares)
        return value

    def _assign(self, name: str, value: Any, declares: bool) -> None:
        if declares:
            self._variables.append((name, value))
            return
        for index in range(len(self._variables) - 1, -1, -1):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return
        raise syntax_error(f"undefined variable: {name}")

    def _command(self, command: Command, dot: Any, piped: tuple[Any, ...]) -> Any:
        head, rest = command.operands[0], command.operands[1:]
        if isinstance(head, Word):
            return self._call(head.name, rest, dot, piped, command.text)
        if isinstance(head, Field):
            return self._field(head, dot, command.text, (rest, piped))
        if rest or piped:
            raise self._fault(command.text, f"can't give argument to non-function {command.text}")
        return self._value(head, dot, command.text)

    def _call(
        self, name: str, operands: tuple[Any, ...], dot: Any, piped: tuple[Any, ...], text: str
    ) -> Any:
        if name in ("and", "or"):
            return self._shortcut(name, operands, dot, piped, text)
        arguments = [self._value(operand, dot, text) for operand in operands]
        try:
            return FUNCTIONS[name](*arguments, *piped)
        except FunctionError as error:
            raise self._fault(text, f"error calling {name}: {error}") from error
        except TypeError as error:
            count = len(arguments) + len(piped)
            raise self._fault(text, f"wrong number of args for {name}: got {count}") from error

    def _shortcut(
        self, name: str, operands: tuple[Any, ...], dot: Any, piped: tuple[Any, ...], text: str
    ) -> Any:
        """`and` and `or` stop at the first operand that decides."""
        value: Any = None
        if not operands and not piped:
            raise self._fault(text, f"wrong number of args for {name}: want at least 1 got 0")
        for operand in operands:
            value = self._value(operand, dot, text)
            if truthy(value) == (name == "or"):
                return value
        return piped[0] if piped else value

    def _value(self, operand: Any, dot: Any, text: str) -> Any:
        match operand:
            case Literal(value):
                return value
            case Variable(name):
                for known, value in reversed(self._variables):
                    if known == name:
                        return value
                raise syntax_error(f'undefined variable "{name}"')
            case Pipe():
                return self._pipe(operand, dot)
            case Word(name):
                return self._call(name, (), dot, (), text)
            case Field():
                return self._field(operand, dot, text, ((), ()))
        raise AssertionError(operand)

    def _field(
        self, field: Field, dot: Any, text: str, arguments: tuple[tuple[Any, ...], tuple[Any, ...]]
    ) -> Any:
        value = dot if field.base is None else self._value(field.base, dot, text)
        operands, piped = arguments
        for index, name in enumerate(field.names):
            value = self._member(value, name, text)
            if callable(value):
                last = index == len(field.names) - 1
                given = [self._value(item, dot, text) for item in operands] if last else []
                value = self._method(value, name, [*given, *(piped if last else ())], text)
                operands, piped = (), ()
        if operands or piped:
            raise self._fault(text, f"{field.names[-1] if field.names else '.'} has arguments "
                              "but cannot be invoked as function")  # fmt: skip
        return value

    def _method(self, method: Any, name: str, arguments: list[Any], text: str) -> Any:
        try:
            return method(*arguments)
        except TypeError as error:
            raise self._fault(
                text, f"wrong number of args for {name}: got {len(arguments)}"
            ) from error

    def _member(self, value: Any, name: str, text: str) -> Any:
        if isinstance(value, Mapping):
            if name not in value:
                raise self._fault(text, f'map has no entry for key "{name}"')
            return value[name]
        if value is None:
            raise self._fault(text, f'nil data; no entry for key "{name}"')
        raise self._fault(text, f"can't evaluate field {name} in type {_go_type(value)}")

    def _fault(self, text: str, message: str) -> TemplateError:
        return TemplateError(f'template: :1: executing "" at <{text}>: {message}')


def _items(value: Any, pipe: Pipe) -> list[tuple[Any, Any]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return sorted(value.items())
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(min(value, 1 << 20))]
    text = pipe.commands[-1].text
    raise TemplateError(
        f'template: :1: executing "" at <{text}>: range can\'t iterate over {show(value)}'
    )


def _go_type(value: Any) -> str:
    return {str: "string", bool: "bool", int: "int", float: "float64", list: "[]interface {}"}.get(
        type(value), "interface {}"
    )
