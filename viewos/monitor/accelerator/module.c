/* The accelerator as a Python object: viewos.monitor.accelerator.native. */
#include "native.h"

#include <string.h>

/* ---- Accelerator ------------------------------------------------------------------------------ */

static int take_text(char *to, size_t room, const char *text, Py_ssize_t size, const char *what)
{
    if ((size_t)size >= room) {
        PyErr_Format(PyExc_ValueError, "%s: longer than %zu bytes", what, room - 1);
        return -1;
    }
    memcpy(to, text, (size_t)size);
    to[size] = 0;
    return 0;
}

static int check_table(PyObject *table)
{
    if (PyBytes_Check(table) && (size_t)PyBytes_GET_SIZE(table) >= sizeof(struct table))
        return 0;
    PyErr_SetString(PyExc_ValueError, "a table is bytes made by tables.py");
    return -1;
}

static int accelerator_init(Accelerator *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"credentials", "mount_namespace", "user_namespace", "token_base", NULL};
    const char *credentials, *mounts, *users;
    Py_ssize_t credentials_size, mounts_size, users_size;
    unsigned long long token_base;
    if (self->a) {
        PyErr_SetString(PyExc_RuntimeError, "an accelerator is made once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y#y#y#K", names, &credentials,
                                     &credentials_size, &mounts, &mounts_size, &users, &users_size,
                                     &token_base))
        return -1;
    struct accelerator *a = self->a = PyMem_Calloc(1, sizeof *a);
    if (!a) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < TASKS; i++) {
        a->tasks[i].directory = -1;
        atomic_flag_clear(&a->tasks[i].busy);
    }
    a->listener = -1;
    a->token_base = token_base;
    a->own_umask = true;
    if (take_text(a->credentials, sizeof a->credentials, credentials, credentials_size,
                  "credentials") ||
        take_text(a->mount_namespace, sizeof a->mount_namespace, mounts, mounts_size, "ns/mnt") ||
        take_text(a->user_namespace, sizeof a->user_namespace, users, users_size, "ns/user"))
        return -1;
    self->claims = PyList_New(0);
    self->mounts = Py_NewRef(Py_None);
    return self->claims ? 0 : -1;
}

