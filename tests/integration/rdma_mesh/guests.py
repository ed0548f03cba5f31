# Copyright: (c) 2026, llmd.wide_ep contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with soft-RoCE NICs as QEMU guests, a router between them, and the real prober on real verbs.

Everything comes from Debian packages that are downloaded and unpacked, never installed, and runs as the first process
of its own mount, network and PID namespace: whatever ends it, the kernel takes guests, taps and routes away. Guests see
the machine's files read-only below a layer of their own. They are emulated: no KVM is needed.
"""

from __future__ import annotations

import gzip
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

KERNEL = "linux-image-6.1.0-56-amd64"
PACKAGES = ("qemu-system-x86", "busybox-static", "ibverbs-providers", "rdma-core", "perftest")
#: In the order in which they are loaded. Some are built into other kernels: a failure is passed over.
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "netfs",
    "fscache",
    "9pnet",
    "9p",
    "9pnet_virtio",
    "overlay",
    "crc32_generic",
    "crc32-pclmul",
    "udp_tunnel",
    "ip6_udp_tunnel",
    "ib_core",
    "ib_uverbs",
    "rdma_rxe",
)
GATEWAY, GATEWAY_MAC = "169.254.1.1", "02:00:00:00:00:01"
MTU = 2200
MEMORY = 512
Json = dict[str, t.Any]
#: Whatever ends the one who started it ends the first process, and with it everything inside.
ISOLATION = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"),
)

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod $module 2>/dev/null; done
mount -t tmpfs tmpfs /layer; mkdir /layer/upper /layer/work
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 host /lower
mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work overlay /new
mount --move /proc /new/proc; mount --move /sys /new/sys; mount --move /dev /new/dev
mount -t tmpfs tmpfs /new/run; mount -t tmpfs tmpfs /new/tmp; mkdir -p /new/run/lab
mkdir -p /new/run/parts
for tag in lab parts; do
  mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 $tag /new/run/$tag
done
chroot /new /bin/sh /run/lab/guest.sh
poweroff -f
"""

GUEST = """#!/bin/sh
exec >/dev/ttyS0 2>&1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
index=$(sed 's/.*vmid=\\([0-9]*\\).*/\\1/' /proc/cmdline)
mkdir -p /etc/libibverbs.d
cp /run/parts/etc/libibverbs.d/rxe.driver /etc/libibverbs.d/
mkdir -p /usr/lib/x86_64-linux-gnu/libibverbs
cp /run/parts/usr/lib/x86_64-linux-gnu/libibverbs/librxe* /usr/lib/x86_64-linux-gnu/libibverbs/
export LD_LIBRARY_PATH=/run/parts/usr/lib/x86_64-linux-gnu:/run/parts/lib/x86_64-linux-gnu
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter; echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter
hostname guest-$index
for dev in /sys/class/net/*; do
  mac=$(cat $dev/address); name=$(basename $dev)
  case $mac in 02:00:00:00:*) ip link set $name name n${{mac##*:}};; esac
done
ip link set lo up
ip -batch /run/lab/inside-$index
number=0
while [ -e /sys/class/net/n$(printf %02x $((number + 16))) ]; do
  rdma link add rxe$number type rxe netdev n$(printf %02x $((number + 16)))
  number=$((number + 1))
done
{python} -c 'import pyverbs' 2>/dev/null && echo PYVERBS present || echo PYVERBS absent
echo READY
export JOB_COMPLETION_INDEX=$index NODE_NAME=node-$index PYTHONDONTWRITEBYTECODE=1
ulimit -l unlimited
{python} /run/lab/mesh_prober.py /run/lab/config.json
# One perftest process per pair, as it would be without a resident prober: NIC 0 of hosts 0 and 1, so many times.
bare="/run/parts/usr/bin/ib_write_bw -d rxe0 -x 1 -s 64 -n 5 -F"
for number in $(seq 1 {bare}); do
  case $index in
    1) $bare -p $((18600 + number)) >/dev/null 2>&1;;
    # Its listener may not be there yet: what counts is the attempt that ends well.
    0) for attempt in $(seq 1 20); do
         start=$(date +%s%N)
         $bare -p $((18600 + number)) 172.31.0.11 >/tmp/bare.log 2>&1 &&
           echo BARE $((($(date +%s%N) - start) / 1000000)) && break
         sleep 1
       done;;
  esac
done
[ $index = 0 ] && [ {bare} -gt 0 ] && tail -3 /tmp/bare.log
echo ENDED
"""


