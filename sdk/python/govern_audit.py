"""Audit records for governed operations, from Python.

    import govern_audit as audit

    with audit.operation("compose_section", section_spec={"name": "Intro", "bars": 32}) as op:
        op.modules_loaded = [{"name": "kick", "version": "1.0.0", "interface_schema": "contracts/kick.json"}]
        op.manifest_version = "1.2.0"
        op.seed_used = 12345
        ...

One record is written for each operation, when it ends: result "success", or
"failure" when the body raises, which is then raised on. The record is on the
disk before the with statement ends. If the log refuses it, or cannot be
reached, the with statement raises AuditError: an operation that cannot be
recorded has failed. Client(on_lost=...) is the explicit way to choose
otherwise.

The log is found through, in this order: the arguments of Client; the
environment variable GOVERN_AUDIT_SOCKET (a Unix socket); or a child process
`govern log append --follow` (GOVERN_AUDIT_COMMAND, split as a shell would).

When a connection breaks before the answer, the record is sent again over a new
one until `timeout` seconds have passed, so it is written at least once. Every
record carries metadata.record_id, a random id by which a reader can tell the
second copy from a second operation.

Only the standard library is used. Python 3.9 or newer.
"""

import datetime
import json
import os
import shlex
import socket as _socket
import subprocess
import threading
import time
import uuid

__all__ = ["AuditError", "Client", "Operation", "operation", "append"]

SUCCESS = "success"
FAILURE = "failure"
_MAX_MESSAGE = 1024  # characters of an exception's text in a record


class AuditError(Exception):
    """The log did not take a record. `code` is stable, for programs."""

    def __init__(self, code, message):
        super().__init__(f"{message} [{code}]")
        self.code = code
        self.message = message


class _Broken(Exception):
    """The connection ended before the answer came."""


class _Socket:
    """JSON lines over a Unix socket."""

    def __init__(self, path, timeout):
        self._conn = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            self._conn.settimeout(timeout)
            self._conn.connect(path)
            self._lines = self._conn.makefile("rb")
        except OSError as err:
            self._conn.close()
            raise _Broken(f"{path}: {err}") from err

    def ask(self, line):
        try:
            self._conn.sendall(line)
            return self._lines.readline()
        except OSError as err:
            raise _Broken(str(err)) from err

    def close(self):
        self._lines.close()
        self._conn.close()


class _Child:
    """JSON lines over the pipes of a child process."""

    def __init__(self, command):
        try:
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as err:
            raise AuditError("audit_unavailable", f"{command[0]} cannot be started: {err}") from err

    def ask(self, line):
        try:
            self._child.stdin.write(line)
            self._child.stdin.flush()
            return self._child.stdout.readline()
        except (OSError, ValueError) as err:
            raise _Broken(str(err)) from err

    def close(self):
        try:
            self._child.stdin.close()
        except OSError:
            pass
        try:
            self._child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()


