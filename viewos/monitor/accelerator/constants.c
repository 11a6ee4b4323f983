/* Answers that depend on nothing but the state of the process, the view, or the arguments. */
#include "accelerator.h"

#include <string.h>
#include <unistd.h>

void facts_set(struct accelerator *a, size_t index, const int64_t values[FACTS])
{
    for (int i = 0; i < FACTS; i++)
        a->facts[index][i] = values[i];
}

enum outcome do_id(struct call *c)
{
    c->result = c->accelerator->facts[c->state_index][c->rule->values[0]];
    return c->result < 0 ? PASS : ANSWER;
}

/* One writer at a time; a reader that meets it leaves the call to Python. */
void names_set(struct level *level, const struct names *names)
{
    level->names_version++;
    atomic_thread_fence(memory_order_release);
    level->names = *names;
    atomic_thread_fence(memory_order_release);
    level->names_version++;
}

/* A name can be written to as a file, of which nobody hears; an empty one changes nothing. */
static bool is_as_it_was(const struct source *source)
{
    char data[SOURCE];
    long count = pread(source->fd, data, sizeof data, 0);
    return !count || (count == (long)source->size && !memcmp(data, source->data, source->size));
}

enum outcome do_uname(struct call *c)
{
    uint32_t version = c->level->names_version;
    atomic_thread_fence(memory_order_acquire);
    struct names names = c->level->names;
    atomic_thread_fence(memory_order_acquire);
    if (version & 1 || version != c->level->names_version || !names.is_known)
        return PASS;
    for (uint32_t i = 0; i < names.count; i++)
        if (!is_as_it_was(names.sources + i))
            return PASS;
    c->result = 0;
    return deliver(c, argument(c, 0), names.uts, sizeof names.uts);
}

static bool is_passed(const struct call *c, const struct pass *pass, uint32_t without)
{
    if (pass->number != c->notification->data.nr)
        return false;
    for (int i = 0; i < pass->count; i++) {
        uint64_t given = argument(c, pass->tests[i].argument);
        if (pass->tests[i].argument == c->rule->values[0])
            given &= ~(uint64_t)without;
        if ((given & pass->tests[i].mask) != pass->tests[i].value)
            return false;
    }
    return true;
}

/* Does a module pass the call? `without`: as if the first of its values lacked these bits. */
enum outcome do_filter(struct call *c, uint32_t without)
{
    for (int i = 0; i < c->level->pass_count; i++)
        if (is_passed(c, c->level->passes + i, without))
            return CONTINUE;
    return PASS;
}
