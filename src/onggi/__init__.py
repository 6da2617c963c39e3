"""onggi: a container engine. Nothing heavy is imported here: every container's monitor loads it."""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .library.main import connect as connect


def __getattr__(name: str) -> object:
    """`onggi.connect` loads the library when it is first asked for."""
    if name == "connect":
        from .library.main import connect

        return connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
