/* Feeds the accelerator's resolver and memory reader with anything, on a tree made by the caller.
 *
 * libFuzzer calls LLVMFuzzerTestOneInput; without it (-DOWN_DRIVER) there is a driver of its own:
 * PROGRAM TREE COUNT SEED. The tree comes from the environment's FUZZ_TREE otherwise. */
#include "accelerator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct accelerator accelerator;
static struct call call;
static char top[256];

struct builder {
    struct entry entries[8];
    char texts[4096];
    size_t count, used;
};

static void add(struct builder *b, const char *prefix, const char *backing, uint32_t flags)
{
    struct entry *e = b->entries + b->count++;
    *e = (struct entry){.flags = flags};
    e->prefix = (uint32_t)b->used;
    e->prefix_length = (uint32_t)strlen(prefix);
    b->used += (size_t)sprintf(b->texts + b->used, "%s", prefix) + 1;
    e->backing = (uint32_t)b->used;
    e->backing_length = (uint32_t)strlen(backing);
    b->used += (size_t)sprintf(b->texts + b->used, "%s", backing) + 1;
}

static uint32_t hash_of(const char *text)
{
    uint32_t hash = 2166136261u;
    while (*text)
        hash = (hash ^ (unsigned char)*text++) * 16777619u;
    return hash;
}

enum { SLOTS = 32 };

static void put(struct builder *b, uint32_t *slots, size_t index, const char *key)
{
    uint32_t at = hash_of(key) % SLOTS;
    for (; slots[at]; at = (at + 1) % SLOTS) {
        struct entry *e = b->entries + slots[at] - 1;
        if (!strcmp(b->texts + e->backing, key)) {
            e->next = (uint32_t)index + 1;
            return;
        }
    }
    slots[at] = (uint32_t)index + 1;
}

static const struct table *build(struct builder *b)
{
    size_t entries = b->count * sizeof(struct entry), hashes = 2 * SLOTS * sizeof(uint32_t);
    struct table *t = calloc(1, sizeof *t + entries + hashes + b->used);
    uint32_t slots[2][SLOTS] = {{0}};
    for (size_t i = 0; i < b->count; i++) {
        uint32_t at = hash_of(b->texts + b->entries[i].prefix) % SLOTS;
        while (slots[0][at])
            at = (at + 1) % SLOTS;
        slots[0][at] = (uint32_t)i + 1;
        if (b->entries[i].backing_length)
            put(b, slots[1], i, b->texts + b->entries[i].backing);
    }
    t->count = (uint32_t)b->count;
    t->slots = SLOTS;
    memcpy(t->entries, b->entries, entries);
    memcpy((char *)t->entries + entries, slots, hashes);
    memcpy((char *)t->entries + entries + hashes, b->texts, b->used);
    return t;
}

static void set_up(const char *tree)
{
    static struct builder claims, mounts;
    char name[512];
    snprintf(top, sizeof top, "%s", tree);
    add(&claims, "/mnt", top, 0);
    snprintf(name, sizeof name, "%s/a", top);
    add(&claims, "/mnt/over", name, CLAIM_READ_ONLY);
    add(&claims, "/again", top, 0);
    add(&claims, "/module", "/usr", CLAIM_MODULE);
    add(&mounts, "/", "", 0);
    add(&mounts, "/proc", "", MOUNT_NATIVE | MOUNT_PROC);
    add(&mounts, "/dev", "", MOUNT_NATIVE);
    call.accelerator = &accelerator;
    call.claims = build(&claims);
    call.mounts = build(&mounts);
}

static void check(const struct place *p)
{
    if (strlen(p->virtual_) != p->virtual_length || strlen(p->kernel) != p->kernel_length ||
        strlen(p->real) != p->real_length || *p->virtual_ != '/' || *p->real != '/')
        abort();
    if (strstr(p->virtual_, "//") || strstr(p->virtual_, "/../"))
        abort();
}

static void one_path(const uint8_t *data, size_t size, uint8_t how)
{
    struct place *p = call.places;
    size_t length = size < LONGEST - 1 ? size : LONGEST - 1;
    memcpy(call.path, data, length);
    call.path[length] = 0;
    length = strlen(call.path);
    snprintf(p->kernel, sizeof p->kernel, "%s%s", top, how & 4 ? "/a" : "");
    p->kernel_length = strlen(p->kernel);
    bool ambiguous;
    if (!reverse(call.claims, p->kernel, p->kernel_length, (how >> 3) % 6 - 2, p->virtual_,
                 &p->virtual_length, &call.scratch, how & 64 ? &ambiguous : NULL))
        return;
    struct walk walk = {.follow = how & 1, .keep_last = how & 2};
    if (resolve(&call, call.path, length, walk, p) && !p->lost)
        check(p);
}

static void one_string(const uint8_t *data, size_t size)
{
    /* A string of this process that ends, or does not, at the end of a mapping. */
    static char *pages;
    if (!pages) {
        pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(pages + 2 * 4096, 4096);
    }
    size_t length = size < 8191 ? size : 8191;
    char *at = pages + 8192 - length;
    memcpy(at, data, length);
    long found = read_string(getpid(), (uint64_t)(uintptr_t)at, call.path);
    size_t real = strnlen(at, length);
    if (real < length && real < LONGEST ? found != (long)real : found >= 0)
        abort();
    read_string(getpid(), ~(uint64_t)0 - length, call.path);
    read_string(getpid(), length * 0x100000000001ull, call.path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!call.claims)
        set_up(getenv("FUZZ_TREE"));
    if (size < 1)
        return 0;
    if (*data == 255)
        one_string(data + 1, size - 1);
    else
        one_path(data + 1, size - 1, *data);
    return 0;
}

#ifdef OWN_DRIVER
static const char *const words[] = {
    "a", "b", "a b", "..", ".", "", "link", "loop", "up", "mnt", "over", "again", "module", "proc",
    "self", "dev", "null", "missing", "file", "abs", "lib", "usr", "etc", "/",
};

int main(int argc, char **argv)
{
    static uint8_t data[20000];
    if (argc != 4)
        return 2;
    set_up(argv[1]);
    srandom((unsigned)atoi(argv[3]));
    for (long n = atol(argv[2]); n > 0; n--) {
        size_t size = 1;
        *data = (uint8_t)random();
        long parts = random() % 40 ? random() % 12 : random() % 3000;
        if (random() & 1)
            data[size++] = '/';
        while (parts-- > 0 && size < sizeof data - 300) {
            const char *word = words[(size_t)random() % (sizeof words / sizeof *words)];
            size += (size_t)sprintf((char *)data + size, "%s%s", word, random() % 9 ? "/" : "");
            if (!(random() % 50))
                data[size++] = (uint8_t)random();
            if (!(random() % 200))
                for (int i = random() % 280; i > 0; i--)
                    data[size++] = 'x';
        }
        LLVMFuzzerTestOneInput(data, size);
    }
    return 0;
}
#endif
