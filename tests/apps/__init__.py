"""Fixture applications, and the client that drives them.

Rule: nothing here knows which server runs it.  A framework's application is a module
`<framework>_app` with a WSGI callable `app` that keeps the contract of URLs in `contract.py`;
a real server process is pointed at it by name (`apps.flask_app:app`, with `tests/` as its
working directory).  `client.py` is the tests' side of the socket.
"""
