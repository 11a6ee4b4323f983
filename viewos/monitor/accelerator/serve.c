/* The hot loop: receive, answer what is certain, return what is not. */
#include "accelerator.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

static bool send(int listener, uint64_t id, int64_t result, uint32_t flags)
{
    struct seccomp_notif_resp response = {
        .id = id,
        .val = result < 0 ? 0 : result,
        .error = result < 0 ? (int32_t)result : 0,
        .flags = flags,
    };
    return !ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* The state of the caller's process, its view, and what that does about the call; false: nothing. */
static bool choose(struct call *call)
{
    struct accelerator *a = call->accelerator;
    if (!state_of(a, (int)call->notification->pid, &call->state, &call->state_index))
        return false;
    call->root = call->state.kind & STATE_ROOTED ? a->roots[call->state_index] : NULL;
    if (call->state.kind & STATE_ROOTED && !call->root)
        return false;
    call->level = a->views[call->state.view];
    if (!call->level || !call->level->claims)
        return false;
    auxiliary_tell(call);
    call->claims = call->level->claims;
    call->rule = call->level->rules + call->notification->data.nr;
    return call->rule->action;
}

/* Is the notification settled? */
static bool settle(struct call *call)
{
    struct accelerator *a = call->accelerator;
    const struct seccomp_data *data = &call->notification->data;
    if (data->arch != AUDIT_ARCH_X86_64 || data->nr < 0 || data->nr >= CALLS)
        return false;
    enum outcome outcome = PASS;
    /* The table of mounts is that of the moment in which Python began to receive. */
    if (auxiliary_is_told(a, (int)call->notification->pid) && call->mounts && call->changes == a->changes &&
        choose(call))
        outcome = answer(call);
    _Atomic uint64_t *count = outcome == PASS ? a->passed : a->settled;
    atomic_fetch_add_explicit(count + data->nr, 1, memory_order_relaxed);
    if (outcome == PASS)
        return false;
    atomic_fetch_add_explicit(&call->level->settled, 1, memory_order_relaxed);
    if (outcome != ABANDONED)
        send(call->listener, call->notification->id, outcome == CONTINUE ? 0 : call->result,
             outcome == CONTINUE ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0);
    return true;
}

/* Receive for `me` as long as it leads. 0: a notification that is not settled, or none, because
 * another leads; else an errno. */
int serve(struct call *call, struct seat *seat, uint64_t me)
{
    while (seat->leader == me && !seat->stopping) {
        memset(call->notification, 0, sizeof *call->notification);
        if (ioctl(call->listener, SECCOMP_IOCTL_NOTIF_RECV, call->notification))
            return errno;
        seat->sequence++;
        seat->busy = 1;
        task_watch(call->accelerator, call->notification->data.nr);
        call->has_auxiliary = false;
        program_begins(call); /* also where the call is Python's */
        /* A watchdog that dozes is woken by Python. */
        if (seat->dozing || !settle(call))
            return 0;
        if (seat->leader == me)
            seat->busy = 0;
    }
    call->notification->id = 0;
    return 0;
}
