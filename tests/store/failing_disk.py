"""A disk that fails: from now on the kernel answers every fsync of this process with an input/output error."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Sequence

#: Numbers of system calls: seccomp, fsync and fdatasync.
_CALLS = {"x86_64": (317, 74, 75), "aarch64": (277, 82, 83)}
_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _ALL_THREADS = 1, 1
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000 | errno.EIO
# Instructions of the kernel's packet filter: load the number of the call; skip some if it is equal; end.
_LOAD, _SKIP_IF, _END = 0x20, 0x15, 0x06


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def fail_syncs() -> None:
    """For good, and in threads that run already. Raises `OSError` where the kernel has no such filter."""
    numbers = _CALLS.get(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    if numbers is None or not hasattr(libc, "prctl"):
        raise OSError(errno.ENOSYS, "not a Linux that is known here")
    seccomp, fsync, fdatasync = numbers
    code = _assembled(
        [
            (_LOAD, 0, 0, 0),
            (_SKIP_IF, 2, 0, fsync),
            (_SKIP_IF, 1, 0, fdatasync),
            (_END, 0, 0, _ALLOW),
            (_END, 0, 0, _FAIL),
        ]
    )
    program = _Program(len(code) // 8, ctypes.cast(ctypes.c_char_p(code), ctypes.c_void_p))
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(
        seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(program)
    ):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter")


def _assembled(instructions: Sequence[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("HBBI", *each) for each in instructions)
