/* What Python tells the accelerator: views, states, answers that are data. */
#include "native.h"

#include <stdlib.h>
#include <string.h>

static int check_table(PyObject *table)
{
    if (PyBytes_Check(table) && (size_t)PyBytes_GET_SIZE(table) >= sizeof(struct table))
        return 0;
    PyErr_SetString(PyExc_ValueError, "a table is bytes made by tables.py");
    return -1;
}

struct level *level_of(Accelerator *self, unsigned long view)
{
    return view < VIEWS ? self->a->views[view] : NULL;
}

PyObject *set_mounts(Accelerator *self, PyObject *args)
{
    PyObject *table;
    int have_moved;
    if (!PyArg_ParseTuple(args, "Op", &table, &have_moved))
        return NULL;
    if (table != Py_None && check_table(table))
        return NULL;
    Py_INCREF(table);
    Py_XSETREF(self->mounts, table);
    self->a->mounts_move = have_moved;
    self->a->changes++;
    Py_RETURN_NONE;
}

PyObject *offer_libc(Accelerator *self, PyObject *mark)
{
    uint64_t number = PyLong_AsUnsignedLongLong(mark);
    if (PyErr_Occurred())
        return NULL;
    self->a->mark = number;
    self->a->offers_libc = true;
    Py_RETURN_NONE;
}

PyObject *set_program(Accelerator *self, PyObject *args)
{
    unsigned long view;
    PyObject *bytes;
    if (!PyArg_ParseTuple(args, "kS", &view, &bytes))
        return NULL;
    struct level *level = level_of(self, view);
    const struct program *p = (const void *)PyBytes_AS_STRING(bytes);
    if (!level || PyBytes_GET_SIZE(bytes) != sizeof *p || p->name[NAME - 1] ||
        p->loader[PATH_KEPT - 1] || p->loader_real[PATH_KEPT - 1] || p->string[PATH_KEPT - 1] || p->real[PATH_KEPT - 1] ||
        *p->string != '/')
        return PyErr_Format(PyExc_ValueError, "a view that is known, and a struct program");
    *program_slot(level, p->inode, p->name) = p;
    Py_RETURN_NONE;
}

PyObject *set_offer(Accelerator *self, PyObject *args)
{
    unsigned long view;
    unsigned long long device, inode, instruction;
    int is_root, descriptor, filters;
    const char *code;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "kpiiKKKy#", &view, &is_root, &descriptor, &filters, &device, &inode,
                          &instruction, &code, &size))
        return NULL;
    struct level *level = level_of(self, view);
    if (!level || size != OFFER_CODE)
        return PyErr_Format(PyExc_ValueError, "a view that is known, and %d bytes", OFFER_CODE);
    if (level->offers[is_root])
        Py_RETURN_NONE; /* the first one stays: calls may be using it */
    struct offer *offer = PyMem_Calloc(1, sizeof *offer);
    if (!offer)
        return PyErr_NoMemory();
    offer->descriptor = descriptor;
    offer->filters = filters;
    offer->device = device;
    offer->inode = inode;
    offer->instruction = instruction;
    memcpy(offer->code, code, OFFER_CODE);
    level->offers[is_root] = offer;
    Py_RETURN_NONE;
}

PyObject *add_view(Accelerator *self, PyObject *args)
{
    unsigned long number;
    PyObject *claims, *rules;
    int no_continue, rescues = 0;
    if (!PyArg_ParseTuple(args, "kOSp|p", &number, &claims, &rules, &no_continue, &rescues) ||
        check_table(claims))
        return NULL;
    struct level *level;
    if (PyBytes_GET_SIZE(rules) != CALLS * sizeof *level->rules || number >= VIEWS || self->a->views[number])
        return PyErr_Format(PyExc_ValueError, "rules of another layout, or a view that is known");
    level = PyMem_Calloc(1, sizeof *level);
    if (!level)
        return PyErr_NoMemory();
    if (PyList_Append(self->held, claims) || PyList_Append(self->held, rules)) {
        PyMem_Free(level);
        return NULL;
    }
    level->claims = table_of(claims);
    level->no_continue = no_continue;
    level->rescues = rescues;
    level->rules = (const struct rule *)PyBytes_AS_STRING(rules);
    self->a->views[number] = level;
    Py_RETURN_NONE;
}

