# uwsgi.pxi - the environ of a request that has come as a packet of the uwsgi protocol (csrc/http/uwsgi.h).
#
# The front has worked out what HTTP leaves to a server: its variables are taken over as they are, the path decoded.
# What is not among them is as for a request over HTTP. No variable can set a key of ours: ours have dots, or are set
# last.

from libc.stdint cimport uint32_t


cdef bint is_ours(const fw_field *f) noexcept:
    """The server sets it itself, or it is worked out below. SERVER_NAME and SERVER_PORT may not be empty (PEP 3333)."""
    if f.id == FW_VARIABLE_SERVER_NAME or f.id == FW_VARIABLE_SERVER_PORT:
        return f.value.len == 0
    return (f.id == FW_VARIABLE_SERVER_SOFTWARE or f.id == FW_VARIABLE_GATEWAY_INTERFACE
            or f.id == FW_VARIABLE_REMOTE_ADDR or f.id == FW_VARIABLE_REMOTE_PORT)


cdef dict environ_of_packet(EnvironBuilder builder, dict environ, const fw_request *r, tuple peer):
    """Fills in the copy of a listener's base."""
    cdef uint32_t n = 0, i
    cdef const fw_field *variables = fw_uwsgi_variables(r, &n)
    cdef fw_span protocol = fw_uwsgi_value(r, FW_VARIABLE_SERVER_PROTOCOL)
    cdef str raw = text_at(r, r.target)
    for i in range(n):
        if not is_ours(&variables[i]):
            PyDict_SetItem(environ, text_at(r, variables[i].name), text_at(r, variables[i].value))
    PyDict_SetItem(environ, METHOD, builder.method(r))
    PyDict_SetItem(environ, PROTOCOL, text_at(r, protocol) if protocol.len else HTTP_1_0)
    PyDict_SetItem(environ, REMOTE_ADDR, <str>peer[0])
    PyDict_SetItem(environ, REMOTE_PORT, <str>peer[1])
    PyDict_SetItem(environ, RAW_URI, raw)
    PyDict_SetItem(environ, REQUEST_URI, raw)
    PyDict_SetItem(environ, QUERY_STRING, text_at(r, r.query) if r.query.len else EMPTY)
    if fw_uwsgi_is_https(r):
        PyDict_SetItem(environ, URL_SCHEME, HTTPS)
    set_paths_of_packet(builder, environ, r)
    builder.set_fields(environ, r)
    if r.authority.len != 0:  # RFC 9112 3.2.2, as for HTTP
        PyDict_SetItem(environ, HTTP_HOST, text_at(r, r.authority))
    return environ


cdef int set_paths_of_packet(EnvironBuilder builder, dict environ, const fw_request *r) except -1:
    """SCRIPT_NAME and PATH_INFO. The setting script_name decides where there is one: over the whole path."""
    cdef fw_span script_name = fw_uwsgi_value(r, FW_VARIABLE_SCRIPT_NAME)
    cdef fw_span path_info = fw_uwsgi_value(r, FW_VARIABLE_PATH_INFO)
    cdef str script = text_at(r, script_name)
    cdef str path = text_at(r, path_info)
    if script == SLASH:  # PEP 3333: the root is empty
        script = EMPTY
    if r.asterisk:
        script, path = EMPTY, ASTERISK
    elif path == EMPTY and script == EMPTY:  # the front does not say
        path = unquoted(fw_request_at(r, r.path), r.path.len) if r.path.len else SLASH
    if builder.mounted:
        path = builder.below_mount(environ, script + path, r.asterisk)
    else:
        PyDict_SetItem(environ, SCRIPT_NAME, script)
    PyDict_SetItem(environ, PATH_INFO, path)
    return 0
