"""Listening sockets: from an ``Address`` of the settings to a descriptor that accepts.

tcp over IPv4 and IPv6, unix sockets by path or abstract name, and descriptors inherited as fd://N.
The process that opened a listener closes it and removes its path; forked workers only use its
descriptor. A failure is a ListenError of one line that names the address.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator, Sequence

from fastwsgi.errors import ListenError
from fastwsgi.system.address import Address
from fastwsgi.system.paths import HANDLE, Entry, absolute, entry


class Listener:
    """One listening socket.

    ``name`` and ``port`` become SERVER_NAME and SERVER_PORT (PEP 3333): host and port of the bound
    address, or the path and an empty text for a unix socket. ``protocol`` is what clients speak,
    ``tls`` whether they do so through TLS. ``url`` is what people are shown, ``asked`` the address
    as the operator wrote it (its place), ``path`` that of a unix socket which is ours.
    """

    tls = False

    def __init__(self, sock: socket.socket, path: str = "", asked: str = "") -> None:
        self.socket = sock
        self._owned: tuple[int, int] | None = None
        if path:
            with contextlib.suppress(OSError), entry(path) as at:
                self._owned = _identity(at)
        self.path = path
        self.asked = asked
        self.protocol = "http"
        bound = sock.getsockname()
        if sock.family == socket.AF_UNIX:
            shown = os.fsdecode(bound)
            self.name = f"@{shown[1:]}" if shown.startswith("\0") else shown
            self.port = ""
            self.address: tuple[str, int] | str = shown
        else:
            host, port = str(bound[0]), int(bound[1])
            self.name, self.port = host, str(port)
            self.address = (host, port)

    @property
    def url(self) -> str:
        """What people are shown: ``https://HOST:PORT``, ``unix:PATH``, ``uwsgi://unix:PATH``."""
        if not self.port:
            place = f"unix:{self.name}"
            return place if self.protocol == "http" else f"{self.protocol}://{place}"
        host = f"[{self.name}]" if ":" in self.name else self.name
        return f"{'https' if self.tls else self.protocol}://{host}:{self.port}"

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.socket.fileno()

    def core(self) -> tuple[int, str, str]:
        """Return what the compiled worker needs: descriptor, name and port."""
        return self.socket.fileno(), self.name, self.port

    def is_in_place(self) -> bool:
        """Return whether the path of a unix socket still leads to this one."""
        with contextlib.suppress(OSError), entry(self.path) as at:
            return self._owned is not None and _identity(at) == self._owned
        return False

    def close(self, *, remove: bool = True) -> None:
        """Stop listening; with ``remove`` the path of a unix socket goes too, if it is ours."""
        self.socket.close()
        if remove and self._owned is not None:
            with contextlib.suppress(OSError), entry(self.path) as at:
                if _identity(at) == self._owned:
                    os.unlink(at.name, dir_fd=at.dir_fd)


def open_listeners(
    addresses: Sequence[Address], *, backlog: int, reuse_port: bool = False,
    umask: int | None = None, owner: tuple[int, int] = (-1, -1), ready: Sequence[Listener] = (),
    protocol: str = "http", certified: bool = False,
) -> list[Listener]:
    """Open one listener per address, or raise ListenError and leave none open.

    A listener of ``ready`` that has the same address is used instead of a new one. Those that are
    left over are closed. ``umask`` and ``owner`` (user and group id, -1 leaves it) apply to the
    paths of unix sockets. A umask of None lets every local user connect. ``protocol`` is for the
    addresses that name none, ``certified`` says whether there is a certificate for TLS.
    """
    opened: list[Listener] = []
    spare = list(ready)
    try:
        for address in addresses:
            same = next((item for item in spare if item.asked == address.place), None)
            if same is not None:
                same.tls = _speaks_tls(same, address, certified, protocol)
                spare.remove(same)
                same.protocol = address.protocol or protocol
                opened.append(same)
                continue
            try:
                if address.kind == "unix":
                    listener = _open_unix(address.path, backlog, umask or 0, owner)
                elif address.kind == "fd":
                    listener = adopt(address.fd, backlog)
                else:
                    # [::] takes IPv4 too, unless the list gives IPv4 its own socket there
                    only_v6 = ":" in address.host and any(
                        other.kind == "tcp" and ":" not in other.host
                        and other.port == address.port for other in addresses)
                    listener = _open_tcp(address, backlog, reuse_port, only_v6)
            except OSError as error:
                reason = _reason(error, address)
                raise ListenError(f"cannot listen on {address}: {reason}") from None
            listener.asked = address.place
            listener.protocol = address.protocol or protocol
            listener.tls = _speaks_tls(listener, address, certified, protocol)
            opened.append(listener)
    except BaseException:
        for listener in opened:
            listener.close(remove=listener not in ready)
        raise
    finally:
        for listener in spare:
            listener.close(remove=False)
    return opened


def _speaks_tls(listener: Listener, address: Address, certified: bool, protocol: str) -> bool:
    """As the address says; an inherited descriptor may be a unix socket, too."""
    if not address.scheme and not listener.port:
        return False
    return address.speaks_tls(certified, protocol)


