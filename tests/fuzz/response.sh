# response.sh - runs fuzz_response.py under Atheris; read by scripts/fuzz, in whose directory and variables it works.
# shellcheck shell=bash

make_environment() { # Atheris comes built for some versions of Python only: the first that takes it
    local python
    for python in ${FASTWSGI_FUZZ_PYTHON:-python python3.13 python3.12 python3.11}; do
        command -v "$python" > /dev/null || continue
        rm -rf venv
        "$python" -m venv venv
        venv/bin/python -m pip install --quiet atheris "cython>=3.1" "httptools>=0.7.1,<0.10" "setuptools>=77" && return
    done
    rm -rf venv
    echo "fuzz: Atheris could not be installed" >&2
    exit 1
}

run_response() { # arguments of libFuzzer
    local base="$place/python" library runtime
    venv/bin/python -c "import atheris, Cython, httptools, setuptools" 2> /dev/null || make_environment
    # Both sanitizers and coverage; clang leaves the runtime out of a shared object, and Atheris brings it.
    (
        cd "$root"
        FASTWSGI_SANITIZE=1 CC="$cc" LDSHARED="$cc -shared" CFLAGS=-fsanitize=fuzzer-no-link \
            "$place/venv/bin/python" setup.py --quiet build --build-base "$base" --parallel "$(nproc)" 2>&1 |
            { grep -v "byte-compiling is disabled" || true; }
    )
    library=$(echo "$base"/lib.*)
    [ -d "$library" ] || { echo "fuzz: one build is expected in $base: $library" >&2; exit 1; }
    runtime=$(venv/bin/python -c "import atheris; print(atheris.path() + '/asan_with_fuzzer.so')")
    mkdir -p corpus/response
    if [ $# -eq 0 ]; then
        set -- -max_total_time="$seconds" -max_len=512 -timeout=30 -print_final_stats=1 -print_funcs=0 \
            -artifact_prefix="$place/response-" corpus/response seeds/response
    fi
    # The interpreter is not instrumented and never frees all it has.
    ASAN_OPTIONS="detect_leaks=0:strict_string_checks=1" PYTHONMALLOC=malloc PYTHONPATH="$library" \
        LD_PRELOAD=$runtime venv/bin/python "$root/tests/fuzz/fuzz_response.py" "$@" 2>&1 | report response
}
