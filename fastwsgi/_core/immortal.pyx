# immortal.pyx - makes objects immortal, all that can be reached, so that workers do not write to what they share.
#
# An object that is used has its reference count written, and a page that is written is no longer shared. Python 3.12
# and newer know immortal objects (PEP 683): a special count that is never written. Here every object gets it that the
# collector knows, and all that they refer to. The count itself is the mark of a visited object, so the walk
# keeps no books; every object that the collector tracks comes up once by itself, and only what it does not track (plain
# tuples and dicts, code) waits on a stack.
#
# This is a module of its own, not a part of the core: only a fork server loads it, and it knows layouts of the
# interpreter that the core does not depend on. While the walk runs, no Python code does, and no object is made or
# freed.
#
# Left out are frames, tracebacks, generators and coroutines: they are activity, not data. One that runs keeps its stack
# where no traverse function may look, and a frame that cannot be freed would keep its locals. What they alone refer to
# stays mortal, which is always allowed.

cdef extern from *:
    """
    /* A free-threaded interpreter counts in two places; a debug build asserts that most strings are mortal. 3.14 marks
       code that has run with what it knew of its constants (LOAD_CONST_MORTAL), and then counts them up without looking
       and down never: after a billion times the count is 0, and a constant in use is freed. */
    #if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030E0000 \
        && !defined(Py_GIL_DISABLED) && !defined(Py_DEBUG) && !defined(Py_TRACE_REFS)
    #define FW_SUPPORTED 1
    #define fw_is_immortal(o) _Py_IsImmortal(o)
    #define fw_visit_objects(callback, arg) PyUnstable_GC_VisitObjects(callback, arg)

    static void fw_make_immortal(PyObject *o)
    {
        o->ob_refcnt = _Py_IMMORTAL_REFCNT;
    }

    /* Code is no container to the collector, but most of what a request touches hangs on it. */
    static int fw_visit_code(PyObject *o, visitproc visit, void *arg)
    {
        PyCodeObject *code = (PyCodeObject *)o;
        Py_VISIT(code->co_consts);
        Py_VISIT(code->co_names);
        Py_VISIT(code->co_exceptiontable);
        Py_VISIT(code->co_localsplusnames);
        Py_VISIT(code->co_localspluskinds);
        Py_VISIT(code->co_filename);
        Py_VISIT(code->co_name);
        Py_VISIT(code->co_qualname);
        Py_VISIT(code->co_linetable);
        return 0;
    }
    #else
    #define FW_SUPPORTED 0
    #define fw_is_immortal(o) ((void)(o), 0)
    #define fw_make_immortal(o) ((void)(o))
    #define fw_visit_code(o, visit, arg) ((void)(o), (void)(visit), (void)(arg), 0)
    #define fw_visit_objects(callback, arg) ((void)(callback), (void)(arg))
    #endif

    static int fw_is_static_type(PyObject *o)
    {
        return PyType_Check(o) && !PyType_HasFeature((PyTypeObject *)o, Py_TPFLAGS_HEAPTYPE);
    }

    /* The types of extension modules; traversing one is a fatal error. */
    static int fw_visit_static_type(PyObject *o, visitproc visit, void *arg)
    {
        PyTypeObject *type = (PyTypeObject *)o;
        Py_VISIT(type->tp_dict);
        Py_VISIT(type->tp_bases);
        Py_VISIT(type->tp_mro);
        return 0;
    }

    static int fw_is_activity(PyObject *o)
    {
        return PyFrame_Check(o) || PyTraceBack_Check(o) || PyGen_Check(o) || PyCoro_CheckExact(o)
               || PyAsyncGen_CheckExact(o);
    }

    static int fw_traverse(PyObject *o, visitproc visit, void *arg)
    {
        traverseproc traverse = PyObject_IS_GC(o) ? Py_TYPE(o)->tp_traverse : NULL;
        return traverse ? traverse(o, visit, arg) : 0;
    }
    """
    ctypedef struct PyObject:
        pass
    Py_ssize_t Py_REFCNT(PyObject *o)
    ctypedef int (*visitproc)(PyObject *o, void *arg)
    const bint FW_SUPPORTED
    bint fw_is_immortal(PyObject *o)
    void fw_make_immortal(PyObject *o)
    void fw_visit_objects(visitproc callback, void *arg)
    int fw_visit_code(PyObject *o, visitproc visit, void *arg)
    bint fw_is_static_type(PyObject *o)
    int fw_visit_static_type(PyObject *o, visitproc visit, void *arg)
    bint fw_is_activity(PyObject *o)
    int fw_traverse(PyObject *o, visitproc visit, void *arg)
    bint PyCode_Check(PyObject *o)
    bint PyDict_Check(PyObject *o)
    bint PyDict_Next(PyObject *o, Py_ssize_t *place, PyObject **key, PyObject **value)
    bint PyObject_IS_GC(PyObject *o)
    bint PyObject_GC_IsTracked(PyObject *o)
    void *PyMem_RawRealloc(void *block, size_t size)
    void PyMem_RawFree(void *block)
    void Py_IncRef(PyObject *o)
    void Py_DecRef(PyObject *o)
    void Py_INCREF(PyObject *o)
    void Py_DECREF(PyObject *o)

import gc

#: Whether this module was compiled for an interpreter that has immortal objects.
SUPPORTED: bool = FW_SUPPORTED

cdef enum:
    ROUNDS = 1000


ctypedef struct Walk:
    PyObject **waiting  # made immortal already; what they refer to is still to be visited
    size_t count
    size_t room
    size_t made
    bint starved