def _open_tcp(address: Address, backlog: int, reuse_port: bool, only_v6: bool) -> Listener:
    # as bytes: an ordinary name does not load the tables of IDNA
    host = address.host.encode() if address.host.isascii() else address.host
    found = socket.getaddrinfo(
        host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # a name such as localhost may have both; operators expect IPv4
    family, _, _, _, where = min(found, key=lambda item: item[0] != socket.AF_INET)
    with _closing_on_error(socket.socket(family, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and only_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        _defer(sock)
        return _listening(sock, backlog)


def _defer(sock: socket.socket) -> None:
    """Accept connections when their first bytes have arrived (Linux: TCP_DEFER_ACCEPT).

    A silent connection is accepted after a second. A new connection costs a worker one wake-up and
    one receive instead of two, and can be answered before it is registered with the poller.
    """
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)


def _open_unix(path: str, backlog: int, umask: int, owner: tuple[int, int]) -> Listener:
    with _closing_on_error(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock:
        if path.startswith("@"):
            sock.bind(b"\0" + os.fsencode(path[1:]))
            return _listening(sock, backlog)
        path = absolute(path)
        with entry(path) as at:
            _remove_stale(path, at)
            before = os.umask(umask)
            try:
                sock.bind(path)
            finally:
                os.umask(before)
            if owner != (-1, -1):
                _give(at, owner)
        return _listening(sock, backlog, path)


def open_private(path: str, *, replace: bool = False) -> Listener:
    """Open a unix socket that only the calling account can connect to; raise ListenError.

    A socket at the path that nobody listens on makes room, and with ``replace`` one that somebody
    listens on, too; anything else does not.
    """
    path = absolute(path)
    try:
        with _closing_on_error(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as sock, \
                entry(path) as at:
            try:
                _remove_stale(path, at)
                name = path
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not replace:
                    raise
                name = f"{path}.{os.getpid()}"
            before = os.umask(0o177)
            try:
                sock.bind(name)
            finally:
                os.umask(before)
            if name != path:
                os.replace(f"{at.name}.{os.getpid()}", at.name, src_dir_fd=at.dir_fd,
                           dst_dir_fd=at.dir_fd)
            return _listening(sock, 16, path)
    except OSError as error:
        reason = _reason(error, Address("unix", path=path))
        raise ListenError(f"cannot listen on unix:{path}: {reason}") from None


def _give(at: Entry, owner: tuple[int, int]) -> None:
    """Give the path of a new unix socket to its owner, unless somebody has replaced it."""
    if not at.others:
        os.chown(at.name, *owner, dir_fd=at.dir_fd, follow_symlinks=False)
        return
    if not HANDLE:
        raise OSError(errno.EPERM, "the socket cannot be given to the account of the workers in a "
                                   f"directory that {at.others}")
    handle = os.open(at.name, HANDLE | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at.dir_fd)
    try:
        found = os.fstat(handle)
        if not stat.S_ISSOCK(found.st_mode) or found.st_nlink != 1:
            raise OSError(errno.EPERM, "somebody has replaced the socket, in a directory that "
                                       f"{at.others}")
        os.chown(f"/proc/self/fd/{handle}", *owner)  # what was checked, whatever its name is now
    finally:
        os.close(handle)


def _remove_stale(path: str, at: Entry) -> None:
    """Remove the path of a unix socket that nobody listens on; refuse anything else."""
    try:
        kind = os.lstat(at.name, dir_fd=at.dir_fd).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(errno.EEXIST, "the path exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(at.name, dir_fd=at.dir_fd)
        except BlockingIOError:  # a full backlog: somebody listens
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from None
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def adopt(fd: int, backlog: int, *, path: str = "", asked: str = "") -> Listener:
    """Take over an inherited descriptor, which must be a stream socket; raise OSError.

    ``path`` and ``asked`` are those of the listener it was before.
    """
    with _closing_on_error(socket.socket(fileno=fd)) as sock:
        if sock.type != socket.SOCK_STREAM:
            raise OSError(errno.EINVAL, "not a stream socket")
        if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            raise OSError(errno.EINVAL, "neither a tcp nor a unix socket")
        os.set_inheritable(fd, False)
        return _listening(sock, backlog, path, asked)


def _listening(
    sock: socket.socket, backlog: int, path: str = "", asked: str = "",
) -> Listener:
    sock.listen(backlog)
    sock.setblocking(False)
    return Listener(sock, path, asked)


@contextlib.contextmanager
def _closing_on_error(sock: socket.socket) -> Iterator[socket.socket]:
    try:
        yield sock
    except BaseException:
        sock.close()
        raise


def _identity(at: Entry) -> tuple[int, int] | None:
    try:
        found = os.lstat(at.name, dir_fd=at.dir_fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _reason(error: OSError, address: Address) -> str:
    """Say in one line what an operator can do about the error."""
    if isinstance(error, socket.gaierror):
        return f"the host {address.host!r} is unknown"
    text = error.strerror or str(error)
    text = text[:1].lower() + text[1:]
    if error.errno == errno.EADDRINUSE:
        return f"{text}; another process listens on it"
    if error.errno == errno.EACCES and address.kind == "tcp":
        return f"{text}; ports below 1024 need root or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{text}; it belongs to no interface of this machine"
    if error.errno == errno.EBADF:
        return "no such descriptor was inherited"
    return text
