"""What root opens, renames and removes where others may write: logs, pid file, unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apps.client import request
from apps.command import HELLO

from fastwsgi.errors import ConfigError, ListenError, PidFileError
from fastwsgi.logs.access import AccessFile
from fastwsgi.logs.error import ErrorLog
from fastwsgi.system import sockets
from fastwsgi.system.address import parse_address
from fastwsgi.system.paths import Entry, open_log
from fastwsgi.system.pidfile import PidFile
from fastwsgi.system.sockets import open_listeners
from fastwsgi.testing import environment, raw, spawn

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other accounts")
NOBODY = pwd.getpwnam("nobody")
OWNER = (NOBODY.pw_uid, NOBODY.pw_gid)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of root's that every account can reach; ``var`` in it belongs to nobody."""
    found = Path(tempfile.mkdtemp(prefix="fastwsgi-"))
    found.chmod(0o755)
    (found / "var").mkdir()
    (found / "app.py").write_text(textwrap.dedent(HELLO))
    os.chown(found / "var", *OWNER)
    yield found
    shutil.rmtree(found)


@pytest.fixture
def secret(place: Path) -> Path:
    """A file of root's that nobody else may touch."""
    path = place / "secret"
    path.write_text("root's own\n")
    path.chmod(0o600)
    return path


def as_nobody(where: Path, act: Callable[[], object]) -> None:
    """Let another account act in a directory."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.chdir(where)
            os.setgroups([])
            os.setgid(NOBODY.pw_gid)
            os.setuid(NOBODY.pw_uid)
            act()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def untouched(path: Path) -> bool:
    found = path.stat()
    return (path.read_text(), found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (
        "root's own\n", 0, 0, 0o600)


def put(kind: str, path: Path, secret: Path) -> None:
    """Put something in the place of a file, as its directory's owner."""
    if kind == "hard link":
        os.link(secret, path)  # as root: the kernel may be set to refuse it to others
        os.chown(path, 0, 0)
    elif kind == "link":
        as_nobody(path.parent, lambda: os.symlink(secret, path.name))
    elif kind == "link to a new file":
        as_nobody(path.parent, lambda: os.symlink(secret.parent / "new", path.name))
    elif kind == "link of root's":
        os.symlink(secret, path)
    elif kind == "directory":
        moved = path.parent.with_name("elsewhere")
        path.parent.rename(moved)
        (secret.parent / path.name).write_text("root's own\n")
        os.symlink(secret.parent, path.parent)
        os.chown(path.parent.parent, *OWNER)
    else:
        as_nobody(path.parent, lambda: os.mkfifo(path.name))


KINDS = ("link", "link to a new file", "link of root's", "hard link", "FIFO", "directory")


def error_log(path: Path) -> ErrorLog:
    return ErrorLog(str(path), "info", OWNER)


def access_log(path: Path) -> AccessFile:
    return AccessFile(str(path), "%(r)s", owner=OWNER)


Open = Callable[[Path], "ErrorLog | AccessFile"]


# ---- logs ----


@needs_root
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opened", [error_log, access_log])
def test_what_others_put_in_the_place_of_a_log_is_refused_at_the_start(
    place: Path, secret: Path, kind: str, opened: Open,
) -> None:
    path = place / "var" / "x.log"
    put(kind, path, secret)
    with pytest.raises(ConfigError, match=f"cannot write the .* log {path}: .*directory that user "
                                          f"{NOBODY.pw_uid} owns"):
        opened(path)
    assert untouched(secret)
    assert not (place / "new").exists()


@needs_root
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opened", [error_log, access_log])
def test_what_others_put_in_the_place_of_a_log_is_refused_at_a_rotation(
    place: Path, secret: Path, kind: str, opened: Open,
) -> None:
    path = place / "var" / "x.log"
    log = opened(path)
    before = os.fstat(log.fd if isinstance(log, AccessFile) else log.fileno())
    if kind != "directory":
        as_nobody(path.parent, lambda: os.rename(path.name, "x.log.1"))
    put(kind, path, secret)
    with pytest.raises(OSError, match=f"directory that user {NOBODY.pw_uid} owns"):
        log.reopen()
    after = os.fstat(log.fd if isinstance(log, AccessFile) else log.fileno())
    assert (after.st_ino, after.st_uid) == (before.st_ino, NOBODY.pw_uid)
    assert untouched(secret)
    assert not (place / "new").exists()


