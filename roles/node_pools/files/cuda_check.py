# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a CUDA context on one GPU, and print driver, CUDA and NVSHMEM as one line of JSON, in the servers' image."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
import pathlib
import re
import sys
import typing

NVSHMEM_PACKAGES = ("nvidia-nvshmem-cu13", "nvidia-nvshmem-cu12", "nvshmem4py-cu13", "nvshmem4py-cu12")
# Where GKE's device plugin and NVIDIA's container toolkit mount the driver's library.
LIBRARIES = ("libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1")


def library() -> ctypes.CDLL:
    problems = []
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            problems.append(str(error))
    raise RuntimeError("; ".join(problems))


def call(cuda: ctypes.CDLL, name: str, *arguments: typing.Any) -> None:
    code = getattr(cuda, name)(*arguments)
    if code:
        text = ctypes.c_char_p()
        cuda.cuGetErrorName(code, ctypes.byref(text))
        raise RuntimeError(f"{name}: {(text.value or str(code).encode()).decode()}")


def context(cuda: ctypes.CDLL) -> str:
    """The CUDA version that the driver serves, once a context was opened and closed."""
    version, device, opened = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
    call(cuda, "cuInit", 0)
    call(cuda, "cuDriverGetVersion", ctypes.byref(version))
    call(cuda, "cuDeviceGet", ctypes.byref(device), 0)
    call(cuda, "cuDevicePrimaryCtxRetain", ctypes.byref(opened), device)
    call(cuda, "cuDevicePrimaryCtxRelease_v2", device)
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def driver() -> str:
    """The kernel module's version."""
    text = pathlib.Path("/proc/driver/nvidia/version")
    found = re.search(r"\b(\d{3}\.\d+(\.\d+)?)\b", text.read_text()) if text.exists() else None
    return found[1] if found else ""


def nvshmem() -> str:
    for package in NVSHMEM_PACKAGES:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    home = os.environ.get("NVSHMEM_DIR") or os.environ.get("NVSHMEM_HOME") or ""
    header = pathlib.Path(home, "include/non_abi/nvshmem_version.h")
    if not home or not header.exists():
        return ""
    numbers = re.findall(r"define NVSHMEM_VENDOR_(?:MAJOR|MINOR|PATCH)_VERSION\s+(\d+)", header.read_text())
    return ".".join(numbers)


def main() -> int:
    report = {"driver": driver(), "image_cuda": os.environ.get("CUDA_VERSION", ""), "nvshmem": nvshmem()}
    try:
        report["cuda"] = context(library())
    except (RuntimeError, AttributeError) as error:
        report["error"] = str(error)
    print(json.dumps(report))
    return 1 if "error" in report else 0


if __name__ == "__main__":
    sys.exit(main())
