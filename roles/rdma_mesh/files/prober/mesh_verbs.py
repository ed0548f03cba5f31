# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of libibverbs that the prober needs, by ctypes: images of model servers have the library, not its bindings.

Posting and polling are inline functions of the header that call through the context's table of operations; here too.
The layouts are those of verbs.h and are compared with it in the tests.
"""

from __future__ import annotations

import ctypes as c
import errno
import functools
import mmap
import os
import typing as t

LIBRARY = "libibverbs.so.1"
QPT_RC, QPT_UD = 2, 4
RESET, INIT, RTR, RTS = 0, 1, 2, 3
WR_RDMA_WRITE, WR_SEND, WR_FETCH_ADD = 0, 2, 6
SEND_SIGNALED = 1 << 1
ACCESS_LOCAL_WRITE, ACCESS_REMOTE_WRITE, ACCESS_REMOTE_READ, ACCESS_REMOTE_ATOMIC = 1, 2, 4, 8
ACCESS = ACCESS_LOCAL_WRITE | ACCESS_REMOTE_WRITE | ACCESS_REMOTE_READ | ACCESS_REMOTE_ATOMIC
WC_SUCCESS, WC_LOC_PROT, WC_WR_FLUSH, WC_RETRY_EXC, WC_RNR_RETRY_EXC = 0, 4, 5, 12, 13
WC_RECV = 1 << 7
GRH = 40
#: As NCCL, NVSHMEM and UCX have it. mlx5 sends it in UD headers as it is: 1 would end at the first router.
HOP_LIMIT = 255
MIN_RNR_TIMER = 12
MTU_BYTES = {1: 256, 2: 512, 3: 1024, 4: 2048, 5: 4096}

QP_STATE, QP_ACCESS, QP_PKEY, QP_PORT, QP_QKEY = 1 << 0, 1 << 3, 1 << 4, 1 << 5, 1 << 6
QP_AV, QP_MTU, QP_TIMEOUT, QP_RETRY, QP_RNR = 1 << 7, 1 << 8, 1 << 9, 1 << 10, 1 << 11
QP_RQ_PSN, QP_MAX_RD, QP_MIN_RNR, QP_SQ_PSN = 1 << 12, 1 << 13, 1 << 15, 1 << 16
QP_MAX_DEST_RD, QP_DEST_QPN = 1 << 17, 1 << 20

#: The operations in the order of the table; compat entries are not called.
OPS = (
    "compat_query_device",
    "compat_query_port",
    "compat_alloc_pd",
    "compat_dealloc_pd",
    "compat_reg_mr",
    "compat_rereg_mr",
    "compat_dereg_mr",
    "alloc_mw",
    "bind_mw",
    "dealloc_mw",
    "compat_create_cq",
    "poll_cq",
    "req_notify_cq",
    "compat_cq_event",
    "compat_resize_cq",
    "compat_destroy_cq",
    "compat_create_srq",
    "compat_modify_srq",
    "compat_query_srq",
    "compat_destroy_srq",
    "post_srq_recv",
    "compat_create_qp",
    "compat_query_qp",
    "compat_modify_qp",
    "compat_destroy_qp",
    "post_send",
    "post_recv",
    "compat_create_ah",
    "compat_destroy_ah",
    "compat_attach_mcast",
    "compat_detach_mcast",
    "compat_async_event",
)


class VerbsError(OSError):
    """A verb failed; ``verb`` names it."""

    def __init__(self, verb: str, number: int) -> None:
        super().__init__(number or errno.EIO, f"{verb}: {os.strerror(number or errno.EIO)}")
        self.verb = verb


class ContextOps(c.Structure):
    _fields_ = [(name, c.c_void_p) for name in OPS]


class Context(c.Structure):
    """Up to what is used; what follows belongs to the library."""

    _fields_ = [
        ("device", c.c_void_p),
        ("ops", ContextOps),
        ("cmd_fd", c.c_int),
        ("async_fd", c.c_int),
        ("num_comp_vectors", c.c_int),
    ]


class PortAttr(c.Structure):
    _fields_ = [
        ("state", c.c_int),
        ("max_mtu", c.c_int),
        ("active_mtu", c.c_int),
        ("gid_tbl_len", c.c_int),
        ("port_cap_flags", c.c_uint32),
        ("max_msg_sz", c.c_uint32),
        ("bad_pkey_cntr", c.c_uint32),
        ("qkey_viol_cntr", c.c_uint32),
        ("pkey_tbl_len", c.c_uint16),
        ("lid", c.c_uint16),
        ("sm_lid", c.c_uint16),
        ("lmc", c.c_uint8),
        ("max_vl_num", c.c_uint8),
        ("sm_sl", c.c_uint8),
        ("subnet_timeout", c.c_uint8),
        ("init_type_reply", c.c_uint8),
        ("active_width", c.c_uint8),
        ("active_speed", c.c_uint8),
        ("phys_state", c.c_uint8),
        ("link_layer", c.c_uint8),
        ("flags", c.c_uint8),
        ("port_cap_flags2", c.c_uint16),
    ]


class GlobalRoute(c.Structure):
    _fields_ = [
        # The union of a GID is aligned as its two 64-bit halves.
        ("dgid", c.c_uint64 * 2),
        ("flow_label", c.c_uint32),
        ("sgid_index", c.c_uint8),
        ("hop_limit", c.c_uint8),
        ("traffic_class", c.c_uint8),
    ]


class AhAttr(c.Structure):
    _fields_ = [
        ("grh", GlobalRoute),
        ("dlid", c.c_uint16),
        ("sl", c.c_uint8),
        ("src_path_bits", c.c_uint8),
        ("static_rate", c.c_uint8),
        ("is_global", c.c_uint8),
        ("port_num", c.c_uint8),
    ]


class QpCap(c.Structure):
    _fields_ = [
        ("max_send_wr", c.c_uint32),
        ("max_recv_wr", c.c_uint32),
        ("max_send_sge", c.c_uint32),
        ("max_recv_sge", c.c_uint32),
        ("max_inline_data", c.c_uint32),
    ]


class QpInitAttr(c.Structure):
    _fields_ = [
        ("qp_context", c.c_void_p),
        ("send_cq", c.c_void_p),
        ("recv_cq", c.c_void_p),
        ("srq", c.c_void_p),
        ("cap", QpCap),
        ("qp_type", c.c_int),
        ("sq_sig_all", c.c_int),
    ]


class QpAttr(c.Structure):
    _fields_ = [
        ("qp_state", c.c_int),
        ("cur_qp_state", c.c_int),
        ("path_mtu", c.c_int),
        ("path_mig_state", c.c_int),
        ("qkey", c.c_uint32),
        ("rq_psn", c.c_uint32),
        ("sq_psn", c.c_uint32),
        ("dest_qp_num", c.c_uint32),
        ("qp_access_flags", c.c_uint),
        ("cap", QpCap),
        ("ah_attr", AhAttr),
        ("alt_ah_attr", AhAttr),
        ("pkey_index", c.c_uint16),
        ("alt_pkey_index", c.c_uint16),
        ("en_sqd_async_notify", c.c_uint8),
        ("sq_draining", c.c_uint8),
        ("max_rd_atomic", c.c_uint8),
        ("max_dest_rd_atomic", c.c_uint8),
        ("min_rnr_timer", c.c_uint8),
        ("port_num", c.c_uint8),
        ("timeout", c.c_uint8),
        ("retry_cnt", c.c_uint8),
        ("rnr_retry", c.c_uint8),
        ("alt_port_num", c.c_uint8),
        ("alt_timeout", c.c_uint8),
        ("rate_limit", c.c_uint32),
    ]


class Qp(c.Structure):
    """Up to the state."""

    _fields_ = [
        ("context", c.POINTER(Context)),
        ("qp_context", c.c_void_p),
        ("pd", c.c_void_p),
        ("send_cq", c.c_void_p),
        ("recv_cq", c.c_void_p),
        ("srq", c.c_void_p),
        ("handle", c.c_uint32),
        ("qp_num", c.c_uint32),
        ("state", c.c_int),
        ("qp_type", c.c_int),
    ]


class Mr(c.Structure):
    _fields_ = [
        ("context", c.c_void_p),
        ("pd", c.c_void_p),
        ("addr", c.c_void_p),
        ("length", c.c_size_t),
        ("handle", c.c_uint32),
        ("lkey", c.c_uint32),
        ("rkey", c.c_uint32),
    ]


class Sge(c.Structure):
    _fields_ = [("addr", c.c_uint64), ("length", c.c_uint32), ("lkey", c.c_uint32)]


class WrRdma(c.Structure):
    _fields_ = [("remote_addr", c.c_uint64), ("rkey", c.c_uint32)]


class WrAtomic(c.Structure):
    _fields_ = [
        ("remote_addr", c.c_uint64),
        ("compare_add", c.c_uint64),
        ("swap", c.c_uint64),
        ("rkey", c.c_uint32),
    ]


class WrUd(c.Structure):
    _fields_ = [("ah", c.c_void_p), ("remote_qpn", c.c_uint32), ("remote_qkey", c.c_uint32)]


class WrUnion(c.Union):
    _fields_ = [("rdma", WrRdma), ("atomic", WrAtomic), ("ud", WrUd)]


class SendWr(c.Structure):
    """``bind_mw`` stands for the last union by its size."""


SendWr._fields_ = [
    ("wr_id", c.c_uint64),
    ("next", c.POINTER(SendWr)),
    ("sg_list", c.POINTER(Sge)),
    ("num_sge", c.c_int),
    ("opcode", c.c_int),
    ("send_flags", c.c_uint),
    ("imm_data", c.c_uint32),
    ("wr", WrUnion),
    ("remote_srqn", c.c_uint32),
    ("bind_mw", c.c_uint64 * 6),
]


class RecvWr(c.Structure):
    pass


RecvWr._fields_ = [
    ("wr_id", c.c_uint64),
    ("next", c.POINTER(RecvWr)),
    ("sg_list", c.POINTER(Sge)),
    ("num_sge", c.c_int),
]


class Wc(c.Structure):
    _fields_ = [
        ("wr_id", c.c_uint64),
        ("status", c.c_int),
        ("opcode", c.c_int),
        ("vendor_err", c.c_uint32),
        ("byte_len", c.c_uint32),
        ("imm_data", c.c_uint32),
        ("qp_num", c.c_uint32),
        ("src_qp", c.c_uint32),
        ("wc_flags", c.c_uint),
        ("pkey_index", c.c_uint16),
        ("slid", c.c_uint16),
        ("sl", c.c_uint8),
        ("dlid_path_bits", c.c_uint8),
    ]


POLL = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int, c.POINTER(Wc))
POST_SEND = c.CFUNCTYPE(c.c_int, c.POINTER(Qp), c.POINTER(SendWr), c.POINTER(c.POINTER(SendWr)))
POST_RECV = c.CFUNCTYPE(c.c_int, c.POINTER(Qp), c.POINTER(RecvWr), c.POINTER(c.POINTER(RecvWr)))

#: Function -> what it returns and takes.
FUNCTIONS: dict[str, tuple[t.Any, tuple[t.Any, ...]]] = {
    "ibv_get_device_list": (c.POINTER(c.c_void_p), (c.POINTER(c.c_int),)),
    "ibv_free_device_list": (None, (c.POINTER(c.c_void_p),)),
    "ibv_get_device_name": (c.c_char_p, (c.c_void_p,)),
    "ibv_open_device": (c.POINTER(Context), (c.c_void_p,)),
    "ibv_close_device": (c.c_int, (c.POINTER(Context),)),
    "ibv_query_port": (c.c_int, (c.POINTER(Context), c.c_uint8, c.POINTER(PortAttr))),
    "ibv_alloc_pd": (c.c_void_p, (c.POINTER(Context),)),
    "ibv_dealloc_pd": (c.c_int, (c.c_void_p,)),
    "ibv_reg_mr": (c.POINTER(Mr), (c.c_void_p, c.c_void_p, c.c_size_t, c.c_int)),
    "ibv_dereg_mr": (c.c_int, (c.POINTER(Mr),)),
    "ibv_create_cq": (c.c_void_p, (c.POINTER(Context), c.c_int, c.c_void_p, c.c_void_p, c.c_int)),
    "ibv_destroy_cq": (c.c_int, (c.c_void_p,)),
    "ibv_create_qp": (c.POINTER(Qp), (c.c_void_p, c.POINTER(QpInitAttr))),
    "ibv_modify_qp": (c.c_int, (c.POINTER(Qp), c.POINTER(QpAttr), c.c_int)),
    "ibv_destroy_qp": (c.c_int, (c.POINTER(Qp),)),
    "ibv_create_ah": (c.c_void_p, (c.c_void_p, c.POINTER(AhAttr))),
    "ibv_destroy_ah": (c.c_int, (c.c_void_p,)),
}


def load() -> t.Any:
    library = c.CDLL(LIBRARY, use_errno=True)
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def route(nic: t.Mapping[str, t.Any], peer: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> AhAttr:
    """The address of a peer. On Ethernet always with a global route; on InfiniBand only where subnets differ."""
    attr = AhAttr(port_num=int(nic["port"]), sl=int(options.get("sl", 0)), dlid=int(peer.get("lid") or 0))
    gid = gid_bytes(str(peer["gid"]))
    apart = gid[:8] != gid_bytes(str(nic["gid"]))[:8]
    if nic["link_layer"] != "InfiniBand" or apart or options.get("force_grh"):
        attr.is_global = 1
        attr.grh.sgid_index = int(nic["gid_index"])
        attr.grh.hop_limit = HOP_LIMIT
        attr.grh.traffic_class = int(options.get("traffic_class", 0))
        attr.grh.flow_label = int(options.get("flow_label", 0))
        c.memmove(attr.grh.dgid, gid, 16)
    return attr


def gid_bytes(text: str) -> bytes:
    """The 16 bytes of a GID as sysfs writes it."""
    raw = bytes.fromhex(text.replace(":", ""))
    if len(raw) != 16:
        raise ValueError(f"{text!r} is no GID")
    return raw


class Port:
    """An open port: context, protection domain, one completion queue and one registered buffer."""

    def __init__(self, library: t.Any, nic: t.Mapping[str, t.Any], size: int, entries: int) -> None:
        self.lib, self.nic = library, nic
        self.undo: list[t.Callable[[], t.Any]] = []
        self.context = self._open(str(nic["dev"]))
        self.attr = PortAttr()
        self._check("ibv_query_port", library.ibv_query_port(self.context, int(nic["port"]), c.byref(self.attr)))
        self.pd = self._got("ibv_alloc_pd", library.ibv_alloc_pd(self.context))
        self.undo.append(lambda: library.ibv_dealloc_pd(self.pd))
        self.cq = self._got("ibv_create_cq", library.ibv_create_cq(self.context, entries, None, None, 0))
        self.undo.append(lambda: library.ibv_destroy_cq(self.cq))
        #: Anonymous pages: aligned and zero.
        self.memory = mmap.mmap(-1, size)
        self.base = c.addressof(c.c_char.from_buffer(self.memory))
        self.mr = self._got("ibv_reg_mr", library.ibv_reg_mr(self.pd, self.base, size, ACCESS))
        self.undo.append(lambda: library.ibv_dereg_mr(self.mr))
        ops = self.context.contents.ops
        self._poll, self._send, self._recv = POLL(ops.poll_cq), POST_SEND(ops.post_send), POST_RECV(ops.post_recv)
        self._completions = (Wc * 64)()

    @staticmethod
    def _got(verb: str, value: t.Any) -> t.Any:
        if not value:
            raise VerbsError(verb, c.get_errno())
        return value

    @staticmethod
    def _check(verb: str, number: int) -> None:
        if number:
            raise VerbsError(verb, number if number > 0 else c.get_errno())

    def _open(self, name: str) -> t.Any:
        count = c.c_int()
        listed = self._got("ibv_get_device_list", self.lib.ibv_get_device_list(c.byref(count)))
        try:
            for at in range(count.value):
                if (self.lib.ibv_get_device_name(listed[at]) or b"").decode() == name:
                    context = self._got("ibv_open_device", self.lib.ibv_open_device(listed[at]))
                    self.undo.append(functools.partial(self.lib.ibv_close_device, context))
                    return context
        finally:
            self.lib.ibv_free_device_list(listed)
        raise VerbsError("ibv_open_device", errno.ENODEV)

    def try_register(self, address: int, length: int) -> None:
        """Register foreign memory, such as a GPU's, and let go of it."""
        region = self._got("ibv_reg_mr", self.lib.ibv_reg_mr(self.pd, address, length, ACCESS))
        self.lib.ibv_dereg_mr(region)

    @property
    def mtu(self) -> int:
        """The enumeration's number."""
        return int(self.attr.active_mtu)

    # --- queue pairs ---

    def qp(self, kind: int, sends: int, receives: int) -> t.Any:
        """A queue pair in state INIT is what follows; creation and each step fail on their own."""
        init = QpInitAttr(send_cq=self.cq, recv_cq=self.cq, qp_type=kind)
        init.cap = QpCap(max_send_wr=sends, max_recv_wr=max(1, receives), max_send_sge=1, max_recv_sge=1)
        return self._got("ibv_create_qp", self.lib.ibv_create_qp(self.pd, c.byref(init)))

    def destroy(self, qp: t.Any) -> None:
        self.lib.ibv_destroy_qp(qp)

    def to_init(self, qp: t.Any, *, pkey_index: int = 0, qkey: int | None = None) -> None:
        attr = QpAttr(qp_state=INIT, pkey_index=pkey_index, port_num=int(self.nic["port"]))
        if qkey is None:
            attr.qp_access_flags, mask = ACCESS, QP_ACCESS
        else:
            attr.qkey, mask = qkey, QP_QKEY
        self._modify(qp, attr, QP_STATE | QP_PKEY | QP_PORT | mask, "INIT")

    def to_rtr_rc(self, qp: t.Any, peer_qp: int, mtu: int, psn: int, address: AhAttr) -> None:
        attr = QpAttr(qp_state=RTR, path_mtu=mtu, dest_qp_num=peer_qp, rq_psn=psn, max_dest_rd_atomic=1,
                      min_rnr_timer=MIN_RNR_TIMER, ah_attr=address)  # fmt: skip
        mask = QP_STATE | QP_AV | QP_MTU | QP_DEST_QPN | QP_RQ_PSN | QP_MAX_DEST_RD | QP_MIN_RNR
        self._modify(qp, attr, mask, "RTR")

    def to_rts_rc(self, qp: t.Any, psn: int, *, timeout: int, retry: int, rnr_retry: int) -> None:
        attr = QpAttr(qp_state=RTS, sq_psn=psn, timeout=timeout, retry_cnt=retry, rnr_retry=rnr_retry, max_rd_atomic=1)
        self._modify(qp, attr, QP_STATE | QP_TIMEOUT | QP_RETRY | QP_RNR | QP_SQ_PSN | QP_MAX_RD, "RTS")

    def ready_ud(self, qp: t.Any, *, pkey_index: int, qkey: int) -> None:
        self.to_init(qp, pkey_index=pkey_index, qkey=qkey)
        self._modify(qp, QpAttr(qp_state=RTR), QP_STATE, "RTR")
        self._modify(qp, QpAttr(qp_state=RTS, sq_psn=0), QP_STATE | QP_SQ_PSN, "RTS")

    def _modify(self, qp: t.Any, attr: QpAttr, mask: int, step: str) -> None:
        self._check(step, self.lib.ibv_modify_qp(qp, c.byref(attr), mask))

    def address(self, attr: AhAttr) -> t.Any:
        return self._got("AH", self.lib.ibv_create_ah(self.pd, c.byref(attr)))

    # --- work ---

    def write(
        self, qp: t.Any, wr_id: int, at: int, length: int, remote: tuple[int, int], *, signal: bool = True
    ) -> None:
        """RDMA WRITE from the own buffer to (address, rkey)."""
        wr = self._work(wr_id, at, length, WR_RDMA_WRITE, signal)
        wr.wr.rdma.remote_addr, wr.wr.rdma.rkey = remote
        self._post(qp, wr)

    def fetch_add(self, qp: t.Any, wr_id: int, at: int, remote: tuple[int, int]) -> None:
        wr = self._work(wr_id, at, 8, WR_FETCH_ADD, True)
        wr.wr.atomic.remote_addr, wr.wr.atomic.rkey = remote
        wr.wr.atomic.compare_add = 1
        self._post(qp, wr)

    def send_ud(self, qp: t.Any, wr_id: int, at: int, length: int, to: tuple[t.Any, int, int]) -> None:
        """A datagram to (address handle, queue pair, qkey)."""
        wr = self._work(wr_id, at, length, WR_SEND, True)
        wr.wr.ud.ah, wr.wr.ud.remote_qpn, wr.wr.ud.remote_qkey = to
        self._post(qp, wr)

    def _work(self, wr_id: int, at: int, length: int, opcode: int, signal: bool) -> SendWr:
        element = Sge(self.base + at, length, self.mr.contents.lkey)
        wr = SendWr(wr_id=wr_id, sg_list=c.pointer(element), num_sge=1, opcode=opcode)
        wr.send_flags = SEND_SIGNALED if signal else 0
        return wr

    def _post(self, qp: t.Any, wr: SendWr) -> None:
        bad = c.POINTER(SendWr)()
        self._check("ibv_post_send", self._send(qp, c.byref(wr), c.byref(bad)))

    def receive(self, qp: t.Any, wr_id: int, at: int, length: int) -> None:
        element = Sge(self.base + at, length, self.mr.contents.lkey)
        wr, bad = RecvWr(wr_id=wr_id, sg_list=c.pointer(element), num_sge=1), c.POINTER(RecvWr)()
        self._check("ibv_post_recv", self._recv(qp, c.byref(wr), c.byref(bad)))

    def poll(self) -> list[tuple[int, int, int, int]]:
        """Completions as (wr_id, status, opcode, bytes)."""
        count = self._poll(self.cq, len(self._completions), self._completions)
        if count < 0:
            raise VerbsError("ibv_poll_cq", errno.EIO)
        return [(wc.wr_id, wc.status, wc.opcode, wc.byte_len) for wc in self._completions[:count]]

    def close(self) -> None:
        """In the reverse order; what fails is left to the kernel, which takes everything with the process."""
        for step in reversed(self.undo):
            step()
        self.undo.clear()
