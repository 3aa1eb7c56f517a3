"""Every exception that this package raises on purpose.

    OsvlError
     ├─ SettingError      a setting is wrong; the message starts with the setting's full name
     ├─ CorpusError       a corpus is missing, incomplete or of another version
     ├─ PolicyError       the policy (rollout server, model) gave no turn; never the model's fault
     │   └─ ContextLimit  the conversation leaves no room for another turn; ends the episode, and is no failure
     ├─ JudgeFailed       a judge gave no verdict: the sample has no reward, which is not a reward of 0
     ├─ RecordingError    a recording of live services is damaged, or cannot be read or written
     ├─ ReplayMiss        a replayed run asked what was never recorded
     └─ ToolError         a tool call failed; carries one of a closed set of kinds

A ``ToolError`` is data: the tool set turns it into an error step and a short message for the model, and the
episode goes on. A ``PolicyError`` marks the trajectory as failed by the infrastructure, a ``JudgeFailed`` as
unscored: neither trains anything.
Everything else ends the run.
"""

from __future__ import annotations

from typing import Literal, get_args

ErrorKind = Literal[
    "unknown_tool",  # no tool of that name
    "bad_arguments",  # the arguments do not fit the tool's schema, or name an image that does not exist
    "parse",  # no tool call and no answer could be read from the turn
    "not_found",  # the page or resource asked for does not exist
    "timeout",  # the tool did not finish within its deadline
    "rate_limited",  # the service refused for now
    "unavailable",  # the service or a part that the tool needs is not there
    "denied",  # the call is not allowed
    "limit",  # an input or an output is over its bound
    "failed",  # the tool broke
]

ERROR_KINDS: tuple[str, ...] = get_args(ErrorKind)


class OsvlError(Exception):
    """Base of all of them."""


class SettingError(OsvlError, ValueError):
    """A setting has a value that cannot work.

    ``name`` is the setting's full name as it is written in a config (``algorithm.fatal.k``).
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self._problem = problem

    def __reduce__(self) -> tuple[type[SettingError], tuple[str, str]]:
        return type(self), (self.name, self._problem)


class CorpusError(OsvlError):
    """A corpus cannot be opened or built; the message says what to run."""


class PolicyError(OsvlError):
    """The policy gave no turn: a server error or a time-out, not something the model wrote."""


class ContextLimit(PolicyError):
    """The conversation so far does not fit the model's context."""


class JudgeFailed(OsvlError):
    """A judge gave no verdict after all its retries. It says nothing about the answer: never a zero."""


class RecordingError(OsvlError):
    """A recording is damaged, or cannot be read or written; the message names the file."""


class ReplayMiss(OsvlError):
    """A replayed run asked what was never recorded: it is no longer the run that was recorded."""


class ToolError(OsvlError):
    """A tool call failed.

    ``kind`` decides whether and how the step counts as an error; ``str(error)`` is what the model reads.
    """

    def __init__(self, kind: ErrorKind, message: str) -> None:
        if kind not in ERROR_KINDS:
            raise ValueError(f"unknown error kind {kind!r}; one of {', '.join(ERROR_KINDS)}")
        super().__init__(message)
        self.kind: ErrorKind = kind

    def __reduce__(self) -> tuple[type[ToolError], tuple[ErrorKind, str]]:
        return type(self), (self.kind, str(self))
