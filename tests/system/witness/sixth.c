// A call of five arguments may have anything as its sixth: what the libc's calls have left on the stack
// changes no answer.
#include "witness.h"

enum { DEPTH = 32768, WORDS = DEPTH / 8 };

static long with_sixth(long number, long a, long b, long c, long d, long sixth)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = 0, r9 __asm__("r9") = sixth;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

__attribute__((noinline)) static void take_stack(long *words)
{
    const volatile long *from = (const long *)((char *)__builtin_frame_address(0) - DEPTH);
    for (int i = 0; i < WORDS - 32; i++) words[i] = from[i];
}

__attribute__((noinline)) static void clear_stack(void)
{
    long room[WORDS];
    memset(room, 0, sizeof room);
    __asm__ volatile("" : : "r"(room) : "memory");
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    static long words[WORDS];
    char file[PATH_MAX], text[64];
    long tried = 0, wrong = 0;
    struct stat s;
    snprintf(file, sizeof file, "%s/file", argv[1]);
    close(CHECK(open(file, O_CREAT | O_WRONLY, 0600)));
    for (int kind = 0; kind < 5; kind++) {
        clear_stack();
        if (kind == 0) CHECK(stat(file, &s));
        if (kind == 1) close(CHECK(open(file, O_RDONLY)));
        if (kind == 2) CHECK(access(file, F_OK));
        if (kind == 3) readlink(file, text, sizeof text);
        if (kind == 4) CHECK(lstat("file", &s));
        take_stack(words);
        for (int i = 0; i < WORDS - 32; i++) {
            if (!words[i]) continue;
            tried++;
            wrong += with_sixth(SYS_access, (long)file, F_OK, 0, 0, words[i]) != 0;
            wrong += with_sixth(SYS_newfstatat, AT_FDCWD, (long)file, (long)&s, 0, words[i]) != 0;
        }
    }
    printf("words tried: %s, %ld wrong answers\n", tried > 100 ? "many" : "few", wrong);
}
