"""Code that tries to get out, to take more than it may, to stay, or to lie. None of it succeeds.

An attack that is refused by the kernel raises ``OSError`` in the code; the code prints "escaped" where it got through.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from osvl_plugins.errors import ToolError
from osvl_plugins.sandbox.linux import memory_file
from osvl_plugins.sandbox.runner import SandboxResult
from tests.sandbox.conftest import Runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

SECRET = "a secret of the owner"

SYSCALL = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(x86_64, aarch64, *arguments):
    number = x86_64 if platform.machine() == "x86_64" else aarch64
    if libc.syscall(ctypes.c_long(number), *[a if isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
"""

REFUSED = {
    # reading
    "read passwd": "open('/etc/passwd').read()",
    "read shadow": "open('/etc/shadow').read()",
    "list the root folder": "import os; os.listdir('/')",
    "list the home folder": "import os; os.listdir('{home}')",
    "list its parent folder": "import os; os.listdir('..')",
    "read a file of the owner": "open('{secret}').read()",
    "read a file of the owner by a link": "import os; os.symlink('{secret}', 'link'); open('link').read()",
    "read a file of the owner by a hard link": "import os; os.link('{secret}', 'link'); open('link').read()",
    "read a file of the owner by way of dots": "open('../' * 20 + '{secret}').read()",
    "read the package's source": "open('{package}').read()",
    "read the first process's environment": "open('/proc/1/environ', 'rb').read()",
    "read the parent's environment": "import os; open('/proc/%d/environ' % os.getppid(), 'rb').read()",
    "read the owner's environment": "open('/proc/{owner}/environ', 'rb').read()",
    "read its own memory map": "open('/proc/self/maps').read()",
    "open its own memory": "open('/proc/self/mem', 'rb+')",
    "open a file of the owner by its number": "open('/proc/{owner}/fd/{memory}')",
    "open a file of its parent by its number": "import os; os.listdir('/proc/%d/fd' % os.getppid())",
    "leave by its parent's root": "import os; os.listdir('/proc/%d/root/' % os.getppid())",
    "read the disk": "import glob; [open(d, 'rb') for d in ('/dev/vda', '/dev/sda', '/dev/nvme0n1', '/dev/mem')]",
    "open the terminal": "open('/dev/tty', 'rb+')",
    "read kernel messages": "open('/dev/kmsg')",
    "open by handle": SYSCALL + "call(304, 265, -100, 0, 0)",
    # writing
    "write to the temporary folder": "open('/tmp/out', 'w')",
    "write to shared memory": "open('/dev/shm/out', 'w')",
    "write next to its folder": "open('../out', 'w')",
    "write to a library": "import json; open(json.__file__, 'a')",
    "truncate a library while reading": "import json, os; os.open(json.__file__, os.O_RDONLY | os.O_TRUNC)",
    "truncate a library by name": "import json, os; os.truncate(json.__file__, 0)",
    "truncate a library with access mode 3": "import json, os; os.open(json.__file__, 3 | os.O_TRUNC)",
    "remove a file of the owner": "import os; os.remove('{secret}')",
    "rename a file of the owner": "import os; os.rename('{secret}', 'mine')",
    "change the mode of a file of the owner": "import os; os.chmod('{secret}', 0o777)",
    "change the mode of an open library": "import json, os; os.fchmod(os.open(json.__file__, os.O_RDONLY), 0o777)",
    "change the owner of a file": "import os; os.chown('{secret}', 1, 1)",
    "change the times of a file of the owner": "import os; os.utime('{secret}')",
    "set an attribute of a file of the owner": "import os; os.setxattr('{secret}', 'user.escaped', b'1')",
    "make a named pipe": "import os; os.mkfifo('pipe')",
    "make a device": "import os; os.mknod('disk', 0o060600, os.makedev(8, 0))",
    "make a file set-uid": "import os; open('su', 'w').close(); os.chmod('su', 0o4755)",
    # the network
    "TCP": "import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "TCP over IPv6": "import socket; socket.socket(socket.AF_INET6, socket.SOCK_STREAM)",
    "UDP": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "unix socket": "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
    "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "raw socket": "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)",
    "packet socket": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "vsock": "import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "DNS": "import socket; socket.getaddrinfo('example.org', 80)",
    "connect to a port of the owner": "import socket; socket.create_connection(('127.0.0.1', {port}), 1)",
    "connect to an abstract socket of the owner": (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0osvl-escape-{owner}')"
    ),
    "a pair of sockets to send from": "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
    "fetch a page": "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}', timeout=1)",
    # other processes
    "trace its parent": SYSCALL + "call(101, 117, 16, os.getppid(), 0, 0)",
    "ask to be traced": SYSCALL + "call(101, 117, 0, 0, 0, 0)",
    "read its parent's memory": SYSCALL + "call(310, 270, os.getppid(), 0, 0, 0, 0, 0)",
    "write its parent's memory": SYSCALL + "call(311, 271, os.getppid(), 0, 0, 0, 0, 0)",
    "kill its parent": "import os; os.kill(os.getppid(), 9)",
    "kill the owner": "import os; os.kill({owner}, 9)",
    "kill everything": "import os; os.kill(-1, 9)",
    "kill its group": "import os; os.killpg(0, 9)",
    "stop the server": "import os, signal; os.kill(os.getppid(), signal.SIGSTOP)",
    "signal its parent with a value": SYSCALL + "call(129, 138, os.getppid(), 9, 0)",
    "signal a thread of its parent": SYSCALL + "call(234, 131, os.getppid(), os.getppid(), 9)",
    "signal by a process file": SYSCALL + "call(434, 434, os.getppid(), 0)",
    "take a file of its parent": SYSCALL + "call(438, 438, 3, 0, 0)",
    "have a signal sent to its parent": "import fcntl, os; fcntl.fcntl(1, fcntl.F_SETOWN, os.getppid())",
    "lower the priority of all": "import os; os.setpriority(os.PRIO_USER, 0, 19)",
    "limits of its parent": "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    # programs and processes
    "fork": "import os; os.fork()",
    "vfork": SYSCALL + "call(58, 220, 0x4111, 0, 0, 0, 0)",
    "clone with new namespaces": SYSCALL + "call(56, 220, 0x10000000 | 17, 0, 0, 0, 0)",
    "clone3": SYSCALL + "call(435, 435, 0, 0)",
    "a daemon": "import os; os.fork() or os.fork() or os.setsid()",
    "multiprocessing": "import multiprocessing; multiprocessing.Process(target=print).start()",
    "exec": "import os; os.execv('/bin/sh', ['sh', '-c', 'echo escaped'])",
    "subprocess": "import subprocess; subprocess.run(['/bin/sh', '-c', 'echo escaped'])",
    "spawn": "import os; os.posix_spawn('/bin/sh', ['sh'], {{}})",
    "a pseudo terminal": "import pty; pty.spawn('/bin/sh')",
    "raw execve": SYSCALL + "call(59, 221, b'/bin/sh', 0, 0)",
    "execveat": SYSCALL + "call(322, 281, -100, b'/bin/sh', 0, 0, 0)",
    "a program in memory": "import os; os.memfd_create('program')",
    "raw memfd_create": SYSCALL + "call(319, 279, b'program', 0)",
    "secret memory": SYSCALL + "call(447, 447, 0)",
    # the kernel
    "raw socket call": SYSCALL + "call(41, 198, 2, 1, 0)",
    "unshare": SYSCALL + "call(272, 97, 0x10000000)",
    "enter a namespace": SYSCALL + "call(308, 268, 0, 0)",
    "mount": SYSCALL + "call(165, 40, b'none', b'.', b'tmpfs', 0, 0)",
    "open a mount": SYSCALL + "call(428, 428, -100, b'/', 1)",
    "chroot": "import os; os.chroot('.')",
    "pivot_root": SYSCALL + "call(155, 41, b'.', b'.')",
    "become root": "import os; os.setuid(0)",
    "change the user of file access": SYSCALL + "call(122, 151, 0)",
    "take capabilities": SYSCALL + "call(126, 91, 0, 0)",
    "bpf": SYSCALL + "call(321, 280, 0, 0, 0)",
    "keys": SYSCALL + "call(250, 219, 0, -3, 0)",
    "io_uring": SYSCALL + "call(425, 425, 1, 0)",
    "userfaultfd": SYSCALL + "call(323, 282, 1)",
    "perf events": SYSCALL + "call(298, 241, 0, 0, -1, -1, 0)",
    "load a kernel module": SYSCALL + "call(313, 273, 0, b'', 0)",
    "another kernel": SYSCALL + "call(320, 294, 0, 0, 0, 0, 0)",
    "reboot": SYSCALL + "call(169, 142, 0, 0, 0, 0)",
    "set the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
    "set the host name": "import socket; socket.sethostname('escaped')",
    "switch the execution domain": SYSCALL + "call(135, 92, 0x0040000)",
    "shared memory of system V": SYSCALL + "call(29, 194, 1, 4096, 0o1666)",
    "a message queue": SYSCALL + "call(240, 180, b'escaped', 0o102, 0o600, 0)",
    "watch files": SYSCALL + "call(294, 26, 0)",
    "type into the terminal": "import fcntl; fcntl.ioctl(0, 0x5412, b'x')",
    # its own fences
    "raise a limit": SYSCALL + "call(302, 261, 0, 9, b'\\xff' * 16, 0)",
    "undo the parent-death signal": SYSCALL + "call(157, 167, 1, 0, 0, 0, 0)",
    "undo the filter": SYSCALL + "call(157, 167, 22, 0, 0, 0, 0)",
    "another filter": SYSCALL + "call(317, 277, 1, 0, 0)",
    "another landlock": SYSCALL + "call(444, 444, 0, 0, 1)",
    "call by the numbers of x32": SYSCALL + "call(0x40000000 + 41, -1, 2, 1, 0)",
}


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """What the attacks aim at: a readable file, a listening port, an abstract socket and this process."""
    folder = tmp_path_factory.mktemp("owner")
    folder.chmod(0o755)
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o666)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
        open(memory_file(), "w") as memory,
    ):
        abstract.bind(f"\0osvl-escape-{os.getpid()}")
        abstract.listen()
        yield {
            "secret": secret,
            "port": server.getsockname()[1],
            "owner": os.getpid(),
            "memory": memory.fileno(),
            "home": Path.home(),
            "package": Path(__file__),
        }
    assert secret.read_text() == SECRET
    assert secret.stat().st_mode & 0o777 == 0o666


