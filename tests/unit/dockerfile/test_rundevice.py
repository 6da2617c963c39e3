"""RUN --device: its grammar."""

import pytest

from onggi.dockerfile.rundevice import Device, parse_device
from onggi.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("vendor1.com/device=foo", Device("vendor1.com/device=foo")),
        ("name=vendor1.com/device=foo,required", Device("vendor1.com/device=foo", True)),
        ("class1,required=true", Device("class1", True)),
        ("required=false,class1", Device("class1")),
    ],
)
def test_devices(text: str, found: Device) -> None:
    assert parse_device(text) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("required", "names no device"),
        ("a,b", "invalid field 'b' must be a key=value pair"),
        ("a,name=b", "device name already set to a"),
        ("a,required=maybe", "invalid value for required: maybe"),
        ("a,requird=true", "unexpected key 'requird'"),
    ],
)
def test_what_is_none(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        parse_device(text)
