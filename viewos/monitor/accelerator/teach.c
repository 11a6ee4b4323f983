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

PyObject *set_mounts(Accelerator *self, PyObject *table)
{
    if (table != Py_None && check_table(table))
        return NULL;
    Py_INCREF(table);
    Py_XSETREF(self->mounts, table);
    self->a->changes++;
    Py_RETURN_NONE;
}

PyObject *offer_libc(Accelerator *self, PyObject *Py_UNUSED(ignored))
{
    self->a->offers_libc = true;
    Py_RETURN_NONE;
}

PyObject *set_offer(Accelerator *self, PyObject *args)
{
    unsigned long view;
    unsigned long long device, inode, instruction;
    int descriptor, filters;
    const char *code;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "kiiKKKy#", &view, &descriptor, &filters, &device, &inode,
                          &instruction, &code, &size))
        return NULL;
    struct level *level = level_of(self, view);
    if (!level || size != OFFER_CODE)
        return PyErr_Format(PyExc_ValueError, "a view that is known, and %d bytes", OFFER_CODE);
    if (level->offer)
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
    level->offer = offer;
    Py_RETURN_NONE;
}

PyObject *add_view(Accelerator *self, PyObject *args)
{
    unsigned long number;
    PyObject *claims;
    const char *rules;
    Py_ssize_t size;
    int no_continue, rescues = 0;
    if (!PyArg_ParseTuple(args, "kOy#p|p", &number, &claims, &rules, &size, &no_continue,
                          &rescues) ||
        check_table(claims))
        return NULL;
    struct level *level;
    if (size != sizeof level->rules || number >= VIEWS || self->a->views[number])
        return PyErr_Format(PyExc_ValueError, "rules of another layout, or a view that is known");
    level = PyMem_Calloc(1, sizeof *level);
    if (!level)
        return PyErr_NoMemory();
    if (PyList_Append(self->held, claims)) {
        PyMem_Free(level);
        return NULL;
    }
    level->claims = table_of(claims);
    level->no_continue = no_continue;
    level->rescues = rescues;
    memcpy(level->rules, rules, sizeof level->rules);
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
    if (!PyArg_ParseTuple(args, "kLLLLLL", &index, values, values + 1, values + 2, values + 3,
                          values + KEEPS_AT_EXEC, values + CHANGES_OWNERS))
        return NULL;
    if (index < STATES) {
        int64_t facts[FACTS];
        for (int i = 0; i < FACTS; i++)
            facts[i] = values[i];
        facts_set(self->a, index, facts);
    }
    Py_RETURN_NONE;
}

static struct level *level_with_owners(Accelerator *self, unsigned long view)
{
    struct level *level = level_of(self, view);
    if (level && level->owners)
        return level;
    PyErr_SetString(PyExc_ValueError, "a view without owners");
    return NULL;
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

/* The words of a buffer, which is kept to the end; NULL: an error. */
static const void *hold_words(Accelerator *self, PyObject *of, size_t *count)
{
    PyObject *view = PyMemoryView_FromObject(of);
    if (!view)
        return NULL;
    const Py_buffer *buffer = PyMemoryView_GET_BUFFER(view);
    *count = (size_t)buffer->len / sizeof(uint64_t);
    const void *words = (uintptr_t)buffer->buf % sizeof(uint64_t) ? NULL : buffer->buf;
    if (!words)
        PyErr_SetString(PyExc_ValueError, "words that are not aligned");
    if (words && PyList_Append(self->held, view))
        words = NULL;
    Py_DECREF(view);
    return words;
}

static bool take_unseen(Accelerator *self, PyObject *pair, struct unseen *unseen)
{
    PyObject *now, *seen;
    size_t count;
    if (pair == Py_None)
        return true;
    if (!PyArg_ParseTuple(pair, "OO", &now, &seen) ||
        !(unseen->now = hold_words(self, now, &unseen->count)) ||
        !(unseen->seen = hold_words(self, seen, &count)))
        return false;
    if (count != unseen->count)
        PyErr_SetString(PyExc_ValueError, "as many words on either side");
    return count == unseen->count;
}

PyObject *set_owners(Accelerator *self, PyObject *args)
{
    PyObject *uids, *gids, *pair;
    long long owner, group;
    unsigned long view;
    struct unseen unseen = {0};
    if (!PyArg_ParseTuple(args, "kO!O!LLO", &view, &PyDict_Type, &uids, &PyDict_Type, &gids, &owner,
                          &group, &pair) ||
        !take_unseen(self, pair, &unseen))
        return NULL;
    struct level *level = level_of(self, view);
    struct owners *owners = !level || level->owners ? NULL : owners_new(owner, group, unseen);
    if (!owners || map_ids(owners, false, uids) || map_ids(owners, true, gids)) {
        owners_free(owners);
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "owners");
    }
    level->owners = owners;
    Py_RETURN_NONE;
}

