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

static int accelerator_init(Accelerator *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"credentials", "user_namespace", "label", "token_base", NULL};
    const char *credentials, *users, *label;
    Py_ssize_t credentials_size, users_size, label_size;
    unsigned long long token_base;
    if (self->a) {
        PyErr_SetString(PyExc_RuntimeError, "an accelerator is made once");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y#y#y#K", names, &credentials,
                                     &credentials_size, &users, &users_size, &label, &label_size,
                                     &token_base))
        return -1;
    struct accelerator *a = self->a = PyMem_Calloc(1, sizeof *a);
    if (!a) {
        PyErr_NoMemory();
        return -1;
    }
    tasks_open(a);
    a->token_base = token_base;
    if (take_text(a->credentials, sizeof a->credentials, credentials, credentials_size,
                  "credentials") ||
        take_text(a->user_namespace, sizeof a->user_namespace, users, users_size, "ns/user") ||
        take_text(a->label, sizeof a->label, label, label_size, "label"))
        return -1;
    a->label_length = (size_t)label_size;
    self->held = PyList_New(0);
    self->mounts = Py_NewRef(Py_None);
    return self->held ? 0 : -1;
}

static void accelerator_dealloc(Accelerator *self)
{
    if (self->a) {
        tasks_close(self->a);
        for (size_t i = 0; i < VIEWS; i++) {
            struct level *level = self->a->views[i];
            if (!level)
                continue;
            owners_free(level->owners);
            PyMem_Free((void *)level->offers[0]);
            PyMem_Free((void *)level->offers[1]);
            PyMem_Free(level);
        }
    }
    for (size_t i = 0; self->a && i < STATES; i++)
        PyMem_Free((void *)self->a->roots[i]);
    PyMem_Free(self->a);
    Py_XDECREF(self->held);
    Py_XDECREF(self->mounts);
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *forget(Accelerator *self, PyObject *args)
{
    PyObject *tid;
    int executing = 0;
    if (!PyArg_ParseTuple(args, "O|i", &tid, &executing))
        return NULL;
    if (tid == Py_None) {
        task_forget_all(self->a);
        Py_RETURN_NONE;
    }
    long number = PyLong_AsLong(tid);
    if (number < 0)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "a thread id");
    task_forget(self->a, (int)number);
    if (executing)
        task_doubt(self->a, (int)number, executing);
    Py_RETURN_NONE;
}

static PyObject *expect(Accelerator *self, PyObject *tid)
{
    long number = PyLong_AsLong(tid);
    if (number <= 0)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "a thread id");
    self->a->begun[number % BEGUN] = (int)-number;
    Py_RETURN_NONE;
}

