"""Asking a running server, and telling it what to do, over a unix socket of its master."""
