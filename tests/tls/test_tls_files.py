"""Files and settings of TLS: what is refused, and what a reload brings."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from apps.certificates import Authority, Certified
from apps.command import HELLO, Command, Project
from apps.tls_client import GET, PATIENCE, answer, client_context, connect

from fastwsgi.testing import raw, spawn

PLAIN = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def owner(address: Any, authority: Authority) -> str:
    """Whose certificate answers."""
    context = client_context(authority.file, check_hostname=False)
    with connect(address, context) as sock:
        found = sock.getpeercert()
        assert found is not None
        assert answer(sock, GET)[1] == b"hello"
        return str(found["subject"][0][0][1])


def owner_becomes(address: Any, authority: Authority, name: str) -> None:
    """The workers of before may take a connection as long as they have not been told to leave."""
    until = time.monotonic() + PATIENCE
    while (found := owner(address, authority)) != name:
        assert time.monotonic() < until, found


def test_the_command_serves_plain_and_tls_side_by_side(
    project: Project, own: Authority,
) -> None:
    files = own.sign("a", "a.test")
    with spawn("app:app", "--certfile", files.cert, "--keyfile", files.key, "--bind",
               "127.0.0.1:0", "--bind", "http://127.0.0.1:0", "--bind", "unix:s", "--bind",
               "https://unix:t", cwd=project(app=HELLO)) as server:
        line = server.output().split("listening on ")[1].split(" (")[0]
        secure, plain, unix, _ = line.split(", ")
        assert secure.startswith("https://127.0.0.1:")
        assert plain.startswith("http://127.0.0.1:")
        assert unix.endswith("/s")
        assert owner(server.address, own) == "a.test"
        assert raw(("127.0.0.1", int(plain.rpartition(":")[2])), PLAIN).endswith(b"hello")
        where = os.path.relpath(own.folder)  # a short path
        assert raw(f"{where}/s", PLAIN).endswith(b"hello")
        assert raw(f"{where}/t", PLAIN).endswith(b"ask by https\n")


def test_a_reload_brings_new_certificates(project: Project, own: Authority) -> None:
    files = own.sign("current", "before.test")
    with spawn("app:app", "-w", "2", "--certfile", files.cert, "--keyfile", files.key,
               cwd=project(app=HELLO)) as server:
        kept = connect(server.address, client_context(own.file, check_hostname=False))
        assert answer(kept, GET)[0] == 200
        assert owner(server.address, own) == "before.test"
        own.sign("current", "after.test")
        server.signal(signal.SIGHUP)
        server.wait_for(r"\] ready: ", count=2)
        owner_becomes(server.address, own, "after.test")
        kept.close()


def test_a_broken_pair_leaves_the_old_one(project: Project, own: Authority) -> None:
    """In a reload, and for a worker that takes the place of another one."""
    files = own.sign("current", "good.test")
    with spawn("app:app", "--certfile", files.cert, "--keyfile", files.key,
               cwd=project(app=HELLO)) as server:
        shutil.copy(own.sign("other", "other.test").cert, files.cert)
        server.signal(signal.SIGHUP)
        server.wait_for(r"reload refused, nothing has changed: keyfile \(from .*\): the key in "
                        r".*current.key cannot be used with the certificate in .*current.pem: "
                        r"key values mismatch")
        assert owner(server.address, own) == "good.test"
        worker = int(server.wait_for(r"\] ready: ").rpartition("(pid ")[2].rstrip(")"))
        os.unlink(files.key)
        os.kill(worker, signal.SIGKILL)
        server.wait_for(rf"worker {worker} ended unexpectedly")
        owner_becomes(server.address, own, "good.test")


def test_what_a_link_stands_for_may_change(project: Project, own: Authority) -> None:
    """As certbot and Kubernetes do it."""
    for version in ("one", "two"):
        folder = own.folder / version
        folder.mkdir()
        for file in own.sign(version, f"{version}.test"):
            shutil.move(file, folder / f"tls{Path(file).suffix}")
    data = own.folder / "..data"
    data.symlink_to("one")
    for name in ("tls.pem", "tls.key"):
        (own.folder / name).symlink_to(f"..data/{name}")
    with spawn("app:app", "--certfile", str(own.folder / "tls.pem"), "--keyfile",
               str(own.folder / "tls.key"), cwd=project(app=HELLO)) as server:
        assert owner(server.address, own) == "one.test"
        fresh = own.folder / "..fresh"
        fresh.symlink_to("two")
        fresh.rename(data)
        server.signal(signal.SIGHUP)
        server.wait_for(r"\] ready: ", count=2)
        owner_becomes(server.address, own, "two.test")


def test_sessions_are_resumed_by_every_worker_and_after_a_reload(
    project: Project, own: Authority,
) -> None:
    files = own.sign("a", "localhost")
    context = client_context(own.file)
    with spawn("app:app", "-w", "3", "--certfile", files.cert, "--keyfile", files.key,
               cwd=project(app=HELLO)) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.maximum_version = version
            with connect(server.address, context) as sock:
                answer(sock, GET)
                session = sock.session
            for turn in range(2):
                held = []
                for _ in range(9):  # each worker takes some of them
                    sock = connect(server.address, context, session=session)
                    held.append(sock)
                    assert answer(sock, GET)[0] == 200
                    assert sock.session_reused
                for sock in held:
                    sock.close()
                if turn == 0:
                    count = server.output().count("] ready: ") + 1
                    server.signal(signal.SIGHUP)
                    server.wait_for(r"\] ready: ", count=count)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change to another user")
@pytest.mark.parametrize("preload", [[], ["--preload"]])
def test_workers_of_another_user_need_not_read_the_key(own: Authority, preload: list[str]) -> None:
    files = own.sign("a", "a.test")
    os.chmod(files.key, 0o600)
    with tempfile.TemporaryDirectory() as folder:  # pytest's are for their owner only
        os.chmod(folder, 0o755)
        Path(folder, "app.py").write_text(textwrap.dedent(HELLO))
        with spawn("app:app", "--user", "nobody", "--certfile", files.cert, "--keyfile",
                   files.key, *preload, cwd=folder) as server:
            assert owner(server.address, own) == "a.test"
            worker = int(server.wait_for(r"\] ready: ").rpartition("(pid ")[2].rstrip(")"))
            assert os.stat(f"/proc/{worker}").st_uid != 0
            os.kill(worker, signal.SIGKILL)
            server.wait_for(rf"worker {worker} ended unexpectedly")
            owner_becomes(server.address, own, "a.test")


def test_preloaded_workers_and_an_upgrade(project: Project, own: Authority) -> None:
    files = own.sign("current", "before.test")
    with spawn("app:app", "--preload", "--certfile", files.cert, "--keyfile", files.key,
               cwd=project(app=HELLO)) as server:
        assert owner(server.address, own) == "before.test"
        own.sign("current", "after.test")
        server.signal(signal.SIGUSR2)
        server.wait_for(r"the new master \(pid \d+\) is ready")
        server.signal(signal.SIGTERM)
        owner_becomes(server.address, own, "after.test")
        new = int(server.wait_for(r"the new master \(pid \d+\) is ready").split("pid ")[1]
                  .split(")")[0])
        os.kill(new, signal.SIGTERM)


def test_tls_does_not_begin_with_a_reload(project: Project, own: Authority) -> None:
    files = own.sign("a", "a.test")
    where = project({"fastwsgi.conf.py": ""}, app=HELLO)
    with spawn("app:app", cwd=where) as server:
        (where / "fastwsgi.conf.py").write_text(
            f"certfile = {files.cert!r}\nkeyfile = {files.key!r}\n")
        server.signal(signal.SIGHUP)
        server.wait_for("reload refused, nothing has changed: a restart is needed to begin or to "
                        "end to speak TLS")
        assert raw(server.address, PLAIN).endswith(b"hello")


@pytest.fixture
def broken(own: Authority) -> dict[str, str]:
    """Files by what is wrong with them."""
    good, other = own.sign("good", "a.test"), own.sign("other", "b.test")
    locked = own.sign("locked", "c.test", password=b"secret")
    text = own.folder / "text"
    text.write_text("no PEM\n")
    cut = own.folder / "cut"
    cut.write_bytes(Path(good.cert).read_bytes()[:200] + b"\n-----END CERTIFICATE-----\n")
    large = own.folder / "large"
    large.write_bytes(bytes((1 << 20) + 1))
    return {"cert": good.cert, "key": good.key, "other": other.key, "locked": locked.key,
            "locked_cert": locked.cert, "text": str(text), "cut": str(cut), "ca": own.file,
            "large": str(large), "folder": str(own.folder), "none": str(own.folder / "none")}


@pytest.mark.parametrize(("options", "complaint"), [
    ("--certfile {none} --keyfile {key}", "certfile (from --certfile): cannot read {none}: No such "
     "file or directory"),
    ("--certfile {folder} --keyfile {key}", "certfile (from --certfile): cannot read {folder}: Is "
     "a directory"),
    ("--certfile {cert} --keyfile {none}", "keyfile (from --keyfile): cannot read {none}"),
    ("--certfile {text} --keyfile {key}", "certfile (from --certfile): {text} has no certificate"),
    ("--certfile {cut} --keyfile {key}", "certfile (from --certfile): {cut} is malformed"),
    ("--certfile {large} --keyfile {key}", "certfile (from --certfile): {large} is larger than"),
    ("--certfile {cert}", "certfile (from --certfile): {cert} has no private key in PEM"),
    ("--certfile {cert} --keyfile {cert}", "keyfile (from --keyfile): {cert} has no private key"),
    ("--certfile {cert} --keyfile {other}", "keyfile (from --keyfile): the key in {other} cannot "
     "be used with the certificate in {cert}: key values mismatch"),
    ("--certfile {locked_cert} --keyfile {locked}", "the key in {locked} cannot be used with the "
     "certificate in {locked_cert}: it is encrypted, and nobody is here to be asked for its "
     "password"),
    ("--certfile {cert} --keyfile {key} --keyfile {other}", "keyfile (from --keyfile) must name as "
     "many files as certfile (from --certfile): 1, not 2"),
    ("--certfile {cert} --keyfile {key} --ciphers nonsense", "ciphers (from --ciphers): nonsense "
     "cannot be used: no cipher match"),
    ("--certfile {cert} --keyfile {key} --cert-reqs required", "cert_reqs required (from "
     "--cert-reqs) needs ca_certs"),
    ("--certfile {cert} --keyfile {key} --cert-reqs 1 --ca-certs {text}", "ca_certs (from "
     "--ca-certs): {text} has no certificate in PEM"),
    ("--certfile {cert} --keyfile {key} --cert-reqs 3", "cert_reqs must be none, optional or "
     "required, not '3'"),
    ("--certfile {cert} --keyfile {key} --ssl-version TLSv1", "ssl_version must be TLSv1_2 or "
     "TLSv1_3, not 'TLSv1': older versions are broken"),
    ("--certfile {cert} --keyfile {key} --ssl-version TLSv1_2 --tls-minimum 1.3", "ssl_version "
     "(from --ssl-version) and tls_minimum 1.3 (from --tls-minimum) contradict each other"),
    ("--certfile {cert} --keyfile {key} --tls-minimum 1.1", "tls_minimum must be 1.2 or 1.3, not "
     "'1.1'"),
    ("--bind https://127.0.0.1:0", "bind (from --bind): https://127.0.0.1:0 needs certfile"),
])
def test_refuses_what_cannot_work(
    command: Command, project: Project, broken: dict[str, str], options: str, complaint: str,
) -> None:
    project(app=HELLO)
    done = command("app:app", *options.format(**broken).split())
    assert done.returncode == 2, done.stderr
    assert complaint.format(**broken) in done.stderr.replace("command line ", "")
    assert "PRIVATE KEY" not in done.stderr


def test_check_config_looks_at_the_files(
    command: Command, project: Project, broken: dict[str, str],
) -> None:
    project(app=HELLO)
    done = command("--check-config", "--certfile", broken["cert"], "--keyfile", broken["key"],
                   "app:app")
    assert done.returncode == 0, done.stderr
    done = command("--check-config", "--certfile", broken["cert"], "--keyfile", broken["other"],
                   "app:app")
    assert done.returncode == 1
    assert "key values mismatch" in done.stderr


@pytest.mark.parametrize(("options", "notice"), [
    ("--keyfile {key}", "keyfile (from --keyfile) has no effect without certfile"),
    ("--tls-minimum 1.3", "tls_minimum (from --tls-minimum) has no effect without certfile"),
    ("--certfile {cert} --keyfile {key} --bind http://127.0.0.1:0", "certfile has no effect: no "
     "address of bind (from --bind) speaks TLS"),
    ("--certfile {cert} --keyfile {key} --ca-certs {ca}", "ca_certs (from --ca-certs) has no "
     "effect without cert_reqs"),
])
def test_notices_what_has_no_effect(
    project: Project, broken: dict[str, str], options: str, notice: str,
) -> None:
    with spawn("app:app", *options.format(**broken).split(), cwd=project(app=HELLO)) as server:
        assert notice in server.output().replace("command line ", "")


def test_nothing_of_tls_is_loaded_without_it(project: Project) -> None:
    where = project(app="""
        import sys
        def app(environ, start_response):
            start_response("200 OK", [])
            names = ("ssl", "_ssl", "ctypes", "fastwsgi.tls.settings", "fastwsgi.system.openssl")
            return [repr([name for name in names if name in sys.modules]).encode()]
        """)
    with spawn("app:app", cwd=where) as server:
        assert raw(server.address, PLAIN).endswith(b"[]")


def test_keys_are_for_no_log(certified: Certified) -> None:
    from fastwsgi.config.sources import from_keywords
    from fastwsgi.tls import load_tls

    tls = load_tls(from_keywords({"certfile": certified.cert, "keyfile": certified.key}))
    assert tls is not None
    assert "PRIVATE" not in f"{tls!r} {tls.pairs!r} {tls.pairs[0]!r}"
