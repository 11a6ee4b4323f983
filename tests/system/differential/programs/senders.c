/* Names of AF_UNIX peers, with more and with less room than they take. */
#include "say.h"
#include <sys/socket.h>
#include <sys/un.h>

enum { ROOM = 128 };
static const struct sockaddr_un server = { AF_UNIX, "/mnt/d/server" }, client = { AF_UNIX, "/mnt/d/client" };
static char room[ROOM];

static void told(const char *what, long result, const socklen_t *at)
{
    socklen_t length = *at;
    int size = length < ROOM ? (int)length : ROOM, end = ROOM;
    while (end && room[end - 1] == 'Q')
        end--;
    printf("%s: %s %u, %d bytes: %.*s\n", what, result < 0 ? strerrorname_np(errno) : "done", length, end,
           size > 2 ? size - 2 : 0, room + 2);
    memset(room, 'Q', sizeof room);
}

static int pair(int type, int *connected)
{
    unlink(server.sun_path), unlink(client.sun_path);
    int s = socket(AF_UNIX, type, 0);
    *connected = socket(AF_UNIX, type, 0);
    if (bind(s, (void *)&server, sizeof server) || bind(*connected, (void *)&client, sizeof client) ||
        (type != SOCK_DGRAM && listen(s, 9)) || connect(*connected, (void *)&server, sizeof server))
        exit(91);
    return s;
}

static void accepted(socklen_t size)
{
    int c, s = pair(SOCK_STREAM, &c);
    socklen_t length = size;
    int a = accept(s, (void *)room, &length);
    told("accept", a, &length);
    send(c, "y", 1, 0);
    length = size;
    told("recvfrom, stream", recvfrom(a, (char[9]){ 0 }, 9, 0, (void *)room, &length), &length);
    close(a), close(c);
    c = socket(AF_UNIX, SOCK_STREAM, 0);
    connect(c, (void *)&server, sizeof server);
    length = size;
    a = accept4(s, (void *)room, &length, SOCK_CLOEXEC);
    told("accept4, no name", a, &length);
    close(a), close(c);
    c = socket(AF_UNIX, SOCK_STREAM, 0);
    connect(c, (void *)&server, sizeof server);
    length = size;
    a = accept(s, (void *)8, &length);
    told("accept, bad address", size ? a : -1, &length);
    int next = dup(s);
    printf("%d more\n", next - c);
    close(next), close(a), close(c), close(s);
}

static void received(socklen_t size)
{
    int c, s = pair(SOCK_DGRAM, &c);
    socklen_t length = size;
    char text[2][9];
    struct iovec parts[2] = { { text[0], 9 }, { text[1], 9 } };
    send(c, "x", 1, 0);
    told("recvfrom", recvfrom(s, text[0], 9, 0, (void *)room, &length), &length);
    struct msghdr m = { .msg_name = room, .msg_namelen = size, .msg_iov = parts, .msg_iovlen = 1 };
    send(c, "long message", 12, 0);
    told("recvmsg", recvmsg(s, &m, 0), &m.msg_namelen);
    printf("flags %#x, control %zu, text %.9s\n", m.msg_flags, m.msg_controllen, text[0]);
    char other[ROOM] = { 0 };
    struct mmsghdr two[2] = {
        { .msg_hdr = { .msg_name = room, .msg_namelen = size, .msg_iov = parts, .msg_iovlen = 1 } },
        { .msg_hdr = { .msg_name = other, .msg_namelen = ROOM, .msg_iov = parts + 1, .msg_iovlen = 1 } },
    };
    send(c, "one", 3, 0), send(c, "second", 6, 0);
    int count = recvmmsg(s, two, 2, 0, NULL);
    told("recvmmsg", count, &two[0].msg_hdr.msg_namelen);
    printf("%d: %u %.3s, %u %.6s %s\n", count, two[0].msg_len, text[0], two[1].msg_len, text[1], other + 2);
    int right = open("f", O_RDONLY);
    union { struct cmsghdr head; char room[CMSG_SPACE(sizeof right)]; } u;
    struct msghdr given = { .msg_iov = parts, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof u };
    u.head = (struct cmsghdr){ CMSG_LEN(sizeof right), SOL_SOCKET, SCM_RIGHTS };
    memcpy(CMSG_DATA(&u.head), &right, sizeof right);
    sendmsg(c, &given, 0);
    memset(&u, 0, sizeof u);
    given.msg_name = room, given.msg_namelen = size;
    told("with a descriptor", recvmsg(s, &given, MSG_CMSG_CLOEXEC), &given.msg_namelen);
    memcpy(&right, CMSG_DATA(&u.head), sizeof right);
    printf("control %zu, it reads %ld\n", given.msg_controllen, (long)pread(right, text[0], 9, 0));
    close(right);
    length = size;
    told("nothing there", recvfrom(s, text[0], 9, MSG_DONTWAIT, (void *)room, &length), &length);
    send(c, "x", 1, 0);
    length = (socklen_t)-1;
    say("bad length", recvfrom(s, text[0], 9, 0, (void *)room, &length));
    length = size;
    send(c, "x", 1, 0);
    say("recvfrom, bad address", recvfrom(s, text[0], 9, 0, (void *)8, &length));
    close(c), close(s);
}

int main(void)
{
    memset(room, 'Q', sizeof room);
    mkdir("d", 0755);
    touch("f", "right");
    socklen_t sizes[] = { ROOM, 110, 40, 17, 16, 15, 12, 3, 2, 1, 0 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        printf("room for %u\n", sizes[i]);
        accepted(sizes[i]);
        received(sizes[i]);
    }
    return 0;
}
