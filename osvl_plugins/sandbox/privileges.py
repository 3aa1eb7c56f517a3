"""What the server gives up at its start and a child before it runs code: root, capabilities, namespaces, rlimits."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Sequence
from pathlib import Path

from osvl_plugins.sandbox.linux import PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, check, libc, prctl

_USER, _PROCESSES, _NETWORK, _IPC, _HOST_NAME = 0x10000000, 0x20000000, 0x40000000, 0x08000000, 0x04000000
_APART = _PROCESSES | _NETWORK | _IPC | _HOST_NAME
_NOBODY = 65534
_CAPABILITIES = 0x20080522  # version 3 of capset(2): two sets of three words


def renounce_root(needed: Sequence[str], folder: str) -> None:
    """Become nobody, and ``folder`` with it, when this process is root and everyone can read ``needed``.

    Where Python lies in a folder that only root may enter, a server that gave root up could not import any more; where
    a container withholds the capability, it cannot give it up. Its children then keep the user id, without any
    capability.
    """
    if os.geteuid() != 0 or not all(_open_to_all(path) for path in [*needed, os.path.dirname(folder)]):
        return
    try:
        os.chown(folder, _NOBODY, _NOBODY)
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except PermissionError:
        os.chown(folder, 0, 0)
        return
    prctl(PR_SET_DUMPABLE, 1)  # or /proc/self belongs to root, and with it the map of a new user namespace


def _open_to_all(path: str) -> bool:
    real = Path(path).resolve()
    return bool(real.stat().st_mode & 0o004) and all(parent.stat().st_mode & 0o001 for parent in real.parents)


def namespaces() -> tuple[str, int]:
    """Which namespaces the kernel lets this process have, tried in a child: their names and the flags for ``enter``."""
    for names, flags in (
        ("user, process, network, IPC, host name", _USER | _APART),
        ("process, network, IPC, host name", _APART),  # root where user namespaces are forbidden
    ):
        child = os.fork()
        if child == 0:
            try:
                enter(flags)
                if (grandchild := os.fork()) == 0:
                    os._exit(0)
                os.waitpid(grandchild, 0)
                os._exit(0)
            except OSError:
                os._exit(1)
            finally:
                os._exit(2)
        if os.waitpid(child, 0)[1] == 0:
            return names, flags
    return "none", 0


def enter(flags: int) -> None:
    """Enter new namespaces; the next fork is the first process of the new process namespace. Raises ``OSError``."""
    user, group = os.geteuid(), os.getegid()
    check(libc.unshare(flags), "unshare")
    if flags & _USER:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_NOBODY} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{_NOBODY} {group} 1")


def become_first() -> None:
    """Go on as the first process of the namespaces just entered; all others of them end with it.

    This process stays as its parent, and ends with it.
    """
    if (first := os.fork()) == 0:
        die_with(0)  # a parent outside the process namespace has the id 0
        return
    os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent, whose process id is ``parent``, ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def drop_capabilities() -> None:
    """Give up every capability for good. Raises ``OSError``."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
    check(libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def mapped() -> int:
    """Bytes of address space that this process uses."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def limit(address_space: int, cpu_s: int, file_bytes: int, open_files: int) -> None:
    """Bound this process: bytes of address space, CPU seconds, bytes of a file, open files. Raises ``OSError``."""
    for kind, soft, hard in (
        (resource.RLIMIT_AS, address_space, address_space),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NOFILE, open_files, open_files),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ):
        ceiling = resource.getrlimit(kind)[1]
        top = hard if ceiling == resource.RLIM_INFINITY else min(hard, ceiling)
        resource.setrlimit(kind, (min(soft, top), top))
