"""Second opinions: what the server does is compared with programs that share no code with it.

Rule: an oracle is written from the contract and the RFCs, in plain Python; it never looks at the
server's source, and nothing in it is there for speed.

    environ.py     from the bytes of a valid request to the environ that PEP 3333 asks for
    decisions.py   accept or refuse: what h11 makes of a stream of bytes
    requests.py    Hypothesis strategies: valid requests, and what a hand may do to spoil them
    core.py        the compiled worker in a thread, with its own settings and its counters
    bounds.py      how many examples a run may take
"""
