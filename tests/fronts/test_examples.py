"""The examples for containers and for managers of processes: what they say is run, without Docker.

Rule: a command is taken from the example as it stands, but for paths and addresses. Files that a
program reads which is not here are held against its schema.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from apps import ROOT, containers
from apps.client import fetch
from apps.command import Command, Project, started
from apps.containers import Container, container
from apps.eventually import eventually
from apps.fronts import NGINX, PATH, home, missing

from fastwsgi import cli

yaml = pytest.importorskip("yaml")

EXAMPLES = ROOT / "examples"
COMPOSE = EXAMPLES / "docker" / "compose.yaml"
DOCKERFILE = (EXAMPLES / "docker" / "Dockerfile").read_text("utf-8")
PODS = EXAMPLES / "kubernetes" / "shop.yaml"

SHOP = '''
import os, tempfile

def application(environ, start_response):
    path = environ["PATH_INFO"]
    text = "served"
    if path == "/orphan":
        text = orphan()
    elif path == "/zombies":
        text = str(zombies())
    elif path == "/upload":
        text = str(len(environ["wsgi.input"].read()))
    elif path == "/pid":
        text = f"{os.getppid()} {os.access('/', os.W_OK)} {tempfile.gettempdir()}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]

def orphan():
    """A process whose parent ends before it does."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.close(writing)
            os.read(reading, 1)  # until the worker lets it go
        os._exit(0)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    return "left"

def zombies():
    found = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                found += file.read().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            pass
    return found