def packages(cache: Path) -> Path:
    """The unpacked packages; they are downloaded where they are not yet."""
    root, archives = cache / "root", cache / "archives"
    if (cache / "complete").exists():
        return root
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    apt = ["-y", "-o", f"Dir::Cache::archives={archives}", "-o", "APT::Sandbox::User=root"]
    subprocess.run(["apt-get", "install", "--download-only", "--no-install-recommends", *apt, *PACKAGES], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    subprocess.run(["apt-get", "download", "-o", "APT::Sandbox::User=root", KERNEL], check=True, cwd=archives,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(archive), str(root)], check=True)
    (cache / "complete").touch()
    return root


def initramfs(root: Path) -> bytes:
    """busybox, the modules with numbered names, and what mounts the machine's files."""
    found = {path.stem: path for path in (root / "lib/modules").glob("*/kernel/**/*.ko")}
    entries: list[tuple[str, int, bytes]] = [
        (name, stat.S_IFDIR | 0o755, b"") for name in
        ("bin", "dev", "proc", "sys", "modules", "layer", "lower", "new")
    ]  # fmt: skip
    entries.append(("bin/busybox", stat.S_IFREG | 0o755, (root / "bin/busybox").read_bytes()))
    entries.append(("init", stat.S_IFREG | 0o755, INIT.encode()))
    for number, name in enumerate(MODULES):
        path = found.get(name) or found.get(name.replace("_", "-"))
        if path:
            entries.append((f"modules/{number:02}-{name}.ko", stat.S_IFREG | 0o644, path.read_bytes()))
    return gzip.compress(b"".join(_newc(at, *entry) for at, entry in enumerate([*entries, ("TRAILER!!!", 0, b"")])), 1)


