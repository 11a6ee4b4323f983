/* Calls on sockets with an address: only those of AF_UNIX may have a path in it. */
#include "accelerator.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGES = 16 };

/* Has no message a name or ancillary data that might be another's in the view? */
enum outcome do_message(struct call *c)
{
    bool is_one = c->rule->values[1] < 0;
    uint32_t count = is_one ? 1 : value(c, 1);
    if (count > MESSAGES)
        return PASS;
    for (uint32_t i = 0; i < count; i++) {
        struct msghdr head;
        uint64_t at = argument(c, c->rule->values[0]) + i * sizeof(struct mmsghdr);
        if (!read_exactly((int)c->notification->pid, at, &head, sizeof head) ||
            (head.msg_name && c->claims->count) || (head.msg_control && head.msg_controllen))
            return PASS;
    }
    return CONTINUE;
}

/* connect(2): does the kernel find the same socket by this name, outside of every claim? */
static enum outcome do_name(struct call *c, uint64_t address, uint64_t size)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (size <= offsetof(struct sockaddr_un, sun_path) || size > sizeof name || c->root ||
        !read_exactly((int)c->notification->pid, address, &name, size))
        return PASS;
    size_t length = strnlen(name.sun_path, sizeof name.sun_path);
    if (!length)
        return CONTINUE; /* an abstract one */
    if (*name.sun_path != '/')
        return PASS;
    memcpy(c->path, name.sun_path, length);
    c->path[length] = 0;
    struct walk how = {.follow = true};
    struct place *p = c->places;
    bool is_found = task_take(c) && resolve(c, c->path, length, how, p) && p->plain && !p->claim;
    return is_found ? CONTINUE : PASS;
}

enum outcome do_address(struct call *c)
{
    uint64_t address = argument(c, c->rule->values[0]);
    sa_family_t family;
    if (!address)
        return CONTINUE;
    if (!read_exactly((int)c->notification->pid, address, &family, sizeof family))
        return PASS;
    if (family != AF_UNIX)
        return CONTINUE;
    if (c->rule->asks) /* a module remembers who has bound it, if that does not show */
        return !c->claims->count && makes_plainly(c, 0600) ? CONTINUE : PASS;
    bool is_connect = c->notification->data.nr == SYS_connect;
    return is_connect ? do_name(c, address, value(c, 1)) : PASS;
}

/* Threads need not share their descriptors (Linux 6.9 for those; else Python looks). */
static int pidfd_of(struct call *c)
{
    return (int)syscall(SYS_pidfd_open, c->task->tid, task_leads(c) ? 0 : O_EXCL);
}

/* Is the socket of another family than AF_UNIX? Its addresses are nobody's paths. */
enum outcome do_socket(struct call *c)
{
    int family = AF_UNIX;
    socklen_t size = sizeof family;
    int process = task_take(c) ? pidfd_of(c) : -1;
    if (process < 0)
        return PASS;
    int copy = (int)syscall(SYS_pidfd_getfd, process, (int)value(c, 0), 0);
    close(process);
    if (copy < 0)
        return PASS;
    bool is_told = !getsockopt(copy, SOL_SOCKET, SO_DOMAIN, &family, &size);
    close(copy);
    return is_told && family != AF_UNIX ? CONTINUE : PASS;
}