cdef int _wait(Walk *walk, PyObject *o) noexcept:
    """Puts an object on the stack; -1 without memory, which ends the walk."""
    cdef size_t room
    cdef void *block
    if walk.count == walk.room:
        room = 2 * walk.room or 1024
        block = PyMem_RawRealloc(walk.waiting, room * sizeof(PyObject *))
        if block == NULL:
            walk.starved = True
            return -1
        walk.waiting = <PyObject **>block
        walk.room = room
    walk.waiting[walk.count] = o
    walk.count += 1
    return 0


cdef int _reach(PyObject *o, void *arg) noexcept:
    """Makes an object immortal. One that the collector tracks comes up in `_start` by itself."""
    cdef Walk *walk = <Walk *>arg
    if fw_is_immortal(o) or fw_is_activity(o):
        return 0
    fw_make_immortal(o)
    walk.made += 1
    if PyCode_Check(o) or fw_is_static_type(o) or (PyObject_IS_GC(o) and not PyObject_GC_IsTracked(o)):
        return _wait(walk, o)
    return 0


cdef int _visit(PyObject *o, Walk *walk) noexcept:
    """Makes immortal what an object refers to."""
    cdef Py_ssize_t place = 0
    cdef PyObject *key
    cdef PyObject *value
    if PyCode_Check(o):
        return fw_visit_code(o, _reach, walk)
    if fw_is_static_type(o):
        return fw_visit_static_type(o, _reach, walk)
    if PyDict_Check(o):  # its traverse function leaves out keys that are strings
        while PyDict_Next(o, &place, &key, &value):
            if _reach(key, walk):
                return -1
    return fw_traverse(o, _reach, walk)


cdef int _start(PyObject *o, void *arg) noexcept:
    """Takes an object that the collector tracks, and what hangs on it; 0 ends the walk."""
    cdef Walk *walk = <Walk *>arg
    if fw_is_activity(o):
        return 1
    _reach(o, walk)
    _visit(o, walk)
    while walk.count and not walk.starved:
        walk.count -= 1
        _visit(walk.waiting[walk.count], walk)
    return not walk.starved


def make_immortal() -> int:
    """Make every object immortal that can be reached; return how many were.

    The collector must be at rest: what it has frozen is unfrozen, and what is garbage stays for ever. Raises
    MemoryError when the stack does not fit; what is immortal then stays so, which does no harm.
    """
    cdef Walk walk = Walk(NULL, 0, 0, 0, False)
    if not FW_SUPPORTED:
        raise RuntimeError("this interpreter has no immortal objects")
    gc.unfreeze()  # what is frozen is not shown
    fw_visit_objects(_start, &walk)
    PyMem_RawFree(walk.waiting)
    if walk.starved:
        raise MemoryError("no memory to make objects immortal")
    return walk.made


cdef str _fault_of(object fresh):
    """Makes a new object immortal, counts it up and down, and tells what is wrong, None if nothing is."""
    cdef PyObject *o = <PyObject *>fresh
    cdef Py_ssize_t count
    if fw_is_immortal(o):
        return "is immortal as it is"
    fw_make_immortal(o)
    if not fw_is_immortal(o):
        return "is mortal after it was made immortal"
    count = Py_REFCNT(o)
    for _ in range(ROUNDS):  # by what this module is compiled with, and by the interpreter
        Py_INCREF(o)
        Py_IncRef(o)
    held = [[fresh] * ROUNDS, (fresh,) * ROUNDS, {"it": fresh}, [fresh for _ in range(ROUNDS)]]
    gc.collect(0)
    if Py_REFCNT(o) != count:
        return "is counted when it is referred to"
    del held
    for _ in range(2 * ROUNDS):  # more often than it was counted up
        Py_DECREF(o)
        if Py_REFCNT(o) != count:
            return "is counted when a reference to it goes"
        Py_DecRef(o)
    gc.collect(0)
    if Py_REFCNT(o) != count or not fw_is_immortal(o):
        return "does not stay immortal"
    return None


cdef str _fault_of_constants():
    """Makes constants immortal that code has used already, uses them again, and tells what is wrong: as in 3.14."""
    use = eval("lambda x: [x, 1.25, (2.5, 3.5), 1 << 100]")
    for _ in range(ROUNDS):
        use(0)
    constants = [one for one in use.__code__.co_consts if not fw_is_immortal(<PyObject *>one)]
    for one in constants:
        fw_make_immortal(<PyObject *>one)
    counts = [Py_REFCNT(<PyObject *>one) for one in constants]
    held = [use(0) for _ in range(ROUNDS)]
    if held[0] != [0, 1.25, (2.5, 3.5), 1 << 100]:
        return "has another value"
    del held
    if [Py_REFCNT(<PyObject *>one) for one in constants] != counts:
        return "is counted when it is used again"
    return None


def prove() -> None:
    """Prove on a few new objects that the interpreter leaves alone what this module makes immortal.

    Raises RuntimeError when it does not: it is not the one that the module was compiled for.
    """
    if not FW_SUPPORTED:
        raise RuntimeError("this interpreter has no immortal objects")
    text = "".join(["a", " new text"])
    inner = [text]
    number = int.from_bytes(text.encode() * 2, "big")
    for fresh in (object(), text, text.encode(), number, number / 7, (inner, text), inner, {"it": inner}, {text},
                  lambda: inner, type("New", (), {})):
        kind = type(fresh).__name__
        fault = _fault_of(fresh)
        if fault is not None:
            raise RuntimeError(f"a new object of type {kind} {fault}")
    if inner != ["a new text"]:
        raise RuntimeError("an immortal list has lost what it held")
    fault = _fault_of_constants()
    if fault is not None:
        raise RuntimeError(f"a constant {fault}")
