"""`RUN --mount`: keys, defaults, mistakes."""

import pytest

from onggi.dockerfile.runmount import Mount, origin_of, parse_mount
from onggi.errors import InvalidInput


def parse(text: str, **variables: str) -> Mount:
    def expand(value: str) -> str:
        for name, to in variables.items():
            value = value.replace(f"${name}", to)
        return value

    return parse_mount(text, expand)


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("target=/x", Mount(target="/x")),
        ("type=bind,dst=/x,src=a,from=s,rw", Mount("bind", "/x", "a", "s", False)),
        ("type=bind,destination=/x,ro=false", Mount("bind", "/x", read_only=False)),
        ("type=bind,target=/x,RW=false", Mount("bind", "/x", read_only=True)),
        ('type=bind,target=/x,"source=a,b"', Mount("bind", "/x", "a,b")),
        (
            "type=cache,target=/c",
            Mount("cache", "/c", read_only=False, id="/c", mode=0o755),
        ),
        (
            "type=cache,target=/c,id=n,sharing=locked,mode=0700,uid=5,gid=6,ro",
            Mount("cache", "/c", id="n", sharing="locked", mode=0o700, uid=5, gid=6),
        ),
        ("type=tmpfs,target=/t,size=1m", Mount("tmpfs", "/t", read_only=False, size_bytes=1 << 20)),
        (
            "type=secret,id=a",
            Mount("secret", "/run/secrets/a", read_only=False, id="a", mode=0o400),
        ),
        (
            "type=secret,target=/etc/x.conf,required",
            Mount("secret", "/etc/x.conf", read_only=False, id="x.conf", mode=0o400, required=True),
        ),
        (
            "type=secret,id=a,env=TOKEN",
            Mount("secret", "", read_only=False, id="a", mode=0o400, env="TOKEN"),
        ),
        ("type=BIND,source=a", Mount(target=".", source="a")),
        ("type=bind,target=/x,id=a,env=b", Mount(target="/x")),
        ("type=tmpfs,target=/t,ro", Mount("tmpfs", "/t", read_only=False)),
        (
            "type=cache,target=c/../d/,sharing=LOCKED",
            Mount("cache", "c/../d/", read_only=False, id="d", sharing="locked", mode=0o755),
        ),
        (
            "type=secret,source=a,ro,target=/s",
            Mount("secret", "/s", read_only=False, id="a", mode=0o400),
        ),
        ("type=ssh", Mount("ssh", "", read_only=False, id="default", mode=0o600)),
    ],
)
def test_mounts(text: str, mount: Mount) -> None:
    assert parse(text) == mount


def test_variables_are_expanded_but_in_from() -> None:
    assert parse("type=cache,id=$A,target=/$A", A="x").id == "x"
    assert origin_of("type=bind,from=base,target=/x") == "base"
    assert origin_of("type=cache,target=/x") == ""
    with pytest.raises(InvalidInput, match="doesn't support variable expansion"):
        origin_of("from=$A,target=/x")


@pytest.mark.sec("D4")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=bind,target=/x,bind-propagation=rshared", "unexpected key 'bind-propagation'"),
        ("type=bind,target=/x,z", "must be a key=value pair"),
        ("type=secret,source=a,id=b", "both source and id can't be set"),
        ("type=ssh,source=a", "ssh does not support source"),
        ("type=bind,target=/x,mode=0700", "unexpected key 'mode' for mount type 'bind'"),
        ("type=cahce,target=/x", 'unsupported mount type "cahce"'),
        ("type=tmpfs,target=/x,source=/etc", "unexpected key 'source' for mount type 'tmpfs'"),
        ("type=cache,target=/x,sharing=lock", "unsupported sharing value"),
        ("type=cache,target=/x,mode=9", "invalid value '9' for mode"),
        ("type=cache,target=/x,mode=77777", "out of range"),
        ("type=cache,target=/x,uid=4294967295", "out of range"),
        ("type=cache,target=/x,uid=1_0", "invalid value"),
        ("type=bind,target=/x,ro=maybe", "invalid value for readonly: maybe"),
        ("type=secret", "it needs an id"),
        ("type=secret,id=x,env=A=B", "is not a variable's name"),
        ('type=bind,"target', "failed to parse csv"),
    ],
)
def test_what_is_no_mount(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse(text)
