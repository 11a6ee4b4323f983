// What a security module forbids a program by its label, which it gives itself, stays forbidden:
// label DIR LABEL
#include "witness.h"
#include <arpa/inet.h>

static char name_[4][PATH_MAX];

static const char *in(const char *directory, const char *name)
{
    static int next;
    char *to = name_[next++ % 4];
    snprintf(to, PATH_MAX, "%s/%s", directory, name);
    return to;
}

static void try(const char *what, long result)
{
    printf("%s: %s\n", what, name_of_error(result < 0 ? errno : 0));
}

static void change_label(const char *label)
{
    int file = CHECK(open("/proc/self/attr/current", O_WRONLY));
    CHECK(dprintf(file, "changeprofile %s", label));
    close(file);
}

int main(int argc, char **argv)
{
    enter(argc, argv);
    const char *d = argv[1];
    struct stat s;
    char text[PATH_MAX];
    CHECK(mkdir(in(d, "ok"), 0755));
    CHECK(mkdir(in(d, "no"), 0755));
    put(in(d, "ok/file"), "12345");
    put(in(d, "no/file"), "12345");
    CHECK(symlink("file", in(d, "no/link")));
    try("before: read", open(in(d, "no/file"), O_RDONLY));
    int tcp = CHECK(socket(AF_INET, SOCK_STREAM, 0));
    struct sockaddr_in there = {AF_INET, htons(9), {inet_addr("10.1.2.3")}, {0}};
    change_label(argv[2]);
    try("read allowed", open(in(d, "ok/file"), O_RDONLY));
    try("list allowed", open(in(d, "ok"), O_RDONLY | O_DIRECTORY));
    try("read denied", open(in(d, "no/file"), O_RDONLY));
    try("list denied", open(in(d, "no"), O_RDONLY | O_DIRECTORY));
    try("write in the readable one", open(in(d, "ok/file"), O_WRONLY));
    try("truncate while opening", open(in(d, "ok/file"), O_RDWR | O_TRUNC));
    try("truncate", truncate(in(d, "ok/file"), 1));
    try("create", open(in(d, "ok/new"), O_WRONLY | O_CREAT, 0644));
    try("mkdir", mkdir(in(d, "ok/newdir"), 0755));
    try("symlink", symlink("file", in(d, "ok/link")));
    try("link", link(in(d, "ok/file"), in(d, "ok/other")));
    try("chmod", chmod(in(d, "ok/file"), 0600));
    try("unlink", unlink(in(d, "ok/file")));
    try("rename", rename(in(d, "ok/file"), in(d, "no/moved")));
    try("stat", stat(in(d, "no/file"), &s));
    try("access", access(in(d, "no/file"), R_OK));
    try("readlink", readlink(in(d, "no/link"), text, sizeof text));
    try("make where it may", open(in(d, "may-new"), O_RDWR | O_CREAT, 0644));
    try("mkdir where it may", mkdir(in(d, "may-dir"), 0755));
    try("rmdir where it may", rmdir(in(d, "may-dir")));
    try("chdir", chdir(in(d, "no")));
    try("read denied from there", open("file", O_RDONLY));
    try("connect", connect(tcp, (struct sockaddr *)&there, sizeof there));
    try("execute", execl("/bin/true", "true", NULL));
    return 0;
}
