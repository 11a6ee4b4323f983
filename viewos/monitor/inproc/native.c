/* The code for image.py, which copies it, and for tests. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "code.h"

extern const char __start_viewos_inproc[], __stop_viewos_inproc[];

static PyObject *code(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    const char *entry = (const char *)(uintptr_t)inproc_call;
    return Py_BuildValue("y#n", __start_viewos_inproc,
                         (Py_ssize_t)(__stop_viewos_inproc - __start_viewos_inproc),
                         (Py_ssize_t)(entry - __start_viewos_inproc));
}

static PyObject *found(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *shared, *path;
    Py_ssize_t size, length;
    unsigned kind;
    int writes;
    struct route route;
    if (!PyArg_ParseTuple(args, "y#y#Ip", &shared, &size, &path, &length, &kind, &writes))
        return NULL;
    if (!length || length >= ROOM)
        Py_RETURN_NONE;
    struct path_call p = {.path = path, .kind = kind, .writes = writes, .follows = true};
    const char *real = find((const struct shared *)(const void *)shared, &p, &route);
    if (!real)
        Py_RETURN_NONE;
    return PyBytes_FromString(real);
}

static PyObject *vouched(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    Py_ssize_t length;
    int follows;
    char text[ROOM];
    const struct shared nobody = {0};
    if (!PyArg_ParseTuple(args, "y#p", &path, &length, &follows))
        return NULL;
    if (length >= ROOM)
        return PyErr_Format(PyExc_ValueError, "a path of less than %d bytes", ROOM);
    struct path_call p = {.directory = AT_FDCWD, .path = path, .follows = follows};
    return Py_BuildValue("NN", PyBool_FromLong(are_no_links(&nobody, &p, path, count_names(&p, path), text)),
                         PyBool_FromLong(is_opened_without(&nobody, &p, path)));
}

static PyObject *opened(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path;
    const struct shared nobody = {0};
    if (!PyArg_ParseTuple(args, "s", &path))
        return NULL;
    struct path_call p = {.directory = AT_FDCWD, .path = path, .flags = O_RDONLY | O_CLOEXEC};
    struct verdict verdict = open_here(&nobody, &p, path, 0);
    if (!verdict.is_made)
        Py_RETURN_NONE;
    return PyLong_FromLongLong(verdict.value);
}

static PyMethodDef methods[] = {
    {"code", code, METH_NOARGS, "code(): (the instructions, where among them a call enters)"},
    {"find", found, METH_VARARGS,
     "find(shared, path, kind, writes): the path for the kernel, if no link is in it; None: not sure"},
    {"vouched", vouched, METH_VARARGS,
     "vouched(path, follows): is no link in it, by the names one by one and by an open?"},
    {"opened", opened, METH_VARARGS,
     "opened(path): a descriptor, or a negative errno; None: not sure."},
    {NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "viewos.monitor.inproc.native",
    .m_doc = "What runs in programs.", .m_methods = methods,
};

PyMODINIT_FUNC PyInit_native(void)
{
    return PyModule_Create(&definition);
}