static void accelerator_dealloc(Accelerator *self)
{
    if (self->a) {
        tasks_close(self->a);
        for (size_t i = 0; i < VIEWS; i++) {
            if (self->a->views[i])
                owners_free(self->a->views[i]->owners);
            PyMem_Free(self->a->views[i]);
        }
    }
    PyMem_Free(self->a);
    Py_XDECREF(self->claims);
    Py_XDECREF(self->mounts);
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *set_mounts(Accelerator *self, PyObject *table)
{
    if (table != Py_None && check_table(table))
        return NULL;
    Py_INCREF(table);
    Py_XSETREF(self->mounts, table);
    self->a->changes++;
    Py_RETURN_NONE;
}

static PyObject *add_view(Accelerator *self, PyObject *args)
{
    unsigned long number;
    PyObject *claims;
    const char *rules;
    Py_ssize_t size;
    int no_continue;
    if (!PyArg_ParseTuple(args, "kOy#p", &number, &claims, &rules, &size, &no_continue) ||
        check_table(claims))
        return NULL;
    struct level *level;
    if (size != sizeof level->rules || number >= VIEWS || self->a->views[number])
        return PyErr_Format(PyExc_ValueError, "rules of another layout, or a view that is known");
    level = PyMem_Calloc(1, sizeof *level);
    if (!level)
        return PyErr_NoMemory();
    if (PyList_Append(self->claims, claims)) {
        PyMem_Free(level);
        return NULL;
    }
    level->claims = table_of(claims);
    level->no_continue = no_continue;
    memcpy(level->rules, rules, sizeof level->rules);
    self->a->views[number] = level;
    Py_RETURN_NONE;
}

static PyObject *set_state(Accelerator *self, PyObject *args)
{
    unsigned long index, view;
    int kind, cwd;
    if (!PyArg_ParseTuple(args, "kiik", &index, &kind, &cwd, &view))
        return NULL;
    if (index < STATES && view < VIEWS) {
        self->a->states[index].cwd = cwd;
        self->a->states[index].view = (int32_t)view;
        self->a->states[index].kind = kind;
    }
    if (index >= self->a->state_count)
        self->a->state_count = (uint32_t)index + 1;
    Py_RETURN_NONE;
}

static struct level *level_of(Accelerator *self, unsigned long view)
{
    return view < VIEWS ? self->a->views[view] : NULL;
}

static struct level *level_with_owners(Accelerator *self, unsigned long view)
{
    struct level *level = level_of(self, view);
    if (level && level->owners)
        return level;
    PyErr_SetString(PyExc_ValueError, "a view without owners");
    return NULL;
}

static int map_ids(struct owners *owners, bool is_group, PyObject *ids)
{
    PyObject *from, *to;
    Py_ssize_t at = 0;
    while (PyDict_Next(ids, &at, &from, &to))
        if (!owners_map(owners, is_group, (uint32_t)PyLong_AsUnsignedLong(from),
                        (uint32_t)PyLong_AsUnsignedLong(to)))
            return -1;
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *set_owners(Accelerator *self, PyObject *args)
{
    PyObject *uids, *gids;
    long long owner, group;
    unsigned long view;
    if (!PyArg_ParseTuple(args, "kO!O!LL", &view, &PyDict_Type, &uids, &PyDict_Type, &gids, &owner,
                          &group))
        return NULL;
    struct level *level = level_of(self, view);
    struct owners *owners = !level || level->owners ? NULL : owners_new(owner, group);
    if (!owners || map_ids(owners, false, uids) || map_ids(owners, true, gids)) {
        owners_free(owners);
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "owners");
    }
    level->owners = owners;
    Py_RETURN_NONE;
}

static PyObject *may_remember(Accelerator *self, PyObject *args)
{
    unsigned long view;
    unsigned long long inode;
    struct level *level;
    if (!PyArg_ParseTuple(args, "kK", &view, &inode) || !(level = level_with_owners(self, view)))
        return NULL;
    owners_maybe(level->owners, inode);
    Py_RETURN_NONE;
}

static PyObject *remember(Accelerator *self, PyObject *args)
{
    struct remembered what = {0};
    unsigned long view;
    unsigned long long device, inode, rdev;
    const char *bytes;
    Py_ssize_t size;
    struct level *level;
    if (!PyArg_ParseTuple(args, "kKKKIIIiy#", &view, &device, &inode, &rdev, &what.uid, &what.gid,
                          &what.mode, &what.handle.type, &bytes, &size) ||
        !(level = level_with_owners(self, view)))
        return NULL;
    what.device = device;
    what.inode = inode;
    what.rdev = rdev;
    owners_maybe(level->owners, inode);
    if ((size_t)size <= sizeof what.handle.bytes) {
        what.handle.size = (uint32_t)size;
        memcpy(what.handle.bytes, bytes, (size_t)size);
        owners_remember(level->owners, &what);
    }
    Py_RETURN_NONE;
}

static PyObject *forget(Accelerator *self, PyObject *tid)
{
    if (tid == Py_None) {
        task_forget_all(self->a);
        Py_RETURN_NONE;
    }
    long number = PyLong_AsLong(tid);
    if (number < 0)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "a thread id");
    task_forget(self->a, (int)number);
    Py_RETURN_NONE;
}

static PyObject *renewed(Accelerator *self, PyObject *Py_UNUSED(ignored))
{
    struct accelerator *a = self->a;
    uint32_t count = a->renewed_count, told = a->renewed_told;
    a->renewed_told = count;
    if (count - told > RENEWED)
        Py_RETURN_NONE;
    PyObject *list = PyList_New(0);
    for (; list && told != count; told++) {
        PyObject *tid = PyLong_FromLong(a->renewed[told % RENEWED]);
        if (!tid || PyList_Append(list, tid))
            Py_CLEAR(list);
        Py_XDECREF(tid);
    }
    return list;
}

static PyObject *serve_with(Accelerator *self, PyObject *args)
{
    int listener, own_umask;
    if (!PyArg_ParseTuple(args, "ip", &listener, &own_umask))
        return NULL;
    self->a->listener = listener;
    self->a->own_umask = own_umask;
    Py_RETURN_NONE;
}

