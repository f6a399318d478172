"""The conformance suite: HTTP/1.1 and PEP 3333 as data, and what runs it.

Rule: a case is data - bytes in, outcomes out - and knows no server; `runner` knows no case.

    model.py    what a case and an outcome are, and the words that the data is written in
    cases/      the data, one module for each category
    probe.py    the application behind every server: it reports what it saw on a side channel
    wire.py     the client's side of HTTP: strict parsing, a connection that never hangs
    runner.py   plays one case in one way against one address and compares what happened
    peers.py    the other servers: how to install and how to start them
    matrix.py   the same suite against all of them, written to docs/conformance.md

`python tests/conformance` runs the matrix; `tests/http/test_conformance.py` runs the suite against
ours.
"""
