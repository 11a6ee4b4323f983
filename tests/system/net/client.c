/* Connects in every way that a program can, and prints what it sees.
   client WHAT HOST PORT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef MSG_FASTOPEN
#define MSG_FASTOPEN 0x20000000
#endif

static struct sockaddr_storage to;
static socklen_t size;

static void say(const char *what, long result) {
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done");
}

static void names(int fd) {
    struct sockaddr_storage peer;
    char text[64];
    memset(&peer, 0x55, sizeof peer);
    socklen_t length = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &length) < 0) {
        say("getpeername", -1);
        return;
    }
    void *host = peer.ss_family == AF_INET ? (void *)&((struct sockaddr_in *)&peer)->sin_addr
                                           : (void *)&((struct sockaddr_in6 *)&peer)->sin6_addr;
    inet_ntop(peer.ss_family, host, text, sizeof text);
    printf("peer %d %s, as given: %d, length %d\n", peer.ss_family, text,
           memcmp(&peer, &to, 8) == 0, (int)length);
    length = 4;
    printf("short: %d", getpeername(fd, (struct sockaddr *)&peer, &length));
    printf(" %d\n", (int)length);
}

static int pending(int fd) {
    int error = -1;
    socklen_t length = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    return error;
}

static void ping(int fd) {
    char data[5] = "";
    say("write", write(fd, "ping", 4));
    printf("read %d", (int)read(fd, data, 4));
    printf(" %s\n", data);
}

static void blocking(void) {
    int fd = socket(to.ss_family, SOCK_STREAM, 0);
    int result = connect(fd, (struct sockaddr *)&to, size);
    say("connect", result);
    printf("flags %x\n", fcntl(fd, F_GETFL) & O_NONBLOCK);
    names(fd);
    if (result == 0) {
        ping(fd);
        say("again", connect(fd, (struct sockaddr *)&to, size));
        shutdown(fd, SHUT_WR);
        char end;
        printf("end %d\n", (int)read(fd, &end, 1));
    }
    close(fd);
}

static void nonblocking(void) {
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLOUT | EPOLLET}, got;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    epoll_wait(epoll, &got, 1, 0);
    say("connect", connect(fd, (struct sockaddr *)&to, size));
    printf("epoll %d", epoll_wait(epoll, &got, 1, 5000));
    printf(" %x\n", got.events);
    struct pollfd one = {fd, POLLOUT, 0};
    printf("poll %d", poll(&one, 1, 5000));
    printf(" %x\n", one.revents);
    int error = pending(fd);
    printf("SO_ERROR %s\n", error ? strerror(error) : "none");
    names(fd);
    if (!error) {
        fcntl(fd, F_SETFL, 0);
        ping(fd);
    }
    close(fd);
}

static void fastopen(void) {
    int fd = socket(to.ss_family, SOCK_STREAM, 0);
    long sent = sendto(fd, "ping", 4, MSG_FASTOPEN, (struct sockaddr *)&to, size);
    say("sendto", sent);
    printf("%ld\n", sent);
    char data[5] = "";
    if (sent > 0)
        printf("read %d %s\n", (int)read(fd, data, 4), data);
    close(fd);
    fd = socket(to.ss_family, SOCK_STREAM, 0);
    struct iovec part = {"ping", 4};
    struct msghdr message = {.msg_name = &to, .msg_namelen = size, .msg_iov = &part, .msg_iovlen = 1};
    say("sendmsg", sendmsg(fd, &message, MSG_FASTOPEN));
    close(fd);
}

static void on_alarm(int number) {
    (void)number;
    (void)!write(1, "signal\n", 7);
}

static void on_second(int number) {
    (void)number;
    (void)!write(1, "end\n", 4);
    _exit(0);
}

/* The connect waits for ever: a signal comes after 0.2 s, and another one after 0.6 s. */
static void interrupted(int flags) {
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = flags};
    sigaction(SIGALRM, &action, 0);
    struct sigaction last = {.sa_handler = on_second};
    sigaction(SIGUSR1, &last, 0);
    setvbuf(stdout, 0, _IONBF, 0);
    pid_t parent = getpid();
    if (fork() == 0) {
        usleep(200000);
        kill(parent, SIGALRM);
        usleep(400000);
        kill(parent, SIGUSR1);
        _exit(0);
    }
    int fd = socket(to.ss_family, SOCK_STREAM, 0);
    say("connect", connect(fd, (struct sockaddr *)&to, size));
    say("again", connect(fd, (struct sockaddr *)&to, size));
}

static void refusals(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    say("short address", connect(fd, (struct sockaddr *)&to, 4));
    say("bad pointer", connect(fd, (struct sockaddr *)1, size));
    say("no descriptor", connect(99, (struct sockaddr *)&to, size));
    say("no socket", connect(0, (struct sockaddr *)&to, size));
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    say("unspecified", connect(fd, &none, sizeof none));
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = 1};
    say("another family", connect(fd, (struct sockaddr *)&six, sizeof six));
    listen(fd, 1);
    say("a listener", connect(fd, (struct sockaddr *)&to, size));
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    struct sockaddr_in *four = (struct sockaddr_in *)&to;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&to;
    if (strchr(argv[2], ':')) {
        six->sin6_family = AF_INET6;
        inet_pton(AF_INET6, argv[2], &six->sin6_addr);
        size = sizeof *six;
    } else {
        four->sin_family = AF_INET;
        inet_pton(AF_INET, argv[2], &four->sin_addr);
        size = sizeof *four;
    }
    four->sin_port = htons(atoi(argv[3]));
    if (!strcmp(argv[1], "blocking"))
        blocking();
    else if (!strcmp(argv[1], "nonblocking"))
        nonblocking();
    else if (!strcmp(argv[1], "fastopen"))
        fastopen();
    else if (!strcmp(argv[1], "interrupt"))
        interrupted(0);
    else if (!strcmp(argv[1], "restart"))
        interrupted(SA_RESTART);
    else if (!strcmp(argv[1], "refusals"))
        refusals();
    return 0;
}
