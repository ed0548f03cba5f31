# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of a GPU that NICs can register: what GPU-initiated traffic stands on, tried where a GPU is granted."""

from __future__ import annotations

import ctypes as c
import typing as t

LIBRARY = "libcuda.so.1"
SIZE = 2 << 20


class GpuError(Exception):
    """A call to the driver failed; str() names it and its status."""


class Buffer:
    """Two MiB on the first GPU. Closing gives memory and context back."""

    def __init__(self, library: t.Any = None) -> None:
        self.cuda = library if library is not None else c.CDLL(LIBRARY)
        self.context, self.address = c.c_void_p(), c.c_uint64()
        device = c.c_int()
        self._call("cuInit", c.c_uint(0))
        self._call("cuDeviceGet", c.byref(device), c.c_int(0))
        self._call("cuCtxCreate_v2", c.byref(self.context), c.c_uint(0), device)
        try:
            self._call("cuMemAlloc_v2", c.byref(self.address), c.c_size_t(SIZE))
        except GpuError:
            self.close()
            raise

    def _call(self, name: str, *arguments: t.Any) -> None:
        status = getattr(self.cuda, name)(*arguments)
        if status:
            raise GpuError(f"{name} failed with status {status}")

    def close(self) -> None:
        if self.address.value:
            self.cuda.cuMemFree_v2(self.address)
        if self.context.value is not None:
            self.cuda.cuCtxDestroy_v2(self.context)
        self.address, self.context = c.c_uint64(), c.c_void_p()


def registrations(ports: t.Mapping[str, t.Callable[[int, int], None]], library: t.Any = None) -> dict[str, str]:
    """Per NIC why it cannot register a GPU's memory, empty where it can; nothing where no GPU is granted.

    ``ports`` has, by name of the NIC, what registers an address and a length and lets go of them again.
    """
    try:
        buffer = Buffer(library)
    except (OSError, AttributeError, GpuError):
        # No driver, or no GPU: hosts without one are told of by the inventory.
        return {}
    found = {}
    try:
        for name, register in ports.items():
            try:
                register(buffer.address.value, SIZE)
                found[name] = ""
            except OSError as error:
                found[name] = str(error)
    finally:
        buffer.close()
    return found