class Client:
    """A connection to one audit log. Threads may share it; it survives fork.

    socket   path of the log's Unix socket
    command  argument list of a process that takes JSON lines, used without socket
    timeout  seconds to keep trying for one record, reconnecting when needed
    on_lost  None: a record that cannot be written raises AuditError. A function
             on_lost(record, error): is called instead, and the operation goes on.
    """

    def __init__(self, socket=None, command=None, timeout=10.0, on_lost=None):
        if socket is None and command is None:
            socket = os.environ.get("GOVERN_AUDIT_SOCKET")
        if socket is None and command is None:
            command = shlex.split(os.environ.get("GOVERN_AUDIT_COMMAND", "govern log append --follow"))
        self._path = socket
        self._command = command
        self._timeout = timeout
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._link = None
        self._pid = None

    def operation(self, name, section_spec, modules_loaded=(), manifest_version="", seed_used=0, metadata=None):
        """An operation to be used in a with statement; see Operation."""
        return Operation(self, name, section_spec, modules_loaded, manifest_version, seed_used, metadata)

    def append(self, record):
        """Write one complete record and return its index once it is durable.

        Returns None only when on_lost was told that the record is lost.
        """
        try:
            return self._append(record)
        except AuditError as err:
            if self._on_lost is None:
                raise
            self._on_lost(record, err)
            return None

    def close(self):
        """Close the connection; the next record opens a new one."""
        with self._lock:
            self._drop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _append(self, record):
        try:
            text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            line = text.encode("utf-8") + b"\n"
        except (TypeError, ValueError) as err:
            raise AuditError("audit_record_invalid", f"the record is not JSON: {err}") from err
        deadline = time.monotonic() + self._timeout
        pause = 0.01
        with self._lock:
            while True:
                try:
                    return self._ask(line)
                except _Broken as err:
                    self._drop()
                    if time.monotonic() + pause > deadline:
                        raise AuditError("audit_unavailable", f"the audit log does not answer: {err}") from err
                time.sleep(pause)
                pause = min(2 * pause, 0.5)

    def _ask(self, line):
        if self._pid != os.getpid():  # the parent's connection is not ours
            self._link = None
        if self._link is None:
            self._link = _Socket(self._path, self._timeout) if self._path is not None else _Child(self._command)
            self._pid = os.getpid()
        answer = self._link.ask(line)
        if not answer.endswith(b"\n"):
            raise _Broken("the connection ended")
        try:
            answer = json.loads(answer)
            if "error" in answer:
                raise AuditError(answer["error"]["code"], answer["error"]["message"])
            return answer["index"]
        except (ValueError, KeyError, TypeError) as err:
            self._drop()
            raise AuditError("audit_answer_invalid", "the answer is not one of an audit log") from err

    def _drop(self):
        if self._link is not None and self._pid == os.getpid():
            self._link.close()
        self._link = None


class Operation:
    """One running operation. The body of the with statement may set
    modules_loaded, manifest_version, seed_used and entries of metadata; after it,
    `index` is the place of the record in the log, or None if it was lost.
    """

    def __init__(self, client, name, section_spec, modules_loaded, manifest_version, seed_used, metadata):
        self.name = name
        self.section_spec = section_spec
        self.modules_loaded = list(modules_loaded)
        self.manifest_version = manifest_version
        self.seed_used = seed_used
        self.metadata = dict(metadata or {})
        self.index = None
        self._client = client

    def __enter__(self):
        self._at = datetime.datetime.now(datetime.timezone.utc)
        self._start = time.monotonic()
        return self

    def __exit__(self, kind, error, _traceback):
        record = self._record(error)
        try:
            self.index = self._client.append(record)
        except AuditError as lost:
            if error is None:
                raise
            if hasattr(error, "add_note"):  # Python 3.11
                error.add_note(f"and the audit record was lost: {lost}")
        return False  # an exception of the body goes on

    def _record(self, error):
        metadata = dict(self.metadata)
        metadata["record_id"] = str(uuid.uuid4())
        if error is not None:
            metadata["error"] = {"type": type(error).__name__, "message": _clean(str(error))}
        return {
            "timestamp": self._at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z",
            "operation": self.name,
            "section_spec": self.section_spec,
            "modules_loaded": list(self.modules_loaded),
            "manifest_version": self.manifest_version,
            "seed_used": self.seed_used,
            "result": SUCCESS if error is None else FAILURE,
            "duration_ms": int((time.monotonic() - self._start) * 1000),
            "metadata": metadata,
        }


def _clean(text):
    """Text that a record can hold: no NUL, no lone surrogates, not too long."""
    text = text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "…"


_default = None
_default_lock = threading.Lock()


def _client():
    global _default
    with _default_lock:
        if _default is None:
            _default = Client()
        return _default


def operation(name, section_spec, **fields):
    """Client.operation on the default client."""
    return _client().operation(name, section_spec, **fields)


def append(record):
    """Client.append on the default client."""
    return _client().append(record)
