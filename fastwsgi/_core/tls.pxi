# tls.pxi - TLS: OpenSSL's functions, the certificates of listeners, and what an application may know of a connection.
#
# The table of functions is this module's, as that of llhttp is: C keeps no globals. fastwsgi/system/openssl.py finds
# the functions, fastwsgi/tls has the settings and the files.

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset, strlen

cdef enum:
    CLIENT_PEM_MOST = 163840  # bytes of a client's certificate: OpenSSL accepts 100 KiB, which PEM makes a third longer
    FUNCTIONS_MOST = 128
    ALIKE_MOST = 64  # kinds of connections that are remembered

cdef fw_openssl _openssl
cdef bint _openssl_is_there = False


cdef int on_bio_read(fw_bio *b, char *to, int room) noexcept nogil:
    return fw_tls_bio_read(&_openssl, b, to, room)


cdef int on_bio_write(fw_bio *b, const char *data, int n) noexcept nogil:
    return fw_tls_bio_write(&_openssl, b, data, n)


cdef long on_bio_ctrl(fw_bio *b, int command, long number, void *pointer) noexcept nogil:
    return fw_tls_bio_ctrl(&_openssl, b, command, number, pointer)


cdef int on_ticket(fw_ssl *ssl, unsigned char *name, unsigned char *iv, void *cipher, void *seal,
                   int sealing) noexcept nogil:
    return fw_tickets_key(&_openssl, ssl, name, iv, cipher, seal, sealing)


cdef tuple names_in(const char *const *names):
    cdef list found = []
    while names[0] != NULL:
        found.append(names[0].decode("ascii"))
        names += 1
    return tuple(found)


def openssl_names() -> tuple:
    """The names of the functions that TLS needs, and of those that it uses where they are there."""
    return names_in(fw_openssl_names(True)), names_in(fw_openssl_names(False))


def use_openssl(addresses: dict, *, own_bio: bool = True) -> None:
    """Call the functions at these addresses, by name, from now on. Once for each process: later calls change nothing.

    Raises ImportError with the reason if they will not do. Without *own_bio* connections read and write by the
    library's own BIO, as they do where it does not let us have one.
    """
    global _openssl_is_there
    cdef fw_bio_functions bio = fw_bio_functions(on_bio_read, on_bio_write, on_bio_ctrl)
    cdef void *table[FUNCTIONS_MOST]
    cdef const char *missing
    required, optional = openssl_names()
    if _openssl_is_there:
        return
    if len(required) + len(optional) > FUNCTIONS_MOST:
        raise ImportError("there are more functions than expected")
    for i, name in enumerate(required + optional):
        table[i] = <void *><size_t>addresses.get(name, 0)
        if table[i] == NULL and i < len(required):
            raise ImportError(f"it does not have {name}")
    missing = fw_openssl_init(&_openssl, table, &bio if own_bio else NULL)
    if missing != NULL:
        raise ImportError(missing.decode("ascii"))
    _openssl_is_there = True


def ssl_context_options(pointer: int) -> int:
    """The options of the SSL_CTX at this address, as the library in use reads them."""
    return _openssl.SSL_CTX_get_options(<const fw_ssl_ctx *><size_t>pointer)


def limit_groups(pointer: int) -> None:
    """Leave the key exchanges that are dear out of the SSL_CTX at this address."""
    fw_tls_limit_groups(&_openssl, <fw_ssl_ctx *><size_t>pointer)


