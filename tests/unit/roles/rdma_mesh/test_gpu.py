# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of a GPU, with a driver that answers as a test tells it."""

from __future__ import annotations

import errno
import typing as t
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def gpu(prober: t.Callable[[str], ModuleType]) -> ModuleType:
    return prober("mesh_gpu")


class Cuda:
    """Calls in their order; ``fails`` names the one that has a status."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.calls = fails, [""][:0]

    def __getattr__(self, name: str) -> t.Callable[..., int]:
        def call(*arguments: t.Any) -> int:
            self.calls.append(name)
            if name == self.fails:
                return 2
            if name in ("cuCtxCreate_v2", "cuMemAlloc_v2"):
                arguments[0]._obj.value = 4096
            return 0

        return call


def test_each_nic_registers_and_everything_is_given_back(gpu: ModuleType) -> None:
    cuda, seen = Cuda(), []

    def refuse(_address: int, _length: int) -> None:
        raise OSError(errno.EFAULT, "ibv_reg_mr: Bad address")

    found = gpu.registrations({"mlx5_0": lambda *where: seen.append(where), "mlx5_1": refuse}, cuda)
    assert found == {"mlx5_0": "", "mlx5_1": "[Errno 14] ibv_reg_mr: Bad address"}
    assert seen == [(4096, gpu.SIZE)]
    assert cuda.calls[-2:] == ["cuMemFree_v2", "cuCtxDestroy_v2"]


@pytest.mark.parametrize("fails", ["cuInit", "cuDeviceGet", "cuCtxCreate_v2", "cuMemAlloc_v2"])
def test_without_a_gpu_nothing_is_said(gpu: ModuleType, fails: str) -> None:
    cuda = Cuda(fails)
    assert gpu.registrations({"mlx5_0": lambda *_where: None}, cuda) == {}
    assert ("cuCtxDestroy_v2" in cuda.calls) is (fails == "cuMemAlloc_v2")


def test_without_a_driver_nothing_is_said(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LIBRARY", "libcuda-that-is-not-there.so.1")
    assert gpu.registrations({"mlx5_0": lambda *_where: None}) == {}