static PyObject *close_tasks(Accelerator *self, PyObject *Py_UNUSED(ignored))
{
    tasks_close(self->a);
    Py_RETURN_NONE;
}

static PyObject *counts(Accelerator *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *result = PyDict_New();
    for (long i = 0; result && i < CALLS; i++) {
        unsigned long long settled = self->a->settled[i], passed = self->a->passed[i];
        if (!settled && !passed)
            continue;
        PyObject *key = PyLong_FromLong(i), *pair = Py_BuildValue("KK", settled, passed);
        if (!key || !pair || PyDict_SetItem(result, key, pair))
            Py_CLEAR(result);
        Py_XDECREF(key);
        Py_XDECREF(pair);
    }
    return result;
}

static PyMethodDef accelerator_methods[] = {
    {"set_mounts", (PyCFunction)set_mounts, METH_O,
     "set_mounts(table): the mount table, None while it may change."},
    {"add_view", (PyCFunction)add_view, METH_VARARGS,
     "add_view(number, claims, rules, no_continue): a view whose calls are answered here."},
    {"set_state", (PyCFunction)set_state, METH_VARARGS,
     "set_state(index, kind, cwd, view): what a token stands for, before a process carries it."},
    {"set_owners", (PyCFunction)set_owners, METH_VARARGS,
     "set_owners(view, uids, gids, owner, group): how a module shows the owners of files; -1: as they are."},
    {"may_remember", (PyCFunction)may_remember, METH_VARARGS,
     "may_remember(view, inode): the module may know better of a file with that number."},
    {"remember", (PyCFunction)remember, METH_VARARGS,
     "remember(view, device, inode, rdev, uid, gid, mode, type, handle): what it knows; mode 0: the real."},
    {"forget", (PyCFunction)forget, METH_O,
     "forget(tid): read that task anew next time; None: every task."},
    {"serve_with", (PyCFunction)serve_with, METH_VARARGS,
     "serve_with(listener, own_umask): before the first receive."},
    {"renewed", (PyCFunction)renewed, METH_NOARGS,
     "renewed(): tasks that began another program since the last time; None: too many to tell."},
    {"close", (PyCFunction)close_tasks, METH_NOARGS,
     "close(): give back the descriptors of tasks that no call is using."},
    {"counts", (PyCFunction)counts, METH_NOARGS,
     "counts(): {number: (settled, passed on)} of system calls."},
    {NULL},
};

static PyType_Slot accelerator_slots[] = {
    {Py_tp_doc, "Answers calls of one view without Python; docs/accelerator.md."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, accelerator_init},
    {Py_tp_dealloc, accelerator_dealloc},
    {Py_tp_methods, accelerator_methods},
    {0},
};

static PyType_Spec accelerator_spec = {
    "viewos.monitor.accelerator.native.Accelerator", sizeof(Accelerator), 0, Py_TPFLAGS_DEFAULT,
    accelerator_slots,
};

/* ---- the module ------------------------------------------------------------------------------------- */

static int add(PyObject *module)
{
    PyObject *accelerator = PyType_FromModuleAndSpec(module, &accelerator_spec, NULL);
    if (!accelerator)
        return -1;
    *(PyObject **)PyModule_GetState(module) = accelerator;
    PyObject *receiver = PyType_FromModuleAndSpec(module, &receiver_spec, NULL);
    if (!receiver)
        return -1;
    int failed = PyModule_AddObjectRef(module, "Accelerator", accelerator) ||
                 PyModule_AddObjectRef(module, "Receiver", receiver);
    Py_DECREF(receiver);
    return failed ? -1 : 0;
}

static int clear(PyObject *module)
{
    Py_CLEAR(*(PyObject **)PyModule_GetState(module));
    return 0;
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(*(PyObject **)PyModule_GetState(module));
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add}, {0}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "native",
    .m_doc = "The accelerator of the monitor, in C.",
    .m_size = sizeof(PyObject *),
    .m_slots = slots,
    .m_clear = clear,
    .m_traverse = traverse,
};

PyMODINIT_FUNC PyInit_native(void)
{
    return PyModuleDef_Init(&definition);
}
