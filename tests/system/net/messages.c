/* sendmsg(2), recvmsg(2) and their kin with what the kernel refuses, in the first message and behind others.
   messages udp | tcp | unix: one socket and another that it reaches. The last takes names in ".". */
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define N 4
static struct mmsghdr m[N];
static struct iovec v[N], many[1025];
static char data[N][8], control[64];
static char *end;
static struct sockaddr_storage to, name[N];
static socklen_t size;
static void *const bad = (void *)16;
static int a, b;

static void sending(int named)
{
    memset(m, 0, sizeof m);
    for (int i = 0; i < N; i++) {
        sprintf(data[i], "msg%d", i);
        v[i] = (struct iovec){data[i], 4};
        name[i] = to;
        m[i].msg_hdr.msg_iov = &v[i];
        m[i].msg_hdr.msg_iovlen = 1;
        m[i].msg_len = 77;
        if (named) {
            m[i].msg_hdr.msg_name = &name[i];
            m[i].msg_hdr.msg_namelen = size;
        }
    }
}

static void receiving(void)
{
    sending(1);
    memset(data, 0, sizeof data);
    memset(name, 0, sizeof name);
}

static const char *why(long result) { return result < 0 ? strerror(errno) : ""; }

static void left(void)
{
    char buffer[4096];
    for (;;) {
        ssize_t got = recv(b, buffer, sizeof buffer, MSG_DONTWAIT);
        if (got >= 0)
            printf(" left %zd %.4s", got, got ? buffer : "");
        else if (errno == EAGAIN)
            break;
        else
            printf(" (%s)", strerror(errno));
        if (got == 0)
            break;
    }
    puts("");
}

static void break_one(const char *how, int i)
{
    struct msghdr *h = &m[i].msg_hdr;
    if (!strcmp(how, "vectors")) h->msg_iov = bad;
    if (!strcmp(how, "name")) h->msg_name = bad, h->msg_namelen = size;
    if (!strcmp(how, "length of a name")) h->msg_namelen = -1;
    if (!strcmp(how, "1,025 vectors")) h->msg_iov = many, h->msg_iovlen = 1025;
    if (!strcmp(how, "a negative vector")) v[i].iov_len = -1;
    if (!strcmp(how, "vectors of 2^63 bytes")) {
        many[0].iov_len = many[1].iov_len = 1l << 62;
        h->msg_iov = many, h->msg_iovlen = 2;
    }
    if (!strcmp(how, "data")) v[i].iov_base = bad;
    if (!strcmp(how, "control")) h->msg_control = bad, h->msg_controllen = 24;
    if (!strcmp(how, "a short control")) h->msg_control = control, h->msg_controllen = 4;
}

static const char *const WRONG[] = {
    "nothing", "vectors", "name", "length of a name", "1,025 vectors", "a negative vector",
    "vectors of 2^63 bytes", "data", "control", "a short control",
};
enum { KINDS = sizeof WRONG / sizeof *WRONG };

static void reset(void)
{
    for (int i = 0; i < 1025; i++)
        many[i] = (struct iovec){data[0], 1};
}

static struct mmsghdr *at_the_end(int count)
{
    char *where = end - count * sizeof *m;
    memcpy(where, m, count * sizeof *m);
    return (void *)where;
}

