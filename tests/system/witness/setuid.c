// Root that becomes somebody else, or only gives up a capability, is refused what it should be.
#include "witness.h"
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>

static void try(const char *what, long result)
{
    printf("  %s: %s\n", what, name_of_error(result < 0 ? errno : 0));
}

static void owner(const char *path)
{
    struct stat s;
    if (lstat(path, &s) < 0) printf("  %s: %s\n", path, name_of_error(errno));
    else printf("  %s: %d:%d %o\n", path, s.st_uid, s.st_gid, s.st_mode);
}

static void calls(const char *who)
{
    printf("%s: dumpable %d\n", who, prctl(PR_GET_DUMPABLE));
    struct stat s;
    try("read private", open("private/file", O_RDONLY));
    try("stat private", stat("private/file", &s));
    try("read another's", open("others/file", O_RDONLY));
    try("read root's", open("of-root", O_RDONLY));
    try("write root's", open("of-root", O_WRONLY));
    try("chmod root's", chmod("of-root", 0644));
    try("chown", chown("of-root", 65534, -1));
    try("chown back", chown("of-root", 0, 0));
    try("create", open("open/new", O_WRONLY | O_CREAT | O_EXCL, 0640));
    owner("open/new");
    try("unlink of new", unlink("open/new"));
    try("mkdir in root's", mkdir("private/x", 0755));
    rmdir("private/x");
    try("unlink sticky", unlink("sticky/of-root"));
    try("rename sticky", rename("sticky/of-root", "sticky/other"));
    try("access", access("of-root", R_OK));
    try("faccessat2 AT_EACCESS", syscall(SYS_faccessat2, AT_FDCWD, "of-root", R_OK, AT_EACCESS));
    try("chdir private", chdir("private"));
    CHECK(fchdir(3));
    try("utimensat", utimensat(AT_FDCWD, "of-root", NULL, 0));
    try("truncate", truncate("of-root", 1));
    try("link", link("of-root", "open/link"));
    unlink("open/link");
    try("group's file", open("of-group", O_RDONLY));
    try("mknod", mknod("open/dev", S_IFCHR | 0600, 0x103));
    unlink("open/dev");
    try("execute", access("private/file", X_OK));
}

static void restore(void)
{
    put("sticky/of-root", "x");
    CHECK(chmod("sticky/of-root", 0666));
    put("of-root", "xyz");
    CHECK(chown("of-root", 0, 0));
    CHECK(chmod("of-root", 0600));
}

static void run(const char *who, void (*change)(void))
{
    restore();
    pid_t pid = CHECK(fork());
    if (pid == 0) {
        change();
        calls(who);
        _exit(0);
    }
    EXPECT(ended(pid) == 0);
}

static void to_nobody(void)
{
    CHECK(setgroups(0, NULL));
    CHECK(setresgid(65534, 65534, 65534));
    CHECK(setresuid(65534, 65534, 65534));
}

static void to_nobody_with_group(void)
{
    gid_t group = 12345;
    CHECK(setgroups(1, &group));
    CHECK(setresgid(65534, 65534, 65534));
    CHECK(setresuid(65534, 65534, 65534));
}

static void effective(void) { CHECK(seteuid(65534)); }
static void for_files(void) { setfsuid(65534); }
static void stay(void) {}

static void to_nobody_and_execute(void)
{
    to_nobody();
    execl("/proc/self/exe", "setuid", "-", NULL);
}

static void without_override(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    CHECK(syscall(SYS_capget, &header, data));
    data[0].effective &= ~(1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH | 1u << CAP_FOWNER);
    CHECK(syscall(SYS_capset, &header, data));
}

static void *one_thread(void *unused)
{
    (void)unused;
    CHECK(syscall(SYS_setresuid, 65534, 65534, 65534));
    calls("one thread is nobody");
    return NULL;
}

static void make_tree(void)
{
    CHECK(chmod(".", 0755));
    CHECK(mkdir("private", 0700));
    put("private/file", "x");
    CHECK(mkdir("open", 0777));
    CHECK(chmod("open", 0777));
    CHECK(mkdir("sticky", 01777));
    CHECK(chmod("sticky", 01777));
    CHECK(mkdir("others", 0700));
    put("others/file", "x");
    CHECK(chown("others", 12345, 12345));
    put("of-group", "x");
    CHECK(chown("of-group", 0, 12345));
    CHECK(chmod("of-group", 0640));
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "-") == 0) {
        EXPECT(CHECK(open(".", O_RDONLY | O_DIRECTORY)) == 3);
        calls("nobody, after execve");
        return 0;
    }
    enter(argc, argv);
    CHECK(chown(".", 0, 0));
    make_tree();
    EXPECT(CHECK(open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == 3);
    run("root", stay);
    run("nobody", to_nobody);
    run("nobody with a group", to_nobody_with_group);
    run("root with another effective id", effective);
    run("root with another file system id", for_files);
    run("root without capabilities", without_override);
    run("nobody, after execve", to_nobody_and_execute);
    restore();
    pthread_t thread;
    THREAD(pthread_create(&thread, NULL, one_thread, NULL));
    THREAD(pthread_join(thread, NULL));
    calls("the other thread is still root");
}
