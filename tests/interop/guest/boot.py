"""The kernel, the first file system in memory, and the machine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.interop.suites.aptsource import download
from tests.interop.suites.sources import build_directory
from tests.system.users import REPOSITORY

MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
"""What reaches the files of this machine; those that a kernel has not are built into it."""
APPLETS = ("cat", "insmod", "ip", "ln", "mkdir", "mount", "sh", "switch_root")
UNPACK = {".ko": ["cat"], ".xz": ["xz", "-dc"], ".zst": ["zstd", "-dcq"]}
INIT = Path(__file__).with_name("init.sh")


def fetched(package: str) -> Path:
    """The files of a kernel's package, or of the one for which it stands. Raises NotRun."""
    target = build_directory() / "kernels" / package
    if not target.exists():
        part = target.with_name(f"{package}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        download(_real_name(package), part)
        (file,) = part.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", file, part], check=True)
        file.unlink()
        part.rename(target)
    return target


def _real_name(package: str) -> str:
    shown = subprocess.run(
        ["apt-cache", "show", package], capture_output=True, text=True, check=True
    ).stdout
    depends = re.search(r"^Depends: (linux-image-\S+)", shown, re.MULTILINE)
    return depends[1] if depends else package


def first_files(kernel: Path, command: Sequence[str], env: Mapping[str, str], work: Path) -> Path:
    """The initramfs that runs the command."""
    root = work / "first"
    for name in ("bin", "modules", "proc", "sys", "dev", "lower", "upper", "kept", "new"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    order = _copy_modules(kernel, root / "modules")
    (root / "modules/order").write_text("".join(f"{name}\n" for name in order))
    settings = [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
    text = INIT.read_text().replace("@REPOSITORY@", str(REPOSITORY))
    text = text.replace("@COMMAND@", shlex.join(command)).replace("@SETTINGS@", "\n".join(settings))
    (root / "init").write_text(text)
    (root / "init").chmod(0o755)
    names = [str(path.relative_to(root)) for path in root.rglob("*")]
    made = work / "initramfs"
    with made.open("wb") as to:
        words = ["cpio", "-o", "-H", "newc", "--quiet"]
        subprocess.run(words, input="\n".join(names), text=True, cwd=root, stdout=to, check=True)
    return made


def _copy_modules(kernel: Path, to: Path) -> list[str]:
    """Copies of MODULES and what they need, in the order in which they can be loaded."""
    files = {file.name.split(".ko")[0]: file for file in kernel.glob("lib/modules/**/*.ko*")}
    order: list[str] = []

    def copy(name: str) -> None:
        if name in order or name not in files:
            return
        file = files[name]
        data = subprocess.run([*UNPACK[file.suffix], file], capture_output=True, check=True).stdout
        needs = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in needs[1].decode().split(",") if needs else ():
            copy(other)
        (to / name).write_bytes(data)
        order.append(name)

    for name in MODULES:
        copy(name)
    return order


def boot(kernel: Path, first: Path, *, accelerator: str, memory: str, seconds: float) -> int:
    """Run the machine, print what its second port says; the command's status (125: none)."""
    (image,) = kernel.glob("boot/vmlinuz-*")
    words = [
        "qemu-system-x86_64", "-accel", accelerator, "-cpu", "max", "-smp", str(os.cpu_count()),
        "-m", memory, "-display", "none", "-no-reboot", "-nodefaults", "-kernel", str(image),
        "-initrd", str(first), "-append", "console=ttyS0 panic=-1 quiet",
        "-serial", "null", "-serial", "stdio",
        "-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
    ]  # fmt: skip
    status = 125
    with subprocess.Popen(
        ["timeout", str(seconds), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as machine:
        assert machine.stdout is not None
        for line in machine.stdout:
            told = re.match(rb"status (\d+)\r?\n", line)
            if told:
                status = int(told[1])
            else:
                sys.stdout.buffer.write(line.replace(b"\r\n", b"\n"))
                sys.stdout.buffer.flush()
    return status