cdef class TlsContext:
    """The certificates of listeners (csrc/tls/context.h). use_openssl() comes first.

    Session tickets are sealed with the first of *ticket_keys*, one or two keys of 80 bytes each, and opened by all of
    them; with none each context has keys of its own.
    """

    cdef fw_tls_context *context
    cdef object subject_of  # of a certificate in PEM: its subject as text

    def __cinit__(self, subject_of, bytes ticket_keys=b""):
        cdef fw_tickets tickets
        cdef size_t n = len(ticket_keys)
        if not _openssl_is_there:
            raise RuntimeError("use_openssl() comes first")
        if n % FW_TICKET_KEY or n > FW_TICKET_KEYS_MOST * FW_TICKET_KEY:
            raise ValueError("ticket_keys has one or two keys of 80 bytes")
        memset(&tickets, 0, sizeof(tickets))
        tickets.n = n // FW_TICKET_KEY
        memcpy(tickets.keys, <const char *>ticket_keys, n)
        self.context = fw_tls_context_new(&_openssl, &tickets, on_ticket)
        if self.context == NULL:
            raise MemoryError
        self.subject_of = subject_of

    def __dealloc__(self):
        fw_tls_context_unref(self.context)

    def add(self, bytes pem not None, bytes key not None, names, *, str ciphers not None, int least, int most,
            int verify, bytes authorities, bytes session_id not None):
        """Add a certificate; None, or what is at fault (library, certificate, key, ciphers, authorities) and why."""
        cdef fw_tls_options options
        cdef fw_tls_fault fault
        cdef bytes own = b"".join(name.encode("ascii") + b"\0" for name in names)
        cdef bytes suites = ciphers.encode("ascii")
        if len(session_id) != 32:
            raise ValueError("session_id has 32 bytes")
        options.ciphers = suites
        options.least = least
        options.most = most
        options.verify = verify
        options.authorities = <const char *>authorities if authorities is not None else NULL
        options.authorities_len = len(authorities) if authorities is not None else 0
        options.session_id = <const unsigned char *>session_id
        if fw_tls_context_add(self.context, &options, pem, len(pem), key, len(key), own, len(own), &fault):
            return None
        return self.named(fault)

    @property
    def holds_several(self) -> bool:
        """A certificate may be joined by others, with keys of other kinds."""
        return fw_tls_context_holds_several(self.context)

    def add_another(self, bytes pem not None, bytes key not None):
        """Let the certificate that was added last be joined by one with another kind of key; as add."""
        cdef fw_tls_fault fault
        if fw_tls_context_add_another(self.context, pem, len(pem), key, len(key), &fault):
            return None
        return self.named(fault)

    cdef tuple named(self, fw_tls_fault fault):
        return (("", "library", "certificate", "key", "ciphers", "authorities")[<int>fault.part],
                fault.why.decode("utf-8", "replace"))

    def borrow(self, pointer: int) -> None:
        """Add the SSL_CTX at this address, and share it with whoever has made it."""
        check(fw_tls_context_borrow(self.context, <fw_ssl_ctx *><size_t>pointer))

    def check(self) -> str | None:
        """Prove library and certificates by handshakes; None, or what is wrong."""
        cdef const char *why = NULL
        cdef const char *fault
        if self.context.first == NULL:
            return "it has no certificate"
        fault = fw_tls_check(self.context, &why)
        if fault == NULL:
            return None
        said = fault.decode("utf-8", "replace")
        return f"{said}: {why.decode('utf-8', 'replace')}" if why != NULL else said


# ---- what an application may know ----

# The keys that every request of a TLS listener has. All of them are set for each connection, so that an environ that
# is made from another one's cannot keep any. Connections without a certificate share what they have in common, for it
# is never changed.
cdef dict _alike = {}


cdef dict tls_environ(fw_conn *c, object subject_of):
    cdef const char *protocol
    cdef const char *cipher
    cdef const char *server_name
    cdef ssize_t n = fw_tls_client_pem(c.tls, NULL, 0)
    fw_tls_describe(c.tls, &protocol, &cipher, &server_name)
    cdef tuple agreed = (protocol, cipher, server_name)
    environ = _alike.get(agreed) if n == 0 else None
    if environ is None:
        environ = {
            "SSL_PROTOCOL": latin1(protocol, strlen(protocol)),
            "SSL_CIPHER": latin1(cipher, strlen(cipher)),
            "SSL_SERVER_NAME": latin1(server_name, strlen(server_name)),
            "SSL_CLIENT_VERIFY": "NONE",
            "SSL_CLIENT_S_DN": "",
            "SSL_CLIENT_CERT": "",
        }
        if n != 0:
            set_client(environ, c.tls, subject_of)
        else:
            if len(_alike) >= ALIKE_MOST:  # clients choose the name
                _alike.clear()
            _alike[agreed] = environ
    return environ


cdef int set_client(dict environ, const fw_tls *tls, object subject_of) except -1:
    cdef bytearray room = bytearray(CLIENT_PEM_MOST)
    cdef ssize_t n = fw_tls_client_pem(tls, room, CLIENT_PEM_MOST)
    if n < 0:
        raise MemoryError("no memory for the certificate of a client")
    pem = bytes(room[:n])
    environ["SSL_CLIENT_VERIFY"] = "SUCCESS"
    environ["SSL_CLIENT_CERT"] = pem.decode("ascii")
    environ["SSL_CLIENT_S_DN"] = subject_of(pem)
    return 0


cdef dict tls_base():
    """What the base environ of a TLS listener has of it."""
    return {"HTTPS": "on", "SSL_PROTOCOL": "", "SSL_CIPHER": "", "SSL_SERVER_NAME": "", "SSL_CLIENT_VERIFY": "NONE",
            "SSL_CLIENT_S_DN": "", "SSL_CLIENT_CERT": ""}
