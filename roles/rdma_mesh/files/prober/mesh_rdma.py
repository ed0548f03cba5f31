# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RDMA between NICs with real verbs: a UD sweep, then on RC a small write, a full one and an atomic per pair.

Contexts and queue pairs stay open for the whole run. A completion tells what came back, the nonce in the receiver's
memory tells what arrived; only both together tell the direction.
"""

from __future__ import annotations

import errno
import math
import statistics
import time
import typing as t

import mesh_gpu as gpu
import mesh_merge as merge
import mesh_verbs as verbs
from mesh_sweep import FULL, SMALL, Sweep
from mesh_world import NONCE, World

Json = dict[str, t.Any]
QKEY = 0x11111111
UD_SLOT, UD_SLOTS, UD_SENDS = 8192, 256, 64
#: Per peer: the nonces of the small and of the full write, and the counter of the atomic.
SLOT = 64
AT_FULL, AT_ATOMIC = 16, 32
BULK = 1 << 20
#: A retry count of 7 means "for ever" to soft-RoCE, and the same holds for receivers that are not ready.
MOST_RETRIES = 6
STATUS = {
    verbs.WC_SUCCESS: "OK",
    verbs.WC_RETRY_EXC: "RETRY_EXC",
    verbs.WC_RNR_RETRY_EXC: "RNR",
    verbs.WC_LOC_PROT: "LOC_PROT",
}
STEP = {"AH": "AH_FAIL", "INIT": "RTR_FAIL", "RTR": "RTR_FAIL", "RTS": "RTS_FAIL"}
UD_RECV, UD_SEND, RC_SMALL, RC_FULL, RC_ATOMIC, RC_RATE = range(6)


def nominal(timeout: int, retries: int) -> float:
    """Seconds until an RC queue pair gives up; adapters may take four times as long."""
    return float(4.096e-6 * 2**timeout * (retries + 1))


def checked_timers(options: Json) -> tuple[int, int]:
    timeout, retries = int(options.get("timeout", 14)), int(options.get("retry_cnt", 3))
    if not 1 <= timeout <= 31 or not 0 <= retries <= MOST_RETRIES:
        raise ValueError(f"timeout {timeout} is not in 1..31, or retry_cnt {retries} not in 0..{MOST_RETRIES}")
    return timeout, retries


class _Nic:
    """One port of this host with its queue pairs by peer."""

    def __init__(self, library: t.Any, world: World, position: int, options: Json) -> None:
        self.world, self.position, self.options = world, position, options
        self.nic = world.nics[position]
        peers = sum(1 for other in world.table if other.host != world.me)
        self.ud_at = _pages(world.size * SLOT)
        self.send_at = self.ud_at + UD_SLOTS * UD_SLOT
        self.out_at = self.send_at + UD_SENDS * UD_SLOT
        self.bulk_in = _pages(self.out_at + world.size * SLOT)
        self.bulk_out = self.bulk_in + BULK
        entries = 4 * peers + UD_SLOTS + UD_SENDS + 64
        self.port = verbs.Port(library, self.nic, self.bulk_out + BULK, entries)
        self.ud = self.port.qp(verbs.QPT_UD, UD_SENDS, UD_SLOTS)
        self.port.ready_ud(self.ud, pkey_index=int(options.get("pkey_index", 0)), qkey=QKEY)
        self.rc: dict[int, t.Any] = {}
        self.numbers: dict[int, int] = {}
        self.fresh: set[int] = set()
        self.handles: dict[int, t.Any] = {}
        self.peers: dict[int, Json] = {}
        self.free = list(range(UD_SENDS))
        for slot in range(UD_SLOTS):
            self.repost(slot)

    def repost(self, slot: int) -> None:
        self.port.receive(self.ud, _wr_id(UD_RECV, slot), self.ud_at + slot * UD_SLOT, UD_SLOT)

    def datagram(self, slot: int, length: int) -> bytes:
        """What a receive slot holds after the global route header."""
        start = self.ud_at + slot * UD_SLOT
        return self.port.memory[start + verbs.GRH : start + length]

    def handle(self, peer: int) -> t.Any:
        if peer not in self.handles:
            attr = verbs.route(self.nic, self.world.nics[peer], self.options)
            self.handles[peer] = self.port.address(attr)
        return self.handles[peer]

    def memory_at(self, offset: int, length: int = NONCE) -> bytes:
        return self.port.memory[offset : offset + length]


def _pages(size: int) -> int:
    return (size + 4095) // 4096 * 4096


def _wr_id(kind: int, number: int) -> int:
    return kind << 32 | number


class Rdma(Sweep):
    """All NICs of this host. Failures of one NIC or pair are outcomes; only a missing library ends the prober."""

    def __init__(self, world: World, options: Json) -> None:
        super().__init__(world, options)
        self.options = options
        self.timeout, self.retries = checked_timers(options)
        self.rate_seconds = float(options.get("rate_seconds", 0))
        self.window = int(options.get("window", 32))
        self.todo: list[tuple[int, int]] = []
        self.flaps: list[list[int]] = []
        self.nics: dict[int, _Nic] = {}
        self.small: dict[str, list[int]] = {}
        self.full: dict[str, list[int]] = {}
        self.raw: dict[tuple[int, int], tuple[str, int]] = {}
        self.rates: list[list[float]] = []
        self.latencies: dict[tuple[int, int], float] = {}
        self.failed: dict[int, tuple[str, int]] = {}
        self.done: dict[tuple[int, int, int], int] = {}

    # --- opening and connecting ---

    def prepare(self) -> Json:
        """Open the ports and create a queue pair per peer; what the others need to connect to them."""
        own: Json = {}
        towards: dict[str, Json] = {}
        try:
            library = verbs.load()
        except OSError:
            self.failed = dict.fromkeys(self.world.mine, ("library", errno.ELIBACC))
            return {"nics": {}, "to": {}}
        for position in self.world.mine:
            try:
                nic = self.nics[position] = _Nic(library, self.world, position, self.options)
            except (OSError, ValueError) as error:
                self.failed[position] = (getattr(error, "verb", "open"), getattr(error, "errno", None) or errno.EINVAL)
                continue
            own[str(position)] = [nic.ud.contents.qp_num, nic.port.mr.contents.addr, nic.port.mr.contents.rkey,
                                  nic.port.mtu]  # fmt: skip
            for peer, other in enumerate(self.world.table):
                if other.host != self.world.me:
                    number = self._create(nic, peer)
                    towards.setdefault(str(other.host), {})[f"{position} {peer}"] = number
        return {"nics": own, "to": towards}

    def _create(self, nic: _Nic, peer: int) -> int:
        try:
            qp = nic.port.qp(verbs.QPT_RC, 8, 1)
            nic.port.to_init(qp, pkey_index=int(self.options.get("pkey_index", 0)))
        except OSError as error:
            self._fail(nic.position, peer, getattr(error, "verb", "INIT"), error.errno or errno.EIO)
            return 0
        nic.rc[peer] = qp
        return int(qp.contents.qp_num)

    def connect(self, endpoints: Json) -> None:
        """Bring every queue pair to RTS with the numbers of the peers' ones."""
        for told in endpoints.values():
            for position, known in told.get("nics", {}).items():
                for nic in self.nics.values():
                    nic.peers[int(position)] = {"ud": known[0], "addr": known[1], "rkey": known[2], "mtu": known[3]}
            for pair, number in (told.get("to") or {}).items():
                peer, position = map(int, pair.split())
                if position in self.nics and peer in self.nics[position].rc:
                    self._connect(self.nics[position], peer, number)

    def _connect(self, nic: _Nic, peer: int, number: int) -> None:
        qp, known = nic.rc[peer], nic.peers.get(peer)
        if not number or known is None:
            self._fail(nic.position, peer, "peer", errno.ENODEV)
            return
        mtu = min(nic.port.mtu, int(known["mtu"]))
        try:
            address = verbs.route(nic.nic, self.world.nics[peer], self.options)
            nic.port.to_rtr_rc(qp, number, mtu, _psn(peer, nic.position), address)
            nic.port.to_rts_rc(qp, _psn(nic.position, peer), timeout=self.timeout, retry=self.retries,
                               rnr_retry=MOST_RETRIES)  # fmt: skip
        except OSError as error:
            self._fail(nic.position, peer, getattr(error, "verb", "RTR"), error.errno or errno.EIO)

    def _fail(self, source: int, target: int, step: str, number: int) -> None:
        if (source, target) not in self.raw:
            self.raw[source, target] = (step, number)
            self._put(self.small, STEP.get(step, "OTHER"), source, target)

    def _put(self, planes: dict[str, list[int]], code: str, source: int, target: int) -> None:
        planes.setdefault(code, [0] * self.world.size)[source] |= 1 << target

    # --- datagrams ---

    def filenos(self) -> list[int]:
        return []

    def room(self, source: int, target: int) -> int:
        """A payload of the smaller path MTU, with the header before it."""
        own, peer = self.nics.get(source), self.nics[source].peers.get(target) if source in self.nics else None
        mtu = min(own.port.mtu, int(peer["mtu"])) if own and peer else 3
        return verbs.MTU_BYTES[mtu] - 16

    def transmit(self, kind: int, source: int, target: int, body: bytes) -> None:
        nic = self.nics.get(source)
        if nic is None or target not in nic.peers:
            return
        try:
            self._send(nic, target, body)
        except (OSError, ValueError) as error:
            self.errors[kind, source, target] = getattr(error, "errno", None) or errno.EINVAL

    def _send(self, nic: _Nic, target: int, body: bytes) -> None:
        handle = nic.handle(target)
        end = time.monotonic() + 1
        while not nic.free:
            self.turn(0)
            if time.monotonic() > end:
                raise OSError(errno.EAGAIN, "no send completes")
        slot = nic.free.pop()
        start = nic.send_at + slot * UD_SLOT
        nic.port.memory[start : start + len(body)] = body
        nic.port.send_ud(nic.ud, _wr_id(UD_SEND, slot), start, len(body), (handle, nic.peers[target]["ud"], QKEY))

    def turn(self, seconds: float) -> int:
        """Take all completions: datagrams are answered, those of writes are kept."""
        end, count = time.monotonic() + seconds, 0
        while True:
            for nic in self.nics.values():
                for wr_id, status, _opcode, length in nic.port.poll():
                    count += self._complete(nic, wr_id >> 32, wr_id & 0xFFFFFFFF, status, length)
            if count or time.monotonic() >= end:
                return count
            time.sleep(0.0005)

    def _complete(self, nic: _Nic, kind: int, number: int, status: int, length: int) -> bool:
        if kind == UD_SEND:
            nic.free.append(number)
            return False
        if kind == UD_RECV:
            if status != verbs.WC_SUCCESS:
                return False
            data = nic.datagram(number, length)
            nic.repost(number)
            return self.take(nic.position, data, lambda source, body: self._reply(nic, source, body))
        # The first error of a queue pair is its outcome; what is flushed behind it says nothing.
        self.done.setdefault((kind, nic.position, number), status)
        return True

    def _reply(self, nic: _Nic, source: int, body: bytes) -> None:
        try:
            if source in nic.peers:
                self._send(nic, source, body)
        except OSError:
            return

    # --- writes ---

    def sweep(self, tell: t.Callable[[Json], None]) -> None:
        """First the datagrams, which show the shape at once; then all pairs on RC."""
        if self.options.get("ud", True):
            super().sweep(tell)
        pairs = [pair for turn in self.world.plan.rounds for pair in self.world.targets(turn)]
        for source, target in pairs:
            if source not in self.nics:
                self._fail(source, target, *self.failed.get(source, ("open", errno.ENODEV)))
        good = self._verify([pair for pair in pairs if pair not in self.raw])
        tell({"step": "rc", "rounds": len(self.world.plan.rounds), "pairs": len(pairs), "failures": len(pairs) - good})

    def _verify(self, pairs: list[tuple[int, int]]) -> int:
        """Small, full, atomic; how many passed the first two."""
        passed = self._phase(RC_FULL, self.full, self._phase(RC_SMALL, self.small, pairs, self._write_small),
                             self._write_full)  # fmt: skip
        self._phase(RC_ATOMIC, {}, passed, self._add)
        return len(passed)

    def failures(self) -> list[list[int]]:
        """Pairs of this host's senders whose queue pair gave up, and whether datagrams were answered all the same."""
        return [
            [source, target, self.acked[FULL][source] >> target & 1]
            for (source, target), (step, _number) in sorted(self.raw.items())
            if step in ("wc", "deadline")
        ]

    def again(self, pairs: t.Sequence[t.Sequence[int]], timers: t.Sequence[int]) -> Json:
        """New queue pairs for pairs that failed, at both of their ends, and longer timers."""
        self.timeout, self.retries = checked_timers({"timeout": timers[0], "retry_cnt": timers[1]})
        towards: dict[str, Json] = {}
        self.todo = []
        for source, target, *_answered in pairs:
            mine, peer = (source, target) if source in self.nics else (target, source)
            nic = self.nics.get(mine)
            if nic is None or peer not in nic.rc:
                continue
            if (mine, peer) == (source, target):
                self.todo.append((source, target))
            number = nic.numbers.get(peer) if peer in nic.fresh else None
            if number is None:
                nic.port.destroy(nic.rc.pop(peer))
                number = nic.numbers[peer] = self._create(nic, peer)
                nic.fresh.add(peer)
            towards.setdefault(str(self.world.table[peer].host), {})[f"{mine} {peer}"] = number
        return {"nics": {}, "to": towards}

    def retry(self, tell: t.Callable[[Json], None]) -> None:
        """The failed pairs once more; those that pass now have flapped."""
        before = {pair: self.raw.pop(pair) for pair in self.todo if pair in self.raw}
        for source, target in before:
            for planes in (self.small, self.full):
                for rows in planes.values():
                    rows[source] &= ~(1 << target)
        for nic in self.nics.values():
            nic.fresh.clear()
        self.done.clear()
        good = self._verify(list(before))
        self.flaps = [list(pair) for pair in before if pair not in self.raw]
        tell({"step": "rc again", "rounds": 0, "pairs": len(before), "failures": len(before) - good})

    def _phase(
        self, kind: int, planes: dict[str, list[int]], pairs: list[tuple[int, int]], post: t.Callable[[int, int], None]
    ) -> list[tuple[int, int]]:
        """Post to the pairs in their order, so many at a time, and wait for completions; the pairs that succeeded.

        All at once would have senders compete for one receiver, and packets are lost on a healthy fabric.
        """
        limit = 4 * nominal(self.timeout, self.retries) + 2
        rest, good = list(reversed(pairs)), []
        going: dict[tuple[int, int], float] = {}
        while rest or going:
            while rest and len(going) < self.window:
                pair = rest.pop()
                if self._posted(planes, pair, post):
                    going[pair] = time.monotonic() + limit
            self.turn(0.002)
            now = time.monotonic()
            for pair in [pair for pair, end in going.items() if (kind, *pair) in self.done or now > end]:
                del going[pair]
                if self._ended(kind, planes, pair):
                    good.append(pair)
        return good

    def _posted(self, planes: dict[str, list[int]], pair: tuple[int, int], post: t.Callable[[int, int], None]) -> bool:
        try:
            post(*pair)
        except OSError as error:
            self.raw.setdefault(pair, ("post", error.errno or errno.EIO))
            self._put(planes, "OTHER", *pair)
            return False
        return True

    def _ended(self, kind: int, planes: dict[str, list[int]], pair: tuple[int, int]) -> bool:
        """Keep a pair's outcome; whether it succeeded."""
        status = self.done.pop((kind, *pair), None)
        code = "RETRY_EXC" if status is None else STATUS.get(status, "OTHER")
        self._put(planes, code, *pair)
        if code != "OK":
            self.raw.setdefault(pair, ("deadline", 0) if status is None else ("wc", int(status)))
        return code == "OK"

    def _slot(self, source: int, target: int, offset: int) -> tuple[int, int]:
        """Where the target's memory takes what this source writes."""
        known = self.nics[source].peers[target]
        return int(known["addr"]) + source * SLOT + offset, int(known["rkey"])

    def _out(self, nic: _Nic, target: int, offset: int, data: bytes) -> int:
        at = nic.out_at + target * SLOT + offset
        nic.port.memory[at : at + len(data)] = data
        return at

    def _write_small(self, source: int, target: int) -> None:
        nic = self.nics[source]
        at = self._out(nic, target, 0, self.world.nonce(source, target, SMALL))
        nic.port.write(nic.rc[target], _wr_id(RC_SMALL, target), at, NONCE, self._slot(source, target, 0))

    def _write_full(self, source: int, target: int) -> None:
        """Four packets of the path's MTU, then the nonce: a queue pair keeps the order and stops at an error."""
        nic, known = self.nics[source], self.nics[source].peers[target]
        size = 4 * verbs.MTU_BYTES[min(nic.port.mtu, int(known["mtu"]))]
        bulk = (int(known["addr"]) + self._bulk(nic), int(known["rkey"]))
        nic.port.write(nic.rc[target], _wr_id(RC_FULL, target), nic.bulk_out, size, bulk, signal=False)
        at = self._out(nic, target, AT_FULL, self.world.nonce(source, target, FULL))
        nic.port.write(nic.rc[target], _wr_id(RC_FULL, target), at, NONCE, self._slot(source, target, AT_FULL))

    @staticmethod
    def _bulk(nic: _Nic) -> int:
        """The same on every host: the layout depends on the number of NICs alone."""
        return nic.bulk_in

    def _add(self, source: int, target: int) -> None:
        nic = self.nics[source]
        at = nic.out_at + target * SLOT + AT_ATOMIC
        nic.port.fetch_add(nic.rc[target], _wr_id(RC_ATOMIC, target), at, self._slot(source, target, AT_ATOMIC))

    # --- rates ---

    def measure(self, number: int) -> None:
        """One round of the schedule alone on the fabric: rate and latency of each of this host's pairs."""
        pairs = [
            pair for pair in self.world.targets(self.world.plan.rounds[number])
            if self.full.get("OK", [0] * self.world.size)[pair[0]] >> pair[1] & 1
        ]  # fmt: skip
        for source, target in pairs:
            self.latencies[source, target] = self._latency(source, target)
        written = dict.fromkeys(pairs, 0)
        start = time.monotonic()
        going = set(pairs)
        for pair in pairs:
            self._write_bulk(*pair)
        while going and time.monotonic() < start + 10 * self.rate_seconds + 1:
            self.turn(0.001)
            for pair in list(going):
                status = self.done.pop((RC_RATE, *pair), None)
                if status is None:
                    continue
                written[pair] += BULK if status == verbs.WC_SUCCESS else 0
                if status != verbs.WC_SUCCESS or time.monotonic() > start + self.rate_seconds:
                    going.discard(pair)
                else:
                    self._write_bulk(*pair)
        seconds = time.monotonic() - start
        self.rates += [[*pair, round(8e-9 * count / seconds, 4)] for pair, count in written.items() if count]

    def _write_bulk(self, source: int, target: int) -> None:
        nic, known = self.nics[source], self.nics[source].peers[target]
        remote = (int(known["addr"]) + self._bulk(nic), int(known["rkey"]))
        nic.port.write(nic.rc[target], _wr_id(RC_RATE, target), nic.bulk_out, BULK, remote)

    def _latency(self, source: int, target: int, count: int = 11) -> float:
        """The median of some small writes, in microseconds."""
        taken = []
        for _number in range(count):
            self.done.pop((RC_SMALL, source, target), None)
            start = time.monotonic()
            self._write_small(source, target)
            while (RC_SMALL, source, target) not in self.done and time.monotonic() < start + 1:
                self.turn(0)
            taken.append(time.monotonic() - start)
        return round(statistics.median(taken) * 1e6, 1) if taken else math.nan

    # --- the end ---

    def report(self) -> Json:
        mine = list(self.world.mine)
        landed, wrong = self._landed()
        found = merge.report(
            self.world.me,
            self.world.size,
            small={code: [rows[position] for position in mine] for code, rows in self.small.items()},
            full={code: [rows[position] for position in mine] for code, rows in self.full.items()},
            landed=landed,
            wrong=sorted(wrong),
            errors=sorted([*pair, *what] for pair, what in self.raw.items()),
        )
        found["rates"] = self.rates
        found["flaps"] = self.flaps
        ports = {str(nic.nic["name"]): nic.port.try_register for nic in self.nics.values()}
        found["gpu_memory"] = gpu.registrations(ports) if self.options.get("gpu", True) else {}
        found["latencies"] = [[*pair, value] for pair, value in sorted(self.latencies.items())]
        found["ud"] = {"acked": sum(bin(row).count("1") for row in self.acked[FULL]),
                       "seen": sum(bin(row).count("1") for row in self.seen[FULL])}  # fmt: skip
        return found

    def _landed(self) -> tuple[dict[str, list[int]], set[tuple[int, int]]]:
        """Whose nonces are in this host's memory, and those that were meant for another."""
        landed: dict[str, list[int]] = {name: [] for name in merge.RECEIVER}
        wrong: set[tuple[int, int]] = set()
        for position in self.world.mine:
            rows = dict.fromkeys(merge.RECEIVER, 0)
            nic = self.nics.get(position)
            for source, other in enumerate(self.world.table):
                if nic is None or other.host == self.world.me:
                    continue
                for kind, name, offset in ((SMALL, "seen", 0), (FULL, "seen_full", AT_FULL)):
                    value = nic.memory_at(source * SLOT + offset)
                    if value == self.world.nonce(source, position, kind):
                        rows[name] |= 1 << source
                    elif any(value):
                        meant = self._meant_for(value, source, kind)
                        wrong |= {(source, meant)} if meant is not None else set()
                        rows["damaged"] |= (1 << source) if meant is None else 0
            for name, row in rows.items():
                landed[name].append(row)
        return landed, wrong

    def _meant_for(self, value: bytes, source: int, kind: int) -> int | None:
        targets = range(self.world.size)
        return next((target for target in targets if value == self.world.nonce(source, target, kind)), None)

    def close(self) -> None:
        """Queue pairs first, as the library wants it."""
        for nic in self.nics.values():
            for qp in (*nic.rc.values(), nic.ud):
                nic.port.destroy(qp)
            for handle in nic.handles.values():
                nic.port.lib.ibv_destroy_ah(handle)
            nic.port.close()


def _psn(source: int, target: int) -> int:
    """Starting sequence numbers that both ends know; never the same for two pairs next to each other."""
    return (source * 7919 + target * 104729) & 0xFFFFFF
