# forwarding.pxi - the settings about proxies as the core takes them (http/forwarded.h, http/proxy_header.h).
#
# All of it is made once, when a worker is made; the core borrows it.

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset


cdef void *array_of(size_t n, size_t size) except NULL:
    cdef void *made = PyMem_Calloc(n if n else 1, size)
    if made == NULL:
        raise MemoryError
    return made


@cython.final
cdef class Networks:
    """A set of addresses. *given*: what fastwsgi/system/networks.py makes of a setting."""

    cdef fw_networks set

    def __cinit__(self, tuple given):
        cdef bint everybody
        cdef fw_range4 *v4
        cdef fw_range6 *v6
        cdef Py_ssize_t i
        everybody, ranges4, ranges6 = given
        memset(&self.set, 0, sizeof(self.set))
        self.set.all = everybody
        self.set.v4 = v4 = <fw_range4 *>array_of(len(ranges4), sizeof(fw_range4))
        self.set.v6 = v6 = <fw_range6 *>array_of(len(ranges6), sizeof(fw_range6))
        for i, (first, last) in enumerate(ranges4):
            v4[i].first, v4[i].last = first, last
        for i, (first, last) in enumerate(ranges6):
            memcpy(v6[i].first, PyBytes_AS_STRING(first.to_bytes(16, "big")), 16)
            memcpy(v6[i].last, PyBytes_AS_STRING(last.to_bytes(16, "big")), 16)
        self.set.n4 = <unsigned>len(ranges4)
        self.set.n6 = <unsigned>len(ranges6)

    def __dealloc__(self):
        PyMem_Free(<void *>self.set.v4)
        PyMem_Free(<void *>self.set.v6)


@cython.final
cdef class Forwarding:
    """Who is trusted, and what of theirs is followed; *members* are taken out of the settings of the worker."""

    cdef fw_forwarding core
    cdef fw_budgets budgets
    cdef Networks trusted, proxies, fronts
    cdef list texts  # what the core points to
    cdef int protocol

    def __cinit__(self, dict members):
        memset(&self.core, 0, sizeof(self.core))
        memset(&self.budgets, 0, sizeof(self.budgets))
        self.texts = []
        self.trusted = Networks(members.pop("forwarding.trusted"))
        self.proxies = Networks(members.pop("proxy_from"))
        self.fronts = Networks(members.pop("uwsgi_from"))
        self.protocol = members.pop("proxy_protocol")
        self.core.trusted = self.trusted.set
        self.core.follow = members.pop("forwarding.follow")
        self.take_schemes(members.pop("forwarding.schemes"))
        self.take_names(members.pop("forwarding.names"))
        fw_forwarding_init(&self.core)
        self.budgets.ms = members.pop("budgets.ms")
        field = members.pop("budgets.field")
        if field:
            self.take_name(&self.budgets.field, field)

    def __dealloc__(self):
        PyMem_Free(<void *>self.core.schemes)
        PyMem_Free(<void *>self.core.names)

    cdef const char *hold(self, bytes text, uint32_t *n):
        self.texts.append(text)
        n[0] = <uint32_t>PyBytes_GET_SIZE(text)
        return PyBytes_AS_STRING(text)

    cdef int take_name(self, fw_lower_name *to, str name) except -1:
        to.at = self.hold(name.lower().encode("ascii"), &to.len)
        to.id = <uint8_t>fw_name_find(to.at, to.len)
        return 0

    cdef int take_schemes(self, dict given) except -1:
        cdef fw_scheme_field *schemes = <fw_scheme_field *>array_of(len(given), sizeof(fw_scheme_field))
        cdef Py_ssize_t i
        self.core.schemes = schemes
        for i, (name, value) in enumerate(given.items()):
            self.take_name(&schemes[i].name, name)
            schemes[i].value = self.hold(value.encode("latin-1"), &schemes[i].len)
        self.core.nschemes = <unsigned>len(given)
        return 0

    cdef int take_names(self, tuple given) except -1:
        cdef fw_lower_name *names = <fw_lower_name *>array_of(len(given), sizeof(fw_lower_name))
        cdef Py_ssize_t i
        self.core.names = names
        for i, name in enumerate(given):
            self.take_name(&names[i], name)
        self.core.nnames = <unsigned>len(given)
        self.core.any_name = "*" in given
        return 0

    cdef int configure(self, fw_config *cfg) except -1:
        """Tells the core; borrowed, so this object is to live as long as the loop."""
        cfg.forwarding = &self.core
        cfg.forwarded = fw_forwarding_names(&self.core)
        cfg.forwarded_always = fw_forwarding_always(&self.core)
        cfg.proxy_protocol = self.protocol
        cfg.proxy_from = &self.proxies.set
        cfg.uwsgi_from = &self.fronts.set
        if self.budgets.ms != 0 or self.budgets.field.len != 0:  # every head may have fields that tell of its time
            cfg.budgets = &self.budgets
            cfg.forwarded |= 1
            cfg.forwarded_always |= 1
        if self.protocol != 0:  # every request may have to follow what a PROXY header says
            cfg.forwarded |= 1
            cfg.forwarded_always |= 1
        return 0
