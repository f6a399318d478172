"""Declares the compiled modules; all else about the package is in pyproject.toml.

All of csrc and of Cython is one module, ``fastwsgi._core.core``, but for ``immortal``, which few
processes load and no other code needs. Switches, read from the environment: FASTWSGI_SANITIZE=1
builds with ASan and UBSan, FASTWSGI_COVERAGE=1 with gcov and Cython line tracing, FASTWSGI_DEBUG=1
without optimisation, FASTWSGI_LTO=0 without link-time optimisation; that is left out too where the
compiler fails at it.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import uuid
from glob import glob

if sys.platform == "win32":  # before Cython or a compiler is asked for
    # a copied package says the same: fastwsgi/__init__.py
    sys.exit(
        "fastwsgi runs on Linux and macOS only; on Windows use waitress (pip install waitress)."
    )

from Cython import __version__ as cython_version
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

LINUX = sys.platform.startswith("linux")
OTHER_POLLER = "csrc/io/poller_kqueue.c" if LINUX else "csrc/io/poller_epoll.c"


def switched_on(name: str, default: str = "0") -> bool:
    return os.environ.get(f"FASTWSGI_{name}", default) not in ("", "0")


def links(*flags: str) -> bool:
    """Whether the compiler makes a shared object with these flags; clang may lack its plug-in."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "a.c")
        with open(source, "w") as file:
            file.write("int a(void); int a(void) { return 0; }\n")
        command = [*compiler, "-shared", "-fPIC", *flags, source, "-o", f"{source}.so"]
        try:
            return subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            return False


cflags = ["-std=c11", "-O3", "-g0", "-fvisibility=hidden", "-fstack-protector-strong"]
ldflags = []
macros = [("_GNU_SOURCE", "1")] if LINUX else [("_DARWIN_C_SOURCE", "1")]
if LINUX:
    cflags.append("-fno-plt")
    ldflags += ["-Wl,-z,relro", "-Wl,-z,now"]
plain = not any(map(switched_on, ("DEBUG", "SANITIZE", "COVERAGE")))
# "auto" uses all cores; a compiler that does not know it may know the option without.
lto = next(filter(links, ("-flto=auto", "-flto")), "") if plain and switched_on("LTO", "1") else ""
if lto:
    cflags.append(lto)
    ldflags += [lto, "-O3"]
if switched_on("DEBUG"):
    cflags += ["-O0", "-g3", "-UNDEBUG"]
    macros.append(("FW_DEBUG", "1"))
if switched_on("SANITIZE"):
    sanitize = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
    cflags += ["-O1", "-g", "-UNDEBUG", "-fno-sanitize-recover=undefined", *sanitize]
    ldflags += sanitize
    macros.append(("FW_DEBUG", "1"))  # an illegal move of the state machine aborts
if switched_on("COVERAGE"):
    cflags += ["-O0", "-g", "--coverage"]
    ldflags.append("--coverage")
    macros += [("CYTHON_TRACE", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]


def sbom(name, version, needs):
    """What is in the wheel, as CycloneDX; the same for the same sources."""
    ours = f"{name}@{version}"
    cython = {"type": "library", "bom-ref": f"cython@{cython_version}", "name": "Cython",
              "version": cython_version, "purl": f"pkg:pypi/cython@{cython_version}",
              "description": "generated the C of the compiled modules, and is not in the wheel",
              "scope": "excluded"}
    found = [{"type": "library", "bom-ref": need, "name": bare, "purl": f"pkg:pypi/{bare}",
              "scope": "required", "description": f"{need}: installed beside the wheel, not in it"}
             for need in needs for bare in [re.split(r"[^\w.-]", need)[0]]]
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, ours)}",
        "metadata": {"component": {
            "type": "library", "bom-ref": ours, "name": name, "version": version,
            "licenses": [{"license": {"id": "MIT"}}]}},
        "components": [cython, *found],
        "dependencies": [{"ref": ours, "dependsOn": list(needs)}],
    }


class WheelWithSbom(bdist_wheel):
    """A wheel that says what it is made of: PEP 770."""

    def write_wheelfile(self, wheelfile_base, *arguments, **named):
        """Write the SBOM beside WHEEL, before RECORD lists all files."""
        super().write_wheelfile(wheelfile_base, *arguments, **named)
        folder = os.path.join(wheelfile_base, "sboms")
        os.makedirs(folder, exist_ok=True)
        needs = [str(need) for need in self.distribution.install_requires]
        text = json.dumps(sbom(self.distribution.get_name(), self.distribution.get_version(),
                               needs), indent=1)
        with open(os.path.join(folder, "fastwsgi.cdx.json"), "w", encoding="utf-8") as file:
            file.write(text + "\n")


core = Extension(
    "fastwsgi._core.core",
    ["fastwsgi/_core/core.pyx", *sorted(set(glob("csrc/*/*.c")) - {OTHER_POLLER})],
    include_dirs=["csrc"],
    depends=glob("csrc/**/*.h", recursive=True),
    define_macros=macros,
    extra_compile_args=cflags,
    extra_link_args=ldflags,
)
immortal = Extension(
    "fastwsgi._core.immortal",
    ["fastwsgi/_core/immortal.pyx"],
    define_macros=macros,
    extra_compile_args=cflags,
    extra_link_args=ldflags,
)

setup(
    cmdclass={"bdist_wheel": WheelWithSbom},
    ext_modules=cythonize(
        [core, immortal],
        # The coverage tool looks for the generated C beside its source.
        build_dir=None if switched_on("COVERAGE") else "build/cython",
        force=switched_on("COVERAGE"),
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "binding": False,
            "linetrace": switched_on("COVERAGE"),
        },
    )
)
