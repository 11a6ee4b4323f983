/* The Python objects around the accelerator. */
#ifndef NATIVE_H
#define NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "accelerator.h"

typedef struct {
    PyObject_HEAD
    struct accelerator *a;
    PyObject *held;   /* a list: the claims of all views as bytes, and other memory that C looks at */
    PyObject *mounts; /* bytes, or None: about to change */
} Accelerator;

static inline const struct table *table_of(PyObject *bytes)
{
    return (const struct table *)PyBytes_AS_STRING(bytes);
}

/* teach.c */
struct level *level_of(Accelerator *, unsigned long view);
PyObject *set_mounts(Accelerator *, PyObject *);
PyObject *offer_libc(Accelerator *, PyObject *);
PyObject *set_program(Accelerator *, PyObject *);
PyObject *set_offer(Accelerator *, PyObject *);
PyObject *add_view(Accelerator *, PyObject *);
PyObject *set_state(Accelerator *, PyObject *);
PyObject *set_root(Accelerator *, PyObject *);
PyObject *set_facts(Accelerator *, PyObject *);
PyObject *set_names(Accelerator *, PyObject *);
PyObject *add_pass(Accelerator *, PyObject *);

/* teach_owners.c */
PyObject *set_owners(Accelerator *, PyObject *);
PyObject *show_in(Accelerator *, PyObject *);
PyObject *note_in(Accelerator *, PyObject *);
PyObject *show_no_more(Accelerator *, PyObject *);
PyObject *may_remember(Accelerator *, PyObject *);
PyObject *remember(Accelerator *, PyObject *);
PyObject *make_plainly(Accelerator *, PyObject *);
PyObject *be_alone(Accelerator *, PyObject *);
PyObject *allow_changes(Accelerator *, PyObject *);
PyObject *take_changes(Accelerator *, PyObject *);

/* receiver.c */
extern PyType_Spec receiver_spec;

#endif