int main(int argc __attribute__((unused)), char **argv)
{
    int is_tcp = !strcmp(argv[1], "tcp"), is_unix = !strcmp(argv[1], "unix"), named = !is_tcp;
    setvbuf(stdout, NULL, _IOLBF, 0);
    end = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;
    mprotect(end, 4096, PROT_NONE);
    int family = is_unix ? AF_UNIX : AF_INET, type = is_tcp ? SOCK_STREAM : SOCK_DGRAM;
    a = socket(family, type, 0), b = socket(family, type, 0);
    if (is_unix) {
        struct sockaddr_un there = {AF_UNIX, "there"}, here = {AF_UNIX, "here"};
        memcpy(&to, &there, size = sizeof there);
        if (bind(b, (void *)&there, sizeof there) || bind(a, (void *)&here, sizeof here))
            perror("bind");
    } else {
        struct sockaddr_in there = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}, {0}};
        memcpy(&to, &there, size = sizeof there);
        if (bind(b, (void *)&to, size))
            perror("bind");
        getsockname(b, (void *)&to, &size);
    }
    if (is_tcp) {
        listen(b, 1);
        if (connect(a, (void *)&to, size))
            perror("connect");
        b = accept(b, NULL, NULL);
    }
    for (int kind = 0; kind < KINDS; kind++)
        for (int at = 0; at < N; at += 2) {
            reset();
            sending(named);
            break_one(WRONG[kind], at);
            int result = sendmmsg(a, m, N, 0);
            printf("sendmmsg, %s of %d: %d %s", WRONG[kind], at, result, why(result));
            for (int i = 0; i < N; i++)
                printf(" %u", m[i].msg_len);
            usleep(is_tcp ? 10000 : 0);
            left();
            if (at == 0) {
                result = sendmsg(a, &m[0].msg_hdr, 0);
                printf("sendmsg: %d %s", result, why(result));
                usleep(is_tcp ? 10000 : 0);
                left();
            }
        }
    sending(named);
    struct mmsghdr *cut = at_the_end(2);
    int result = sendmmsg(a, cut, N, 0);
    printf("sendmmsg, cut: %d %s %u %u", result, why(result), cut[0].msg_len, cut[1].msg_len);
    usleep(is_tcp ? 10000 : 0);
    left();
    for (int kind = 0; kind < KINDS && !is_tcp; kind++)
        for (int at = 0; at < N; at += 2) {
            if (kind == 2 || kind > 6)
                continue;
            reset();
            for (int i = 0; i < N; i++)
                sendto(a, "sent", 4, 0, (void *)&to, size);
            receiving();
            break_one(WRONG[kind], at);
            result = recvmmsg(b, m, N, MSG_DONTWAIT, NULL);
            printf("recvmmsg, %s of %d: %d %s", WRONG[kind], at, result, why(result));
            for (int i = 0; i < N; i++) {
                struct msghdr *h = &m[i].msg_hdr;
                printf(" %u/%d/%x%.4s", m[i].msg_len, (int)h->msg_namelen, h->msg_flags, data[i]);
            }
            left();
            if (at == 0) {
                sendto(a, "sent", 4, 0, (void *)&to, size);
                receiving();
                break_one(WRONG[kind], 0);
                result = recvmsg(b, &m[0].msg_hdr, MSG_DONTWAIT);
                printf("recvmsg: %d %s", result, why(result));
                left();
            }
        }
    for (int i = 0; i < N && !is_tcp; i++)
        sendto(a, "sent", 4, 0, (void *)&to, size);
    receiving();
    cut = at_the_end(2);
    result = recvmmsg(b, cut, N, MSG_DONTWAIT, NULL);
    printf("recvmmsg, cut: %d %s %u %u", result, why(result), cut[0].msg_len, cut[1].msg_len);
    left();
    sending(1);
#define SAY(what) (result = (int)(what), printf("%s: %d %s\n", #what, result, why(result)))
    for (int fd = 999; fd; fd = fd == 999 ? 1 : 0) {
        SAY(sendto(fd, bad, 5, 0, bad, 16));
        SAY(sendto(fd, "x", 1, 0, bad, 16));
        SAY(sendmsg(fd, bad, 0));
        SAY(sendmmsg(fd, bad, 2, 0));
        SAY(sendmmsg(fd, m, 2, 0));
        m[0].msg_hdr.msg_namelen = -1;
        SAY(sendmsg(fd, &m[0].msg_hdr, 0));
        SAY(recvmsg(fd, bad, 0));
        SAY(recvmmsg(fd, bad, 2, 0, NULL));
        SAY(connect(fd, bad, 16));
        SAY(connect(fd, (void *)&to, size));
        SAY(connect(fd, bad, -1));
        SAY(connect(fd, bad, 1000));
        SAY(bind(fd, bad, 16));
        SAY(bind(fd, (void *)&to, size));
    }
    SAY(sendto(a, data[0], -1l, 0, (void *)&to, size));
    return 0;
}
