"""The embedded Python sandbox: runs code that a model wrote, on Linux, without a container and without privileges.

A **server** process with the usual libraries imported keeps forked children ready; a child gives up everything that it
could do harm with, takes one call, and is gone. A call costs milliseconds and leaves nothing.

What code cannot do, and what stops it:

- read a file other than Python's own libraries, time zones and its scratch folder, or write outside that folder:
  landlock. Make links, or change modes, owners, times or attributes of any file: seccomp.
- open a socket, start a process or a thread, run a program, trace or signal another process, load code into the kernel,
  mount, change its identity or limits: a seccomp allow-list. Where the kernel lets it, the server also lives in user,
  process, network, IPC and host-name namespaces of its own, and always without root where Python can be read without.
- read a secret of the process that owns the sandbox: the server starts as a new program with an empty environment, and
  neither it nor another call's child ever holds the code or the output of a call.
- use more than its time, memory, file sizes, number of files and output: rlimits and the server's clock.
- survive: it has no descendants and dies with the server, and the server dies with its owner.
- leave something: its scratch folder is removed, and what it did to imported modules it did to its own copy.
- pass for the infrastructure: time-outs, file limits and failed isolation are what the server saw, never what the code
  wrote. What code can choose is its own output, traceback and exit status, and these are data.

What this does not protect against: bugs in the kernel; side channels; load on processor and disk while code runs (there
are no weights or quotas between calls); and learning names, sizes and times of files elsewhere with ``stat``, which
landlock does not cover.

It fails closed: on another system than Linux, on a kernel before 5.13, where landlock is off, or where the check that
the server makes at its start finds a hole, every call is a ``ToolError`` of kind ``unavailable`` that says what is
missing.

Imported ahead, where installed: ``numpy``, ``sympy``, ``PIL``, and of the standard library ``server.STANDARD``.
Whatever else the environment has imports when used. The global generators of ``random`` and ``numpy.random`` and the
order of sets start equal in every call, so that a call replays.
"""
