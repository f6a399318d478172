# client.pxi - who has sent a request, as text: the other end of a connection, or whom a trusted proxy names.

from cpython.ref cimport Py_INCREF

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <sys/socket.h>

    /* The client's address and port as text; 0 for a family that has none. */
    static int fw_name_peer(const struct sockaddr *a, char *text, unsigned size, unsigned *port)
    {
        if (a->sa_family == AF_INET) {
            const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)a;
            *port = ntohs(v4->sin_port);
            return inet_ntop(AF_INET, &v4->sin_addr, text, size) != NULL;
        }
        if (a->sa_family == AF_INET6) {
            const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)a;
            *port = ntohs(v6->sin6_port);
            return inet_ntop(AF_INET6, &v6->sin6_addr, text, size) != NULL;
        }
        return 0;
    }
    """
    int fw_name_peer(const sockaddr *a, char *text, unsigned size, unsigned *port)


cdef tuple name_of(const sockaddr *address):
    """(address, port) as str; an address that has none gives two empty ones, an unknown port one."""
    cdef char text[64]
    cdef unsigned port = 0
    if not fw_name_peer(address, text, sizeof(text), &port):
        return ("", "")
    return (text.decode("ascii"), str(port) if port else "")


cdef tuple peer_of(fw_conn *c, object subject_of):
    """The client's (address, port) as str, made once per connection and kept by it.

    With TLS also what the application may know of that (tls.pxi).
    """
    cdef tuple peer
    if c.peer == NULL:
        peer = name_of(fw_conn_address(c))
        if c.tls != NULL:
            peer = (*peer, tls_environ(c, subject_of))
        Py_INCREF(peer)  # the connection's reference; the worker drops it when the connection is freed
        c.peer = <void *>peer
    return <tuple>c.peer