def _newc(number: int, name: str, mode: int, data: bytes) -> bytes:
    fields = (number + 1, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def address(rail: int, host: int) -> str:
    return f"10.{100 + rail}.0.{10 + host}"


def mac(host: int, nic: int) -> str:
    return f"02:00:00:00:{host + 16:02x}:{nic + 16:02x}"


def batch(lines: t.Iterable[str]) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


class Guests:
    """``setup``: hosts, nics, lost (directed pairs), config, files, root (unpacked packages), python, seconds."""

    def __init__(self, setup: Json, folder: Path) -> None:
        self.setup, self.folder = setup, folder
        self.hosts, self.nics, self.root = setup["hosts"], setup["nics"], Path(setup["root"])
        self.running: dict[int, subprocess.Popen[bytes]] = {}

    def build(self) -> None:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        for name in ("all", "default"):
            Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
        batch(["link set lo up", *(line for host in range(self.hosts) for line in self._ports(host))])
        batch([f"rule add from {address(i, h)} to {address(j, g)} blackhole" for h, i, g, j in self.setup["lost"]])
        lab = self.folder / "lab"
        lab.mkdir()
        for name, text in self.setup["files"].items():
            (lab / name).write_text(text)
        (lab / "config.json").write_text(json.dumps(self.setup["config"]))
        (lab / "guest.sh").write_text(GUEST.format(python=self.setup["python"], bare=self.setup.get("bare", 0)))
        for host in range(self.hosts):
            (lab / f"inside-{host}").write_text("\n".join(self._inside(host)) + "\n")
        (self.folder / "initramfs").write_bytes(initramfs(self.root))

    def _ports(self, host: int) -> t.Iterator[str]:
        for nic, own in self._addresses(host):
            port = f"t{host}n{nic}"
            yield f"tuntap add dev {port} mode tap"
            yield f"link set {port} address {GATEWAY_MAC} mtu {MTU} up"
            yield f"route add {own}/32 dev {port}"
            yield f"neigh add {own} lladdr {mac(host, nic)} dev {port}"

    def _addresses(self, host: int) -> list[tuple[int, str]]:
        """NIC 200 is the management one."""
        return [*((nic, address(nic, host)) for nic in range(self.nics)), (200, f"172.31.0.{10 + host}")]

    def _inside(self, host: int) -> t.Iterator[str]:
        for nic, own in self._addresses(host):
            name = f"n{nic + 16:02x}"
            table = "main" if nic == 200 else str(100 + nic)
            yield f"link set {name} mtu {MTU} up"
            yield f"address add {own}/32 dev {name}"
            yield f"neigh add {GATEWAY} lladdr {GATEWAY_MAC} dev {name}"
            yield f"route add default via {GATEWAY} dev {name} onlink table {table}"
            if nic != 200:
                # The kernel resolves a peer's address by its own rules, with the interface as the only key.
                yield f"rule add from {own} lookup {table}"
                yield f"rule add oif {name} lookup {table}"

    def start(self, host: int) -> None:
        kernel = next((self.root / "boot").glob("vmlinuz-*"))
        devices = []
        for nic, _own in self._addresses(host):
            devices += ["-netdev", f"tap,id=d{nic},ifname=t{host}n{nic},script=no,downscript=no", "-device",
                        f"virtio-net-pci,romfile=,netdev=d{nic},mac={mac(host, nic)},host_mtu={MTU}"]  # fmt: skip
        share = "local,path={},mount_tag={},security_model=none,readonly=on,multidevs=remap"
        command = [
            str(self.root / "usr/bin/qemu-system-x86_64"), "-L", str(self.root / "usr/share/qemu"),
            "-L", str(self.root / "usr/share/seabios"), "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", str(MEMORY),
            "-nographic", "-no-reboot", "-monitor", "none", "-serial", f"file:{self.folder}/{host}.log",
            "-kernel", str(kernel), "-initrd", str(self.folder / "initramfs"),
            "-append", f"console=ttyS0 panic=-1 quiet net.ifnames=0 vmid={host}",
            "-virtfs", share.format("/", "host"), "-virtfs", share.format(self.folder / "lab", "lab"),
            "-virtfs", share.format(self.root, "parts"), *devices,
        ]  # fmt: skip
        libraries = [str(self.root / "usr/lib/x86_64-linux-gnu"), str(self.root / "lib/x86_64-linux-gnu")]
        environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(libraries)}
        errors = (self.folder / f"{host}.err").open("wb")
        self.running[host] = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=errors,
                                              stderr=errors)  # fmt: skip

    def log(self, host: int) -> str:
        path = self.folder / f"{host}.log"
        return path.read_text(errors="replace").replace("\r\n", "\n") if path.exists() else ""

    def run(self) -> Json:
        """Boot all, and wait until every guest has ended its prober or the time is over."""
        start = time.monotonic()
        for host in range(self.hosts):
            self.start(host)
        ready: dict[int, float] = {}
        end = start + float(self.setup["seconds"])
        while time.monotonic() < end:
            for host in range(self.hosts):
                if host not in ready and "READY" in self.log(host):
                    ready[host] = round(time.monotonic() - start, 1)
            if all("ENDED" in self.log(host) for host in range(self.hosts)):
                break
            if any(process.poll() is not None for process in self.running.values()):
                break
            time.sleep(0.2)
        seconds = round(time.monotonic() - start, 1)
        for process in self.running.values():
            process.kill()
            process.wait()
        errors = {host: (self.folder / f"{host}.err").read_text(errors="replace")[-500:] for host in range(self.hosts)}
        return {"log": self.log(0), "logs": {host: self.log(host)[-1500:] for host in range(1, self.hosts)},
                "ready": ready, "seconds": seconds, "errors": errors}  # fmt: skip


def isolated(setup: Json) -> Json:
    """Run guests with this setup in namespaces of their own and return what they printed."""
    done = subprocess.run([*ISOLATION, sys.executable, __file__], input=json.dumps(setup), capture_output=True,
                          text=True, timeout=setup["seconds"] + 60, check=False)  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the guests ended with {done.returncode}: {done.stderr[-2000:]}")
    return t.cast("Json", json.loads(done.stdout))


def main() -> None:
    setup = json.load(sys.stdin)
    # Goes with the mount namespace.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        guests = Guests(setup, Path(folder))
        guests.build()
        print(json.dumps(guests.run()))


if __name__ == "__main__":
    main()
