// The peer of a socket sees the end when it is closed, by name and by port; names and peers are ours.
#include "witness.h"
#include <arpa/inet.h>
#include <netinet/in.h>

static void round_trip(int listener, const struct sockaddr *to, socklen_t length, int family)
{
    int client = CHECK(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(connect(client, to, length));
    int server = CHECK(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    CHECK(write(client, "x", 1));
    close(client);
    char c[2];
    EXPECT(read(server, c, 2) == 1);
    struct pollfd end = {.fd = server, .events = POLLIN};
    EXPECT(poll(&end, 1, 5000) == 1 && read(server, c, 2) == 0);
    close(server);
}

static void print_name(const char *what, int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_un a;
    memset(&a, 'z', sizeof a);
    socklen_t length = sizeof a;
    CHECK(get(fd, (struct sockaddr *)&a, &length));
    printf("%s: %u bytes, %s\n", what, length, length > 2 ? a.sun_path : "unnamed");
}

static int name(int fd, struct sockaddr *a, socklen_t *n) { return getsockname(fd, a, n); }
static int peer(int fd, struct sockaddr *a, socklen_t *n) { return getpeername(fd, a, n); }

int main(int argc, char **argv)
{
    enter(argc, argv);
    long rounds = argument(argc, argv, 2, 200);
    struct sockaddr_un a = address("socket");
    int local = CHECK(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK(bind(local, (struct sockaddr *)&a, sizeof a));
    EXPECT(bind(local, (struct sockaddr *)&a, sizeof a) < 0 && errno == EADDRINUSE);
    struct sockaddr_un other = address("other");
    EXPECT(bind(local, (struct sockaddr *)&other, sizeof other) < 0 && errno == EINVAL);
    EXPECT(access("other", F_OK) < 0 && errno == ENOENT);
    int again = CHECK(socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT(bind(again, (struct sockaddr *)&a, sizeof a) < 0 && errno == EADDRINUSE);
    EXPECT(connect(again, (struct sockaddr *)&a, sizeof a) < 0 && errno == ECONNREFUSED);
    CHECK(listen(local, 8));
    for (long i = 0; i < rounds; i++)
        round_trip(local, (struct sockaddr *)&a, sizeof a, AF_UNIX);
    CHECK(connect(again, (struct sockaddr *)&a, sizeof a));
    int server = CHECK(accept(local, NULL, NULL));
    print_name("server's name", server, name);
    print_name("server's peer", server, peer);
    print_name("client's peer", again, peer);
    struct ucred who;
    socklen_t length = sizeof who;
    CHECK(getsockopt(again, SOL_SOCKET, SO_PEERCRED, &who, &length));
    EXPECT(who.pid == getpid() && who.uid == geteuid() && who.gid == getegid());
    CHECK(getsockopt(server, SOL_SOCKET, SO_PEERCRED, &who, &length));
    EXPECT(who.pid == getpid() && who.uid == geteuid());
    close(local);
    close(server);
    int late = CHECK(socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT(connect(late, (struct sockaddr *)&a, sizeof a) < 0 && errno == ECONNREFUSED);

    char absolute[PATH_MAX];
    EXPECT(getcwd(absolute, sizeof absolute - 10));
    size_t cwd = strlen(absolute);
    strcat(absolute, "/datagram");
    a = address(absolute);
    int box = CHECK(socket(AF_UNIX, SOCK_DGRAM, 0)), out = CHECK(socket(AF_UNIX, SOCK_DGRAM, 0));
    CHECK(bind(box, (struct sockaddr *)&a, sizeof a));
    EXPECT(sendto(out, "letter", 6, 0, (struct sockaddr *)&a, sizeof a) == 6);
    char text[16];
    EXPECT(recv(box, text, sizeof text, 0) == 6);
    socklen_t size = sizeof a;
    memset(&a, 0, sizeof a);
    CHECK(getsockname(box, (struct sockaddr *)&a, &size));
    EXPECT(strncmp(a.sun_path, absolute, cwd) == 0);
    printf("datagram socket: DIR%s\n", a.sun_path + cwd);

    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int tcp = CHECK(socket(AF_INET, SOCK_STREAM, 0));
    CHECK(bind(tcp, (struct sockaddr *)&in, sizeof in));
    CHECK(listen(tcp, 8));
    length = sizeof in;
    CHECK(getsockname(tcp, (struct sockaddr *)&in, &length));
    for (long i = 0; i < rounds; i++)
        round_trip(tcp, (struct sockaddr *)&in, sizeof in, AF_INET);
    printf("%ld rounds each\n", rounds);
}
