# Nothing for Python: the functions of this module are C.