PyObject *show_in(Accelerator *self, PyObject *args)
{
    unsigned long view;
    PyObject *memory;
    if (!PyArg_ParseTuple(args, "kO", &view, &memory))
        return NULL;
    struct level *level = level_of(self, view);
    if (!level || !level->owners)
        Py_RETURN_FALSE;
    size_t words;
    const void *to = hold_words(self, memory, &words);
    if (!to)
        return NULL;
    if (words * sizeof(uint64_t) < sizeof(struct shown))
        return PyErr_Format(PyExc_ValueError, "at least %zu bytes", sizeof(struct shown));
    return PyBool_FromLong(owners_mirror(level->owners, (struct shown *)(uintptr_t)to));
}

PyObject *show_no_more(Accelerator *self, PyObject *view)
{
    struct level *level = level_of(self, PyLong_AsUnsignedLong(view));
    if (PyErr_Occurred())
        return NULL;
    if (level && level->owners)
        owners_leave_mirrors(level->owners);
    Py_RETURN_NONE;
}

PyObject *may_remember(Accelerator *self, PyObject *args)
{
    unsigned long view;
    unsigned long long inode;
    struct level *level;
    if (!PyArg_ParseTuple(args, "kK", &view, &inode) || !(level = level_with_owners(self, view)))
        return NULL;
    owners_maybe(level->owners, inode);
    Py_RETURN_NONE;
}

PyObject *remember(Accelerator *self, PyObject *args)
{
    struct remembered what = {0};
    unsigned long view;
    unsigned long long device, inode, rdev;
    const char *bytes;
    Py_ssize_t size;
    struct level *level;
    int has_more;
    if (!PyArg_ParseTuple(args, "kKKKIIIpiy#", &view, &device, &inode, &rdev, &what.uid, &what.gid,
                          &what.mode, &has_more, &what.handle.type, &bytes, &size) ||
        !(level = level_with_owners(self, view)))
        return NULL;
    what.device = device;
    what.inode = inode;
    what.rdev = rdev;
    what.has_more = has_more;
    owners_maybe(level->owners, inode);
    if ((size_t)size <= sizeof what.handle.bytes) {
        what.handle.size = (uint32_t)size;
        memcpy(what.handle.bytes, bytes, (size_t)size);
        owners_remember(level->owners, &what);
    }
    Py_RETURN_NONE;
}

PyObject *allow_changes(Accelerator *self, PyObject *args)
{
    unsigned long view;
    unsigned long long device;
    struct level *level;
    if (!PyArg_ParseTuple(args, "kK", &view, &device) || !(level = level_with_owners(self, view)))
        return NULL;
    return PyBool_FromLong(owners_allow(level->owners, device));
}

static PyObject *list_of(const struct changed *changed, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        const struct remembered *f = &changed[i].now;
        char handle[16 + sizeof f->handle.bytes];
        int head = snprintf(handle, 16, "h%d ", f->handle.type); /* as File.handle has it */
        memcpy(handle + head, f->handle.bytes, f->handle.size);
        PyObject *one = Py_BuildValue(
            "(KKy#IIIKI)", (unsigned long long)f->device, (unsigned long long)f->inode, handle,
            (Py_ssize_t)(head + (int)f->handle.size), f->uid, f->gid, f->mode,
            (unsigned long long)f->rdev, changed[i].real);
        if (!one)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, (Py_ssize_t)i, one);
    }
    return list;
}

PyObject *take_changes(Accelerator *self, PyObject *args)
{
    unsigned long view;
    int hold;
    struct level *level;
    if (!PyArg_ParseTuple(args, "ki", &view, &hold) || !(level = level_with_owners(self, view)))
        return NULL;
    size_t count = 0;
    struct changed *changed = NULL;
    bool is_done;
    /* Who is changing something may be in a slow file system. */
    Py_BEGIN_ALLOW_THREADS
    is_done = owners_take(level->owners, hold, &changed, &count);
    Py_END_ALLOW_THREADS
    PyObject *list = is_done ? list_of(changed, count) : PyErr_NoMemory();
    free(changed);
    return list;
}