PyObject *set_state(Accelerator *self, PyObject *args)
{
    unsigned long index, view;
    int kind, cwd;
    if (!PyArg_ParseTuple(args, "kiik", &index, &kind, &cwd, &view))
        return NULL;
    if (index < STATES && view < VIEWS)
        state_set(self->a, index,
                  (struct state){.cwd = cwd, .view = (uint16_t)view, .kind = (uint8_t)kind});
    if (index >= self->a->state_count)
        self->a->state_count = (uint32_t)index + 1;
    Py_RETURN_NONE;
}

PyObject *set_root(Accelerator *self, PyObject *args)
{
    unsigned long index;
    const char *text;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "ky#", &index, &text, &size))
        return NULL;
    if (index >= STATES || size >= LONGEST || self->a->roots[index])
        return PyErr_Format(PyExc_ValueError, "the root of a state is set once");
    struct root *root = PyMem_Calloc(1, sizeof *root);
    if (!root)
        return PyErr_NoMemory();
    root->length = (size_t)size;
    memcpy(root->text, text, (size_t)size);
    self->a->roots[index] = root;
    Py_RETURN_NONE;
}

PyObject *set_facts(Accelerator *self, PyObject *args)
{
    unsigned long index;
    long long values[FACTS];
    if (!PyArg_ParseTuple(args, "kLLLLLLLL", &index, values, values + 1, values + 2, values + 3,
                          values + KEEPS_AT_EXEC, values + CHANGES_OWNERS, values + MAKES_PLAINLY,
                          values + ACTS_AS_ROOT))
        return NULL;
    if (index < STATES) {
        int64_t facts[FACTS];
        for (int i = 0; i < FACTS; i++)
            facts[i] = values[i];
        facts_set(self->a, index, facts);
    }
    Py_RETURN_NONE;
}

static bool take_source(struct names *names, PyObject *source)
{
    const char *data;
    Py_ssize_t size;
    struct source *to = names->sources + names->count;
    if (!PyArg_ParseTuple(source, "iy#", &to->fd, &data, &size))
        return false;
    if (size > SOURCE) {
        PyErr_SetString(PyExc_ValueError, "a name that is too long");
        return false;
    }
    to->size = (uint32_t)size;
    memcpy(to->data, data, (size_t)size);
    names->count++;
    return true;
}

PyObject *set_names(Accelerator *self, PyObject *args)
{
    struct names names = {0};
    unsigned long view;
    const char *uts;
    Py_ssize_t size;
    PyObject *sources;
    if (!PyArg_ParseTuple(args, "kz#O!", &view, &uts, &size, &PyTuple_Type, &sources))
        return NULL;
    struct level *level = level_of(self, view);
    if (!level || (uts && size != sizeof names.uts) || PyTuple_GET_SIZE(sources) > 2)
        return PyErr_Format(PyExc_ValueError, "a struct new_utsname, and at most two sources");
    names.is_known = uts;
    if (uts)
        memcpy(names.uts, uts, sizeof names.uts);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sources); i++)
        if (!take_source(&names, PyTuple_GET_ITEM(sources, i)))
            return NULL;
    names_set(level, &names);
    Py_RETURN_NONE;
}

PyObject *add_pass(Accelerator *self, PyObject *args)
{
    unsigned long view;
    int number;
    PyObject *tests;
    if (!PyArg_ParseTuple(args, "kiO!", &view, &number, &PyTuple_Type, &tests))
        return NULL;
    struct level *level = level_of(self, view);
    Py_ssize_t count = PyTuple_GET_SIZE(tests);
    if (!level || level->pass_count == PASSES || count > TESTS)
        return PyErr_Format(PyExc_ValueError, "a view that has room for it, and few tests");
    struct pass *pass = level->passes + level->pass_count;
    pass->number = number;
    pass->count = (int)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        unsigned long long mask, value;
        int index;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(tests, i), "iKK", &index, &mask, &value))
            return NULL;
        if (index < 0 || index > 5)
            return PyErr_Format(PyExc_ValueError, "a call has six arguments");
        pass->tests[i].argument = index;
        pass->tests[i].mask = mask;
        pass->tests[i].value = value;
    }
    level->pass_count++;
    Py_RETURN_NONE;
}