static PyObject *renewed(Accelerator *self, PyObject *Py_UNUSED(ignored))
{
    struct accelerator *a = self->a;
    uint32_t count = a->renewed_count, told = a->renewed_told;
    a->renewed_told = count;
    bool has_more = count - told > RENEWED;
    PyObject *list = PyList_New(0);
    for (told = has_more ? count - RENEWED : told; list && told != count; told++) {
        const struct renewed *one = a->renewed + told % RENEWED;
        PyObject *pair = Py_BuildValue("ii", one->tid, one->executing);
        if (!pair || PyList_Append(list, pair))
            Py_CLEAR(list);
        Py_XDECREF(pair);
    }
    return list ? Py_BuildValue("NO", list, has_more ? Py_True : Py_False) : NULL;
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

static PyObject *settled_in(Accelerator *self, PyObject *view)
{
    unsigned long number = PyLong_AsUnsignedLong(view);
    if (PyErr_Occurred())
        return NULL;
    struct level *level = level_of(self, number);
    return PyLong_FromUnsignedLongLong(level ? level->settled : 0);
}

static PyMethodDef accelerator_methods[] = {
    {"offer_libc", (PyCFunction)offer_libc, METH_O,
     "offer_libc(mark): from now on Python is asked where a program opens its libc; whose execve(2) has\n"
     "that mark can be handed over what to execute."},
    {"set_program", (PyCFunction)set_program, METH_VARARGS,
     "set_program(view, program): how what has been executed is executed again; the caller keeps it."},
    {"set_root", (PyCFunction)set_root, METH_VARARGS,
     "set_root(index, path): the root directory of a state, before that is set."},
    {"set_offer", (PyCFunction)set_offer, METH_VARARGS,
     "set_offer(view, is_root, descriptor, filters, device, inode, instruction, code): what programs like\n"
     "one that Python has looked at get for their libc, if they act as a root, or if not."},
    {"set_mounts", (PyCFunction)set_mounts, METH_VARARGS,
     "set_mounts(table, have_moved): the mount table, None while it may change."},
    {"add_view", (PyCFunction)add_view, METH_VARARGS,
     "add_view(number, claims, rules, no_continue, rescues): a view whose calls are answered here;\n"
     "rescues: but those that fail with EACCES."},
    {"set_state", (PyCFunction)set_state, METH_VARARGS,
     "set_state(index, kind, cwd, view): what a token stands for, before a process carries it."},
    {"set_facts", (PyCFunction)set_facts, METH_VARARGS,
     "set_facts(index, uid, euid, gid, egid, keeps_at_exec, changes_owners, makes_plainly, acts_as_root): of\n"
     "a state, before set_state; -1: Python knows."},
    {"set_names", (PyCFunction)set_names, METH_VARARGS,
     "set_names(view, utsname, sources): what uname says while the sources, (fd, data), are so."},
    {"add_pass", (PyCFunction)add_pass, METH_VARARGS,
     "add_pass(view, number, tests): continue that call where for each (argument, mask, value) it is so."},
    {"show_in", (PyCFunction)show_in, METH_VARARGS,
     "show_in(view, memory): keep what is known of owners there, for programs; False: they cannot know."},
    {"note_in", (PyCFunction)note_in, METH_VARARGS,
     "note_in(view, memory, number): programs note there what they change; False: they may not."},
    {"show_no_more", (PyCFunction)show_no_more, METH_O,
     "show_no_more(view): what stands in such memory is not valid any more."},
    {"set_owners", (PyCFunction)set_owners, METH_VARARGS,
     "set_owners(view, uids, gids, owner, group, while_equal): how a module shows the owners of files; -1: "
     "as they are."},
    {"may_remember", (PyCFunction)may_remember, METH_VARARGS,
     "may_remember(view, inode): the module may know better of a file with that number."},
    {"remember", (PyCFunction)remember, METH_VARARGS,
     "remember(view, device, inode, rdev, uid, gid, mode, has_more, type, handle): what it knows; mode 0:\n"
     "the real one; has_more: it knows more than that."},
    {"make_plainly", (PyCFunction)make_plainly, METH_VARARGS,
     "make_plainly(view, where): what a root makes shows as the kernel makes it: 0 nowhere, 1 in directories\n"
     "of which nothing is remembered, 2 everywhere."},
    {"be_alone", (PyCFunction)be_alone, METH_VARARGS,
     "be_alone(view, is_alone): can nobody else change what `while_equal` tells of?"},
    {"allow_changes", (PyCFunction)allow_changes, METH_VARARGS,
     "allow_changes(view, device): a root of the view changes files on that device here. False: no room."},
    {"take_changes", (PyCFunction)take_changes, METH_VARARGS,
     "take_changes(view, hold): what has been changed here since the last time, [(device, inode,\n"
     "handle, uid, gid, mode, rdev, real mode), ...]. hold 1: nothing is, until as many calls with -1."},
    {"forget", (PyCFunction)forget, METH_VARARGS,
     "forget(tid, executing=0): read that task anew next time; None: every task. `executing`: each time, as\n"
     "long as that thread of it may be executing a program."},
    {"expect", (PyCFunction)expect, METH_O,
     "expect(tid): Python is given the next call of that thread."},
    {"renewed", (PyCFunction)renewed, METH_NOARGS,
     "renewed(): (tasks that are others since the last time, with `executing` as in forget; there were more)."},
    {"close", (PyCFunction)close_tasks, METH_NOARGS,
     "close(): give back the descriptors of tasks that no call is using."},
    {"counts", (PyCFunction)counts, METH_NOARGS,
     "counts(): {number: (settled, passed on)} of system calls."},
    {"settled_in", (PyCFunction)settled_in, METH_O,
     "settled_in(view): how many calls have been settled for that view."},
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