@needs_root
def test_a_refused_rotation_is_told_and_the_old_log_goes_on(place: Path, secret: Path) -> None:
    path = place / "var" / "access.log"
    with spawn("--user", "nobody", "--access-logfile", str(path), "--access-logformat", "%(U)s",
               "app:app", cwd=place) as server:
        raw(server.address, request("/one", "Connection: close"))
        as_nobody(path.parent, lambda: os.rename(path.name, "access.log.1"))
        put("link", path, secret)
        server.signal(signal.SIGUSR1)
        line = server.wait_for(f"cannot reopen the access log {path}, continuing with the old one")
        assert line.endswith(f"{path} is a symbolic link, in a directory that user "
                             f"{NOBODY.pw_uid} owns")
        raw(server.address, request("/two", "Connection: close"))
        server.terminate()
    assert untouched(secret)
    assert path.with_name("access.log.1").read_text() == "/one\n/two\n"


@needs_root
def test_a_worker_without_privileges_refuses_what_its_master_refuses(place: Path) -> None:
    """Also where the link leads to what the worker may write itself."""
    path, theirs = place / "var" / "access.log", place / "theirs"
    theirs.touch()
    theirs.chmod(0o666)
    with spawn("--user", "nobody", "--access-logfile", str(path), "app:app",
               cwd=place) as server:
        as_nobody(path.parent, lambda: os.rename(path.name, "old.log"))
        as_nobody(path.parent, lambda: os.symlink(theirs, path.name))
        server.signal(signal.SIGUSR1)
        server.wait_for(f"cannot reopen the access log {path}, continuing with the old one: "
                        f"{path} is a symbolic link", count=2)  # master and worker
        raw(server.address, request("/one", "Connection: close"))
        server.terminate()
    assert "GET /one" in path.with_name("old.log").read_text()
    assert theirs.read_text() == ""


