"""Loop devices for kernels that cannot mount EROFS straight from a file (before 6.12)."""

import errno
import fcntl
import os
from struct import pack

_LOOP_CTL_GET_FREE, _LOOP_CONFIGURE = 0x4C82, 0x4C0A
_READ_ONLY, _AUTOCLEAR = 1, 4
_ATTEMPTS = 64


def attach(path: str) -> tuple[str, int]:
    """A read-only loop device on a file: its path and a descriptor. It frees itself when the last
    descriptor and mount of it are gone."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    file_fd = -1
    try:
        file_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        for _ in range(_ATTEMPTS):
            device = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            device_fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # struct loop_config: fd, block size, loop_info64 (232 bytes), 8 reserved words
                info = pack(
                    "=5Q4I160s2Q", 0, 0, 0, 0, 0, 0, 0, 0, _READ_ONLY | _AUTOCLEAR, b"", 0, 0
                )
                fcntl.ioctl(device_fd, _LOOP_CONFIGURE, pack("=II232s64s", file_fd, 0, info, b""))
                return device, device_fd
            except OSError as error:
                os.close(device_fd)
                if error.errno != errno.EBUSY:  # somebody was quicker: ask for another
                    raise
        raise OSError(errno.EBUSY, "no free loop device", path)
    finally:
        os.close(control)
        if file_fd >= 0:
            os.close(file_fd)