'''


def instruction(name: str) -> Any:
    """The last instruction of that name in the Dockerfile, in the form of JSON."""
    text = re.sub(r"\\\n", " ", DOCKERFILE)
    return json.loads(re.findall(rf"^{name}\b[^\[\n]*(\[.*\])$", text, re.M)[-1])


def pods(kind: str) -> Any:
    """The object of that kind."""
    (found,) = [item for item in yaml.safe_load_all(PODS.read_text("utf-8"))
                if item["kind"] == kind]
    return found


POD = pods("Deployment")["spec"]["template"]["spec"]
ARGUMENTS: list[str] = POD["containers"][0]["args"]


def given() -> dict[str, Any]:
    """What the command line of a pod gives, by the names of settings."""
    return cli.parse([*instruction("ENTRYPOINT")[1:], *ARGUMENTS])


# ---- Docker ----


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_finds_no_fault_in_the_dockerfile() -> None:
    done = subprocess.run(["hadolint", EXAMPLES / "docker" / "Dockerfile"], capture_output=True,
                          text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_no_compiler_no_root_and_no_shell_in_front() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "gcc" in DOCKERFILE.replace(last, "")
    assert not re.search(r"gcc|apt-get", last)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.M)
    assert instruction("ENTRYPOINT")[0] == "fastwsgi"
    assert re.search(r"^HEALTHCHECK ", last, re.M)


def test_the_images_own_command_is_a_configuration(command: Command, project: Project) -> None:
    project({"shop/__init__.py": "", "shop/wsgi.py": SHOP})
    words = [*instruction("ENTRYPOINT")[1:], *instruction("CMD")]
    done = command("--check-config", *words)
    assert done.returncode == 0, done.stderr


def test_compose_understands_its_file() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         COMPOSE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    services = yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]
    assert "ports" not in services["shop"], "whoever gets in is believed who the client is"
    assert services["shop"]["read_only"] is True
    grace = float(services["shop"]["stop_grace_period"].rstrip("s"))
    assert grace > float(cli.parse([]).get("graceful_timeout", 30))


@pytest.mark.skipif(missing("nginx"), reason="nginx is not installed")
def test_nginx_finds_no_fault_in_the_configuration_within_compose() -> None:
    text = yaml.safe_load(COMPOSE.read_text("utf-8"))["configs"]["proxy"]["content"]
    text = text.replace("$$", "$").replace("shop:8000", "127.0.0.1:8000")
    with home() as place:
        (place / "nginx.conf").write_text(NGINX.format(home=place, example=text))
        done = subprocess.run(
            ["nginx", "-t", "-q", "-p", place, "-e", "stderr", "-c", place / "nginx.conf"],
            env={"PATH": PATH}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# ---- Kubernetes ----


def test_kubernetes_understands_its_objects() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    objects = list(yaml.safe_load_all(PODS.read_text("utf-8")))
    assert {item["kind"] for item in objects} == {
        "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy"}
    for item in objects:
        validate.validate(item, validate.latest_version(), strict=True)


def test_a_pod_has_time_to_drain_and_to_finish() -> None:
    settings = given()
    needed = float(settings["drain_delay"]) + float(settings["graceful_timeout"])
    assert POD["terminationGracePeriodSeconds"] > needed


def test_all_objects_speak_of_the_same_pods() -> None:
    deployment = pods("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert pods("Service")["spec"]["selector"] == labels
    assert pods("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert pods("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    scaler = pods("HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert pods("PodDisruptionBudget")["spec"]["minAvailable"] < scaler["minReplicas"]


# ---- the pod's command, as process 1 in a container ----

needs_namespaces = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not containers.possible(),
    reason="this user may not make namespaces")


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """The image's ENTRYPOINT with the arguments of a pod, at free ports; it drains until told."""
    place = tmp_path_factory.mktemp("pod")
    (place / "shop").mkdir()
    (place / "shop" / "wsgi.py").write_text(SHOP)
    words = [*instruction("ENTRYPOINT")[1:], *ARGUMENTS]
    free = [re.sub(r"^(--metrics-bind=)?:\d+$", r"\g<1>127.0.0.1:0", word) for word in words]
    assert free != words
    free[free.index("--drain-delay=10")] = "--drain-delay=600"
    with container(place, ["-m", "fastwsgi", *free]) as found:
        yield found


@needs_namespaces
def test_it_serves_as_process_1_with_a_root_that_is_read_only(pod: Container) -> None:
    parent, writable, temporary = fetch(pod.server.address, "/pid").body.decode().split()
    assert (parent, writable) == ("1", "False")
    assert temporary.endswith("/tmp")
    body = b"x" * (3 << 20)  # past --body-memory: it goes to a file
    assert fetch(pod.server.address, "/upload", method="POST", body=body).body == b"3145728"


@needs_namespaces
def test_the_probes_and_the_health_check_find_it_well(pod: Container) -> None:
    container = POD["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert fetch(pod.server.address, container[probe]["httpGet"]["path"]).status == 200
    program, *words = [word.replace(":8000/", f":{pod.server.port}/")
                       for word in instruction("HEALTHCHECK")]
    assert program == "python"
    assert subprocess.run([sys.executable, *words], timeout=30).returncode == 0


@needs_namespaces
def test_the_metrics_have_what_the_autoscaler_asks_for(pod: Container) -> None:
    address = re.search(r"metrics\S* \S*?(http://127\.0\.0\.1:\d+)", pod.server.output())
    assert address, pod.server.output()
    with urlopen(f"{address[1]}/metrics", timeout=30) as response:
        names = set(re.findall(r"^(fastwsgi_\w+)", response.read().decode(), re.M))
    adapter = yaml.safe_load((EXAMPLES / "kubernetes" / "prometheus-adapter.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    asked = set(re.findall(r"fastwsgi_\w+", rule["seriesQuery"] + rule["metricsQuery"]))
    assert asked <= names
    metrics = pods("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metrics[0]["pods"]["metric"]["name"] == rule["name"]["as"]


@needs_namespaces
def test_process_1_reaps_what_the_application_leaves_behind(pod: Container) -> None:
    for _ in range(3):
        assert fetch(pod.server.address, "/orphan").body == b"left"
    eventually(lambda: fetch(pod.server.address, "/zombies").body, lambda body: body == b"0")


@needs_namespaces
def test_told_to_stop_it_is_not_ready_and_serves_until_the_delay_is_over(pod: Container) -> None:
    pod.signal(signal.SIGTERM)
    eventually(lambda: fetch(pod.server.address, "/readyz").status, lambda status: status == 503)
    assert fetch(pod.server.address, "/livez").status == 200
    assert fetch(pod.server.address, "/").body == b"served"
    pod.signal(signal.SIGTERM)  # which ends the delay
    assert pod.server.wait() == 0
    assert "Traceback" not in pod.server.output()


# ---- Procfile and supervisord ----


def test_the_procfile_is_a_server_at_the_port_of_the_platform(project: Project) -> None:
    parse = pytest.importorskip("honcho.environ").parse_procfile
    processes = parse((EXAMPLES / "Procfile").read_text("utf-8")).processes
    assert list(processes) == ["web"]
    program, *words = shlex.split(processes["web"])
    assert program == "fastwsgi"
    place = project({"shop/__init__.py": "", "shop/wsgi.py": SHOP})
    shell = "import os, sys; os.environ['PORT'] = '0'; os.execv(sys.executable, sys.argv[1:])"
    with started(["-c", shell, sys.executable, "-m", "fastwsgi", *words], place) as server:
        assert server.host == "0.0.0.0"
        assert fetch(("127.0.0.1", server.port), "/").body == b"served"


def test_supervisord_starts_it_and_stops_it_with_its_requests_finished(project: Project) -> None:
    pytest.importorskip("supervisor")
    place = project({"shop/__init__.py": "", "shop/wsgi.py": SHOP})
    text = (EXAMPLES / "supervisord.conf").read_text("utf-8")
    for old, new in {
            "/srv/shop/venv/bin/fastwsgi": f"{sys.executable} -m fastwsgi", "/srv/shop": place,
            "unix:/run/shop/shop.sock": f"unix:{place}/s", "user=www-data\n": "",
            "/var/log/shop.log": "/dev/stdout\nstdout_logfile_maxbytes=0",
            "startsecs=5": "startsecs=0"}.items():
        assert old in text
        text = text.replace(old, str(new))
    (place / "all.conf").write_text(
        f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\n"
        f"pidfile={place}/pid\n{text}")
    with started(["-m", "supervisor.supervisord", "-c", f"{place}/all.conf"], place) as server:
        assert fetch(server.address, "/").body == b"served"
        server.terminate()
        assert "stopped; requests: 1, refused: 0" in server.output()