@needs_root
@pytest.mark.parametrize("flag", ["--error-logfile", "--access-logfile"])
def test_a_start_on_a_planted_log_is_one_sentence_and_exit_2(
    place: Path, secret: Path, flag: str,
) -> None:
    path = place / "var" / "x.log"
    put("link", path, secret)
    done = subprocess.run(
        [sys.executable, "-m", "fastwsgi", "--user", "nobody", flag, str(path), "-b",
         "127.0.0.1:0", "app:app"], cwd=place, env=environment({}), capture_output=True, text=True,
        timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{path} is a symbolic link" in done.stderr
    assert untouched(secret)


@needs_root
@pytest.mark.parametrize("opened", [error_log, access_log])
def test_only_a_log_that_was_created_is_given_away(place: Path, opened: Open) -> None:
    path = place / "var" / "x.log"
    path.write_text("")
    opened(path)
    assert path.stat().st_uid == 0
    path.unlink()
    opened(path)
    assert (path.stat().st_uid, path.stat().st_gid) == OWNER


@needs_root
def test_links_that_an_administrator_has_made_are_followed(place: Path) -> None:
    (place / "disk").mkdir()
    (place / "logs").symlink_to("disk")
    (place / "disk" / "real.log").write_text("")
    (place / "disk" / "shop.log").symlink_to(place / "logs" / ".." / "disk" / "real.log")
    fd = open_log(place / "logs" / "shop.log")
    os.write(fd, b"line")
    os.close(fd)
    assert (place / "disk" / "real.log").read_text() == "line"
    (place / "disk" / "other.log").symlink_to("made.log")
    os.close(open_log(place / "disk" / "other.log", OWNER))
    assert (place / "disk" / "made.log").stat().st_uid == NOBODY.pw_uid


@needs_root
def test_a_link_of_the_administrators_in_a_directory_with_the_sticky_bit_is_followed(
    place: Path, secret: Path,
) -> None:
    (place / "var").chmod(0o1777)
    os.chown(place / "var", 0, 0)
    (place / "disk").mkdir()
    (place / "var" / "logs").symlink_to(place / "disk")
    os.close(open_log(place / "var" / "logs" / "x.log"))
    assert (place / "disk" / "x.log").exists()
    put("link", place / "var" / "x.log", secret)
    with pytest.raises(OSError, match="everybody may write"):
        open_log(place / "var" / "x.log")


@needs_root
def test_a_directory_for_logs_that_a_group_may_write_can_be_a_link_of_roots(
    place: Path, secret: Path,
) -> None:
    var = place / "var"
    os.chown(var, 0, NOBODY.pw_gid)
    var.chmod(0o775)
    (place / "disk").mkdir()
    (var / "shop").symlink_to(place / "disk")
    os.close(open_log(var / "shop" / "x.log"))
    put("link of root's", var / "x.log", secret)
    with pytest.raises(OSError, match=f"group {NOBODY.pw_gid} may write"):
        open_log(var / "x.log")
    as_nobody(var, lambda: os.symlink(place / "disk", "theirs"))
    with pytest.raises(OSError, match=f"group {NOBODY.pw_gid} may write"):
        open_log(var / "theirs" / "x.log")


def test_devices_and_the_descriptors_of_the_process_are_logs_too(place: Path) -> None:
    os.close(open_log(Path("/dev/null")))
    heard, speaking = os.pipe()
    fd = open_log(Path(f"/dev/fd/{speaking}"))
    os.write(fd, b"through a pipe")
    assert os.read(heard, 100) == b"through a pipe"
    for item in (heard, speaking, fd):
        os.close(item)
    done = subprocess.run(
        [sys.executable, "-c", "from pathlib import Path; "
         "from fastwsgi.system.paths import open_log; "
         "import os; os.write(open_log(Path('/dev/stdout')), b'there')"],
        env=environment({}), capture_output=True, timeout=60, check=True)
    assert done.stdout == b"there"


# ---- pid file ----


@needs_root
def test_the_pid_file_is_not_written_through_a_link_of_a_name_that_can_be_guessed(
    place: Path, secret: Path,
) -> None:
    path = place / "var" / "x.pid"
    put("link", path.with_name(f"x.pid.{os.getpid()}"), secret)
    held = PidFile(str(path))
    assert untouched(secret)
    assert path.read_text() == f"{os.getpid()}\n"
    assert not path.is_symlink()
    held.remove()
    assert list(path.parent.iterdir()) == []


@needs_root
@pytest.mark.parametrize("kind", ["link", "link to a new file", "hard link", "FIFO"])
def test_what_others_put_in_the_place_of_the_pid_file_is_replaced(
    place: Path, secret: Path, kind: str,
) -> None:
    path = place / "var" / "x.pid"
    put(kind, path, secret)
    PidFile(str(path))
    assert untouched(secret)
    assert not (place / "new").exists()
    assert path.read_text() == f"{os.getpid()}\n"


@needs_root
def test_the_pid_file_is_not_written_through_a_directory_that_others_put_there(
    place: Path, secret: Path,
) -> None:
    path = place / "var" / "x.pid"
    put("directory", path, secret)
    with pytest.raises(PidFileError, match=f"{path.parent} is a symbolic link"):
        PidFile(str(path))
    assert (place / "x.pid").read_text() == "root's own\n"


def test_a_pid_file_left_over_by_a_process_of_our_number_is_no_obstacle(tmp_path: Path) -> None:
    left = tmp_path / f"x.pid.{os.getpid()}"
    left.write_text("")
    PidFile(str(tmp_path / "x.pid"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.pid"]
    left.mkdir()  # what cannot be removed is no obstacle either
    PidFile(str(tmp_path / "x.pid"))
    assert (tmp_path / "x.pid").read_text() == f"{os.getpid()}\n"


# ---- unix socket ----


@needs_root
def test_a_unix_socket_is_given_to_the_account_of_the_workers(place: Path) -> None:
    for path in (place / "x.sock", place / "var" / "x.sock"):
        (listener,) = open_listeners([parse_address(f"unix:{path}")], backlog=1, owner=OWNER)
        found = path.lstat()
        assert (found.st_uid, found.st_gid) == OWNER
        listener.close()
        assert not path.exists()


@needs_root
@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_what_others_put_in_the_place_of_a_new_socket_is_not_given_to_them(
    place: Path, secret: Path, kind: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = place / "var" / "x.sock"
    give = sockets._give

    def late(at: Entry, owner: tuple[int, int]) -> None:
        as_nobody(path.parent, lambda: os.unlink(path.name))
        put(kind, path, secret)
        give(at, owner)

    monkeypatch.setattr(sockets, "_give", late)
    with pytest.raises(ListenError, match="somebody has replaced the socket"):
        open_listeners([parse_address(f"unix:{path}")], backlog=1, owner=OWNER)
    assert untouched(secret)


@needs_root
def test_a_stale_socket_is_not_removed_through_a_directory_that_others_put_there(
    place: Path, secret: Path,
) -> None:
    (place / "etc").mkdir()
    stale = place / "etc" / "x.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stale))
    as_nobody(place / "var", lambda: os.symlink(place / "etc", "run"))
    with pytest.raises(ListenError, match=r"var/run is a symbolic link"):
        open_listeners([parse_address(f"unix:{place}/var/run/x.sock")], backlog=1)
    assert stale.is_socket()


@needs_root
def test_at_the_end_a_socket_is_not_removed_through_a_directory_that_others_put_there(
    place: Path,
) -> None:
    run = place / "var" / "run"
    run.mkdir()
    (listener,) = open_listeners([parse_address(f"unix:{run}/x.sock")], backlog=1)
    run.rename(place / "kept")
    as_nobody(place / "var", lambda: os.symlink(place / "kept", "run"))
    listener.close()
    assert (place / "kept" / "x.sock").is_socket()
