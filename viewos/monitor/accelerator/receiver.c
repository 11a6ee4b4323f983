/* viewos.monitor.accelerator.native.Receiver: what one receiving thread needs. */
#include "native.h"

#include <string.h>

typedef struct {
    PyObject_HEAD
    Accelerator *accelerator;
    struct call *call;
    struct seccomp_notif notification;
} Receiver;

static PyTypeObject *accelerator_type(PyObject *module)
{
    return *(PyTypeObject **)PyModule_GetState(module);
}

static int receiver_init(Receiver *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"accelerator", "listener", "own_umask", NULL};
    PyObject *module = PyType_GetModule(Py_TYPE(self)), *accelerator;
    int listener = -1, own_umask = 1;
    if (self->call) {
        PyErr_SetString(PyExc_RuntimeError, "a receiver is made once");
        return -1;
    }
    if (!module ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "O!|ip", names, accelerator_type(module),
                                     &accelerator, &listener, &own_umask))
        return -1;
    self->call = PyMem_Calloc(1, sizeof *self->call);
    if (!self->call) {
        PyErr_NoMemory();
        return -1;
    }
    Py_INCREF(accelerator);
    self->accelerator = (Accelerator *)accelerator;
    self->call->accelerator = self->accelerator->a;
    self->call->listener = listener;
    self->call->own_umask = own_umask;
    self->call->notification = &self->notification;
    return 0;
}

static void receiver_dealloc(Receiver *self)
{
    PyMem_Free(self->call);
    Py_XDECREF(self->accelerator);
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* The table of mounts that calls may use, held until `drop_mounts`. */
static PyObject *take_mounts(Receiver *self)
{
    PyObject *held = Py_NewRef(self->accelerator->mounts);
    self->call->mounts = held == Py_None ? NULL : table_of(held);
    self->call->changes = self->accelerator->a->changes;
    return held;
}

static void drop_mounts(Receiver *self, PyObject *held)
{
    self->call->mounts = NULL;
    Py_DECREF(held);
}

static PyObject *receive(Receiver *self, PyObject *args)
{
    unsigned long long seat, me;
    int failed;
    if (!PyArg_ParseTuple(args, "KK", &seat, &me))
        return NULL;
    PyObject *held = take_mounts(self);
    Py_BEGIN_ALLOW_THREADS
    failed = serve(self->call, (struct seat *)(uintptr_t)seat, me);
    Py_END_ALLOW_THREADS
    drop_mounts(self, held);
    if (failed)
        return PyLong_FromLong(failed);
    if (!self->notification.id)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)&self->notification,
                                     sizeof self->notification);
}

/* For tests: the resolver alone. */
static PyObject *resolve_path(Receiver *self, PyObject *args)
{
    const char *start, *path;
    Py_ssize_t start_size, path_size;
    int follow, keep_last, hint;
    PyObject *result = NULL;
    const char *root_text = NULL;
    Py_ssize_t root_size = 0;
    if (!PyArg_ParseTuple(args, "y#y#ppi|z#", &start, &start_size, &path, &path_size, &follow,
                          &keep_last, &hint, &root_text, &root_size))
        return NULL;
    struct call *c = self->call;
    struct place *p = c->places;
    if (start_size >= LONGEST - 8 || path_size >= LONGEST)
        Py_RETURN_NONE;
    const struct level *outermost = c->accelerator->views[0];
    if (!outermost)
        Py_RETURN_NONE;
    PyObject *held = take_mounts(self);
    struct root root = {.length = (size_t)root_size};
    if (root_text && root_size < LONGEST)
        memcpy(root.text, root_text, (size_t)root_size);
    c->root = root_text ? &root : NULL;
    c->claims = outermost->claims;
    memcpy(c->path, path, (size_t)path_size);
    c->path[path_size] = 0;
    memcpy(p->kernel, start, (size_t)start_size);
    p->kernel[p->kernel_length = (size_t)start_size] = 0;
    struct walk how = {.follow = follow, .keep_last = keep_last};
    bool is_sure = c->mounts;
    if (is_sure && *c->path != '/')
        is_sure = reverse(c->claims, p->kernel, p->kernel_length, hint, p->virtual_,
                          &p->virtual_length, &c->scratch, NULL);
    if (is_sure && resolve(c, c->path, (size_t)path_size, how, p) && !p->lost)
        result = Py_BuildValue(
            "y#y#iOOO", p->virtual_, (Py_ssize_t)p->virtual_length, p->real,
            (Py_ssize_t)p->real_length, p->claim ? (int)(p->claim - c->claims->entries) : -1,
            p->plain ? Py_True : Py_False, p->absolute ? Py_True : Py_False,
            p->native ? Py_True : Py_False);
    c->root = NULL;
    drop_mounts(self, held);
    if (result || PyErr_Occurred())
        return result;
    Py_RETURN_NONE;
}

static PyMethodDef receiver_methods[] = {
    {"receive", (PyCFunction)receive, METH_VARARGS,
     "receive(seat, me): answer calls as long as `me` leads, without the GIL.\n\n"
     "`seat` is the address of a Seat. The first notification that is Python's, as bytes; None when\n"
     "another leads; an int is the errno of a receive that failed."},
    {"resolve", (PyCFunction)resolve_path, METH_VARARGS,
     "resolve(start, path, follow, keep_last, hint, root=None): for tests, the resolver alone.\n\n"
     "(virtual, real, index of the claim or -1, plain, absolute, native), or None: not certain."},
    {NULL},
};

static PyType_Slot receiver_slots[] = {
    {Py_tp_doc, "What one receiving thread needs."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, receiver_init},
    {Py_tp_dealloc, receiver_dealloc},
    {Py_tp_methods, receiver_methods},
    {0},
};

PyType_Spec receiver_spec = {
    "viewos.monitor.accelerator.native.Receiver", sizeof(Receiver), 0, Py_TPFLAGS_DEFAULT,
    receiver_slots,
};
