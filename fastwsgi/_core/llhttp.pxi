# llhttp.pxi - the parser that httptools has brought, proven before the first byte of a client is parsed.
#
# The import of the core fails, with a sentence that names versions, when the installed httptools does not carry the
# llhttp that we declare.

from libc.errno cimport ENOENT

import httptools.parser.parser as _parser

#: The versions of httptools whose llhttp this release was tested with.
SUPPORTED = ">=0.7.1,<0.10"

cdef fw_llhttp_api _api


cdef str _describe(const char *text):
    return text.decode("utf-8", "replace")


def check_llhttp(path: str) -> None:
    """Resolve llhttp's functions from the shared object at *path* and prove their interface.

    *path* must be loaded into this process already. Raises ImportError naming the installed httptools, the supported
    range and what differed. On success the table of functions that the server calls is replaced.
    """
    cdef fw_llhttp_api found
    cdef const char *missing = NULL
    cdef bytes where = path.encode()
    cdef int rc = fw_llhttp_load(&found, where, &missing)
    cdef const char *fault
    cdef str why
    if rc == -ENOENT:
        why = f"{path} is not loaded"
    elif rc != FW_OK:
        why = f"it does not carry {_describe(missing)}"
    else:
        fault = fw_llhttp_check(&found)
        if fault == NULL:
            global _api
            _api = found
            return
        why = _describe(fault)
    import importlib.metadata  # only to complain: it takes as long to import as all the rest

    try:
        version = importlib.metadata.version("httptools")
    except importlib.metadata.PackageNotFoundError:
        version = "of unknown version"
    raise ImportError(f"httptools {version} cannot be used: {why}. fastwsgi supports httptools {SUPPORTED}.")


check_llhttp(_parser.__file__)
