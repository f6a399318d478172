# core.pyx - the hot path, one extension module made of the files below; each opens with its rule.
#
# They are one module because they call each other several times for each request: as modules of their own they did so
# through tables of pointers, and each took its time to import. docs/speed.md has the figures. A file uses what files
# above it define; environ leaves packets to uwsgi below it.

from fastwsgi._core.csrc cimport *

include "failure.pxi"        # an errno becomes an exception
include "llhttp.pxi"         # the parser is what we take it for
include "tls.pxi"            # OpenSSL, certificates, what an application may know of them
include "forwarding.pxi"     # the settings about proxies
include "globs.pxi"          # patterns of paths
include "statics.pxi"        # folders whose files the loop serves, or an application names
include "thread_state.pxi"   # what the responses of a thread have in common
include "client.pxi"         # who has sent a request
include "environ.pxi"        # a request becomes an environ
include "uwsgi.pxi"          # ... and so does a packet
include "input.pxi"          # wsgi.input
include "filewrapper.pxi"    # wsgi.file_wrapper
include "on_close.pxi"       # a response and what is called at its end
include "head.pxi"           # status and header fields
include "request_id.pxi"     # what a request is called
include "response.pxi"       # what the application answers becomes bytes
include "hints.pxi"          # wsgi.early_hints
include "limit.pxi"          # fastwsgi.timeout
include "gone.pxi"           # fastwsgi.client_gone
include "takeover.pxi"       # the client's socket, for an upgrade
include "access_log.pxi"     # the line of a finished request
include "causes.pxi"         # why a request was slow: what is seen from the side
include "stopwatch.pxi"      # ... and what its own thread sees
include "collection.pxi"     # collecting garbage between requests
include "worker_thread.pxi"  # one application thread: pulls requests and runs them
include "current.pxi"        # which request a thread is at
include "worker.pxi"         # what a process serves with