def attempt(runs: Runs, code: str) -> SandboxResult:
    indented = "\n".join("    " + line for line in code.strip().splitlines())
    return runs(f"try:\n{indented}\nexcept OSError as error:\n    print('refused', error)\nelse:\n    print('escaped')")


@pytest.mark.parametrize("attack", REFUSED.values(), ids=REFUSED)
def test_the_kernel_refuses_to(attack: str, runs: Runs, owner: dict[str, object]) -> None:
    code = attack if attack.startswith(SYSCALL) else attack.format(**owner)
    result = attempt(runs, code)
    assert result.error is None
    assert result.stdout.startswith("refused")
    assert "escaped" not in result.stdout


RAISES = {
    "a thread": ("import threading; threading.Thread(target=print).start()", "can't start new thread"),
    "a bomb of threads": (
        "import threading\nwhile True:\n    threading.Thread(target=lambda: 1).start()",
        "can't start new thread",
    ),
    "a bomb of forks": ("import os\nwhile True:\n    os.fork()", "PermissionError"),
    "recursion": ("def f():\n    f()\nf()", "RecursionError"),
    "too many open files": ("files = [open(str(n), 'w') for n in range(500)]", "Too many open files"),
    "a deep expression": ("x = " + "(" * 5000 + ")" * 5000, "too many nested parentheses"),
    "os.system": ("import os\nassert os.system('echo escaped > out') == 0", "AssertionError"),
    "os.popen": ("import os\nos.popen('echo escaped').read()", "PermissionError"),
    "exit with a status": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "exit at once": ("import os\nos._exit(7)", "ended its process with status 7"),
    "abort": ("import os\nos.abort()", "crashed: Aborted"),
    "a segmentation fault": ("import ctypes\nctypes.string_at(0)", "crashed: Segmentation fault"),
    "a signal to itself": ("import os\nos.kill(os.getpid(), 9)", "crashed: Killed"),
    "a real-time signal to itself": ("import os\nos.kill(os.getpid(), 40)", "crashed: "),
    "code with a null byte": ("print('\0')", "null bytes"),
    "an exception that cannot be shown": (
        "class E(Exception):\n    def __str__(self):\n        raise SystemExit(0)\nraise E",
        "E",
    ),
    "no more built-ins": ("import builtins\nbuiltins.__dict__.clear()\n1", ""),
}


