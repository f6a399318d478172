# environ.pxd - builds the environ of PEP 3333 from a parsed request.

cimport cython
from libc.stdint cimport uint8_t, uint32_t

from fastwsgi._core.csrc cimport FW_METHODS, FW_NAME_COUNT, fw_conn, fw_field, fw_request


cdef enum:
    SIMILAR_FIELDS = 48  # heads with more fields are built anew each time


@cython.final
cdef class Last:
    """The environ of an earlier request, to start from when the next one is much the same."""
    cdef dict environ                  # never handed out
    cdef unsigned listener
    cdef uint8_t minor
    cdef uint32_t nfields
    cdef uint8_t ids[SIMILAR_FIELDS]
    cdef list names                    # bytes of the unknown names, None for the known
    cdef list keys
    cdef list values
    cdef tuple peer
    cdef str raw                       # target as it came
    cdef str method

    cdef bint fits(self, const fw_conn *c) noexcept
    cdef int learn(self, const fw_conn *c, EnvironBuilder builder, dict environ, tuple peer) except -1


@cython.final
cdef class EnvironBuilder:
    cdef list bases      # per listener: the part of the environ that no request changes
    cdef list keys       # environ key per known field name (enum fw_name), None for the unknown
    cdef list methods    # method names by llhttp's number, filled as they occur
    cdef str script_name
    cdef object no_body  # wsgi.input of a request without a body

    cdef dict build(self, fw_conn *c, object body_input)
    cdef Last last
    cdef bint reuse        # false: every environ is built from the base alone
    cdef bint mounted      # there is a script_name, so a request may be for something else
    cdef unsigned misfits  # requests in a row that the last one did not fit

    cdef dict build_anew(self, fw_conn *c, tuple peer)
    cdef dict build_alike(self, fw_conn *c, tuple peer)
    cdef dict recall(self, fw_conn *c, tuple peer)
    cdef int remember(self, fw_request *r, dict environ, tuple peer) except -1
    cdef bint is_outside(self, dict environ) noexcept
    cdef str below_mount(self, dict environ, str path, bint asterisk)
    cdef int set_target(self, dict environ, const fw_request *r) except -1
    cdef int set_fields(self, dict environ, const fw_request *r) except -1
    cdef str method(self, const fw_request *r)


cdef str request_line(const fw_request *r)
cdef str request_path(const fw_request *r)
