// What a program forbids itself with Landlock stays forbidden.
#include "witness.h"
#include <linux/landlock.h>

static void allow(int rules, const char *path, __u64 access)
{
    struct landlock_path_beneath_attr beneath = {
        .allowed_access = access, .parent_fd = CHECK(open(path, O_PATH | O_DIRECTORY))};
    CHECK(syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0));
    close(beneath.parent_fd);
}

static void try(const char *what, long result)
{
    printf("%s: %s\n", what, name_of_error(result < 0 ? errno : 0));
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    CHECK(mkdir("ok", 0755));
    CHECK(mkdir("no", 0755));
    put("ok/file", "12345");
    put("no/file", "12345");
    put("ok/script", "#!/none/of/these\n");
    CHECK(chmod("ok/script", 0755));
    char *script = realpath("ok/script", NULL);
    __u64 reading = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    struct landlock_ruleset_attr attributes = {
        .handled_access_fs = reading | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_EXECUTE |
                             LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
                             LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_SYM};
    int rules = CHECK(syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0));
    allow(rules, "ok", reading);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    CHECK(syscall(SYS_landlock_restrict_self, rules, 0));
    close(rules);
    pid_t pid = CHECK(fork());  // inherited
    if (pid > 0) return ended(pid);
    struct stat s;
    try("read allowed", open("ok/file", O_RDONLY));
    try("list allowed", open("ok", O_RDONLY | O_DIRECTORY));
    try("read denied", open("no/file", O_RDONLY));
    try("list denied", open("no", O_RDONLY | O_DIRECTORY));
    try("write in the readable one", open("ok/file", O_WRONLY));
    try("truncate while opening", open("ok/file", O_RDWR | O_TRUNC));
    try("create", open("ok/new", O_WRONLY | O_CREAT, 0644));
    try("mkdir", mkdir("ok/newdir", 0755));
    try("symlink", symlink("file", "ok/link"));
    try("unlink", unlink("ok/file"));
    try("rename", rename("ok/file", "no/moved"));
    try("stat denied", stat("no/file", &s));
    try("chdir denied", chdir("no"));
    try("read denied from there", open("file", O_RDONLY));
    try("execute", execl("/bin/true", "true", NULL));
    try("execute without an interpreter", execl(script, "script", NULL));
    try("etc", open("/etc/passwd", O_RDONLY));
    try("maps", open("/proc/self/maps", O_RDONLY));
    try("mounts", open("/proc/self/mountinfo", O_RDONLY));
    try("limits", open("/proc/thread-self/limits", O_RDONLY));
}
