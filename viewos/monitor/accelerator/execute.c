/* execve of what the kernel finds by itself as the view has it: the program, the interpreters of
 * scripts, the loader of an ELF file. */
#include "accelerator.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 256 /* BINPRM_BUF_SIZE */, MOST_SCRIPTS = 4, MOST_HEADERS = 32 };

/* What stands at `path` in the file becomes the next thing to look at. */
static bool go_to(struct call *c, const char *path, size_t length)
{
    if (!length || length >= LONGEST || *path != '/')
        return false;
    memmove(c->path, path, length);
    c->path[length] = 0;
    struct walk how = {.follow = true};
    struct place *p = c->places;
    return resolve(c, c->path, length, how, p) && p->plain && !p->lost && !p->native;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The interpreter that the first line names; false: none, or not certain. */
static bool find_interpreter(const char *head, size_t size, const char **name, size_t *length)
{
    const char *end = memchr(head, '\n', size);
    if (!end || memchr(head, 0, (size_t)(end - head)))
        return false;
    const char *at = head + 2;
    while (at < end && is_blank(*at))
        at++;
    *name = at;
    while (at < end && !is_blank(*at))
        at++;
    *length = (size_t)(at - *name);
    return *length;
}

enum loader { NO_LOADER, LOADER, UNKNOWN };

static enum loader find_loader(int fd, const char *head, size_t size, char *name, size_t *length)
{
    const Elf64_Ehdr *elf = (const void *)head;
    Elf64_Phdr headers[MOST_HEADERS];
    if (size < sizeof *elf || elf->e_ident[EI_CLASS] != ELFCLASS64 ||
        elf->e_machine != EM_X86_64 || elf->e_phentsize != sizeof *headers ||
        elf->e_phnum > MOST_HEADERS)
        return UNKNOWN;
    size_t wanted = elf->e_phnum * sizeof *headers;
    if (pread(fd, headers, wanted, (off_t)elf->e_phoff) != (ssize_t)wanted)
        return UNKNOWN;
    for (int i = 0; i < elf->e_phnum; i++) {
        if (headers[i].p_type != PT_INTERP)
            continue;
        size_t room = headers[i].p_filesz;
        if (room < 2 || room >= LONGEST ||
            pread(fd, name, room, (off_t)headers[i].p_offset) != (ssize_t)room || name[room - 1])
            return UNKNOWN;
        *length = strlen(name);
        return LOADER;
    }
    return NO_LOADER;
}

enum finding { NOT_SURE, AGAIN, FOUND };

/* Look at the file at the place; AGAIN: the place is that of its interpreter now. */
static enum finding look_through(struct call *c, int fd)
{
    _Alignas(Elf64_Ehdr) char head[HEAD];
    const char *name;
    size_t length;
    ssize_t size = read(fd, head, sizeof head);
    if (size < 4)
        return NOT_SURE;
    if (head[0] == '#' && head[1] == '!')
        return find_interpreter(head, (size_t)size, &name, &length) && go_to(c, name, length)
                   ? AGAIN
                   : NOT_SURE;
    if (memcmp(head, ELFMAG, SELFMAG))
        return NOT_SURE;
    switch (find_loader(fd, head, (size_t)size, c->text, &length)) {
    case NO_LOADER:
        return FOUND;
    case LOADER:
        return go_to(c, c->text, length) ? FOUND : NOT_SURE;
    default:
        return NOT_SURE;
    }
}

/* `places[0]` is the program, and plain. `program`: what is executed; st_ino 0: nothing. */
static bool is_found_by_the_kernel(struct call *c, struct stat *program)
{
    enum finding found = AGAIN;
    for (int scripts = 0; found == AGAIN && scripts <= MOST_SCRIPTS; scripts++) {
        const char *real = c->places->real;
        program->st_ino = 0;
        if (fstatat(AT_FDCWD, real, program, AT_SYMLINK_NOFOLLOW))
            return errno == ENOENT && !scripts; /* PATH is being searched */
        if (!S_ISREG(program->st_mode))
            return false;
        if (faccessat(AT_FDCWD, real, X_OK, 0)) /* nor does the kernel read it */
            return errno == EACCES;
        int fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            return false;
        found = look_through(c, fd);
        close(fd);
    }
    return found == FOUND;
}

bool keeps_at_exec(struct call *c, const struct stat *program)
{
    return c->accelerator->facts[c->state_index][KEEPS_AT_EXEC] == 1 && task_has_our_ids(c) &&
           task_leads(c) && !(program->st_mode & (S_ISUID | S_ISGID)) &&
           c->level->owners && !owners_may(c->level->owners, program->st_ino);
}

/* A program in a claim, or by another path than the caller's, where it is there. PATH is searched so. */
static enum outcome elsewhere(struct call *c)
{
    struct stat st;
    if (c->places->native || !is_like_us(c))
        return PASS;
    if (!fstatat(AT_FDCWD, c->places->real, &st, AT_SYMLINK_NOFOLLOW))
        return hand_over(c, &st);
    if (errno != ENOENT)
        return PASS;
    c->result = -ENOENT;
    return ANSWER;
}

enum outcome do_execve(struct call *c, bool is_plain)
{
    struct stat program;
    if (!is_plain)
        return elsewhere(c);
    if (c->state.kind & STATE_BEHIND_LOADER || !is_found_by_the_kernel(c, &program))
        return PASS;
    if (c->rule->asks && program.st_ino) {
        if (!keeps_at_exec(c, &program))
            return PASS;
        auxiliary_expect(c);
    }
    bool is_common = program.st_ino && !(program.st_mode & (S_ISUID | S_ISGID));
    bool leads = task_leads(c);
    if (!leads && c->task->ids == IDS_UNKNOWN)
        return PASS;
    if (!leads)
        task_executes(c);
    else if (is_common && c->task->ids != IDS_OTHERS)
        task_begins(c);
    else
        task_renew(c->accelerator, c->task->tid);
    return CONTINUE;
}
