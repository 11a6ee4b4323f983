/* What Python tells the accelerator of the owners of files, and what it takes. */
#include "native.h"

#include <stdlib.h>
#include <string.h>

/* Who holds the lock of the owners may be in a slow file system, which a program of the view may serve:
 * nobody waits for it with the GIL. */

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

static bool take_unseen(Accelerator *self, PyObject *watched, struct unseen *unseen)
{
    PyObject *seen;
    long long offset;
    if (watched == Py_None)
        return true;
    if (!PyArg_ParseTuple(watched, "iLO", &unseen->descriptor, &offset, &seen) ||
        !(unseen->seen = hold_words(self, seen, &unseen->count)))
        return false;
    unseen->offset = offset;
    if (unseen->count > UNSEEN)
        PyErr_Format(PyExc_ValueError, "more than %d words", UNSEEN);
    return unseen->count <= UNSEEN;
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
        if (!owners && level && !level->owners)
            return PyErr_NoMemory();
        owners_free(owners);
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "owners");
    }
    level->owners = owners;
    Py_RETURN_NONE;
}

/* Memory that programs have too, of at least `size` bytes; NULL: an error. */
static void *hold_shared(Accelerator *self, PyObject *memory, size_t size)
{
    size_t words;
    const void *to = hold_words(self, memory, &words);
    if (to && words * sizeof(uint64_t) < size) {
        PyErr_Format(PyExc_ValueError, "at least %zu bytes", size);
        return NULL;
    }
    return (void *)(uintptr_t)to;
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
    struct shown *to = hold_shared(self, memory, sizeof *to);
    if (!to)
        return NULL;
    bool is_there;
    Py_BEGIN_ALLOW_THREADS
    is_there = owners_mirror(level->owners, to);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(is_there);
}

PyObject *note_in(Accelerator *self, PyObject *args)
{
    unsigned long view;
    unsigned number;
    PyObject *memory;
    if (!PyArg_ParseTuple(args, "kOI", &view, &memory, &number))
        return NULL;
    struct level *level = level_of(self, view);
    if (!level || !level->owners)
        Py_RETURN_FALSE;
    struct notes *notes = hold_shared(self, memory, sizeof *notes);
    if (!notes)
        return NULL;
    bool is_there;
    Py_BEGIN_ALLOW_THREADS
    is_there = owners_note_in(level->owners, notes, number);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(is_there);
}

PyObject *show_no_more(Accelerator *self, PyObject *view)
{
    struct level *level = level_of(self, PyLong_AsUnsignedLong(view));
    if (PyErr_Occurred())
        return NULL;
    if (level && level->owners) {
        Py_BEGIN_ALLOW_THREADS
        owners_leave_mirrors(level->owners);
        Py_END_ALLOW_THREADS
    }
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

static PyObject *say(Accelerator *self, PyObject *args, void (*owners_say)(struct owners *, uint32_t))
{
    unsigned long view;
    unsigned what;
    struct level *level;
    if (!PyArg_ParseTuple(args, "kI", &view, &what) || !(level = level_with_owners(self, view)))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    owners_say(level->owners, what);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyObject *make_plainly(Accelerator *self, PyObject *args)
{
    return say(self, args, owners_make_plainly);
}

PyObject *be_alone(Accelerator *self, PyObject *args)
{
    return say(self, args, owners_be_alone);
}

PyObject *allow_changes(Accelerator *self, PyObject *args)
{
    unsigned long view;
    unsigned long long device;
    struct level *level;
    if (!PyArg_ParseTuple(args, "kK", &view, &device) || !(level = level_with_owners(self, view)))
        return NULL;
    bool has_room;
    Py_BEGIN_ALLOW_THREADS
    has_room = owners_allow(level->owners, device);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(has_room);
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
    Py_BEGIN_ALLOW_THREADS
    is_done = owners_take(level->owners, hold, &changed, &count);
    Py_END_ALLOW_THREADS
    PyObject *list = is_done ? list_of(changed, count) : PyErr_NoMemory();
    free(changed);
    return list;
}