X86_32 = """
import ctypes, mmap
code = bytes.fromhex("b8 14 00 00 00 cd 80 c3")  # mov eax, 20 (getpid of 32-bit programs); int 0x80; ret
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
print("escaped", ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have no second set of calls")
def test_system_calls_of_32_bit_programs_end_the_code(runs: Runs) -> None:
    result = runs(X86_32)
    assert result.error == "the code crashed: Bad system call"
    assert result.stdout == ""


@pytest.mark.parametrize(("attack", "message"), RAISES.values(), ids=RAISES)
def test_the_code_alone_fails_at(attack: str, message: str, runs: Runs) -> None:
    error = runs(attack).error
    assert error is not None
    assert message in error
    assert runs("6 * 7").stdout == "42\n"


IGNORE = """import signal
for n in range(1, 65):
    try:
        signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
"""

STOPPED = {
    "a loop": ("while True:\n    pass", "timeout"),
    "a loop in C": ("sum(range(10**14))", "timeout"),
    "a long sleep": ("import time\ntime.sleep(10**6)", "timeout"),
    "sleeping with all signals ignored": (IGNORE + "import time\ntime.sleep(10**6)", "timeout"),
    "spinning with all signals ignored": (IGNORE + "while True:\n    pass", "timeout"),
    "spinning after an alarm": ("import signal\nsignal.alarm(0)\nwhile True:\n    pass", "timeout"),
    "stopping itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "timeout"),
    "catching every exception": (
        "while True:\n    try:\n        1 / 0\n    except BaseException:\n        pass",
        "timeout",
    ),
    "waiting for input forever": ("import select\nselect.select([], [], [])", "timeout"),
    "a last value that never ends": ("class R:\n    def __repr__(self):\n        while True: pass\nR()", "timeout"),
    "an exit that never ends": (
        "import sys\nclass Endless(str):\n    def __str__(self):\n        while True: pass\nsys.exit(Endless())",
        "timeout",
    ),
    "a backtracking pattern": ("import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')", "timeout"),
    "a huge power": ("x = 9 ** 9 ** 9", "timeout"),
    "memory for a list": ("x = [0] * 10**9", "limit"),
    "memory for a string": ("x = 'x' * 10**10", "limit"),
    "memory bit by bit": ("x = []\nwhile True:\n    x.append(bytearray(10**6))", "limit"),
    "memory by numpy": ("import numpy\nnumpy.ones(10**9)", "limit"),
    "memory by an image": ("from PIL import Image\nImage.new('RGB', (60000, 60000))", "limit"),
    "a flood of output": ("while True:\n    print('x' * 10000)", "limit"),
    "a flood of errors": ("import sys\nwhile True:\n    sys.stderr.write('x' * 10000)", "limit"),
    "a flood that catches errors": (
        "import os\nwhile True:\n    try:\n        os.write(1, b'x' * 10**6)\n    except OSError:\n        pass",
        "timeout",
    ),
    "a huge file": ("f = open('big', 'wb')\nwhile True:\n    f.write(bytes(10**6))", "limit"),
    "a sparse file": ("f = open('big', 'wb')\nf.truncate(2**40)", "limit"),
    "a file far away": ("f = open('big', 'wb')\nf.seek(2**40)\nf.write(b'x')\nf.flush()", "limit"),
    "many files": (
        "import itertools\nfor n in itertools.count():\n    open(str(n), 'w').close()",
        "limit",
    ),
    "many large files": (
        "import itertools\nfor n in itertools.count():\n    open(str(n), 'wb').write(bytes(10**7))",
        "limit",
    ),
    "folders in folders": ("import os\nwhile True:\n    os.mkdir('d'); os.chdir('d')", "limit"),
    "a folder that cannot be listed": (
        "import os, time\nos.mkdir('d', 0o300)\nfor n in range(2000):\n    open(f'd/{n}', 'w').close()\ntime.sleep(9)",
        "limit",
    ),
}


@pytest.mark.parametrize(("attack", "kind"), STOPPED.values(), ids=STOPPED)
def test_the_call_is_stopped_at(attack: str, kind: str, runs: Runs, hurries: Runs) -> None:
    run = hurries if kind == "timeout" else runs
    with pytest.raises(ToolError) as stopped:
        run(attack)
    assert stopped.value.kind == kind
    assert run("6 * 7").stdout == "42\n"
