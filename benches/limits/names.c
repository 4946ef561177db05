/* Names, at the limits: a resolver that keeps up with whoever asks, and the least that asking costs.
 *   names answer [EVERY]        answers every query; every EVERYth with SERVFAIL; prints its port on 127.0.0.1
 *   names ask PORT COUNT OPEN [NAMES]
 *                               asks COUNT times with OPEN under way, for as many names or for NAMES by
 *                               turns; prints what it cost */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { BATCH = 64, LONGEST = 1500, BUFFER = 4 << 20, HEADER = 12, A = 1, AAAA = 28, OPT = 41, COOKIE = 10 };

static unsigned char in[BATCH][LONGEST], out[BATCH][LONGEST];
static struct sockaddr_in from[BATCH];
static struct mmsghdr received[BATCH], answers[BATCH];
static struct iovec into[BATCH], outof[BATCH];

static int loopback(int port) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0), size = BUFFER;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int failed = port ? connect(fd, (struct sockaddr *)&addr, sizeof addr) : bind(fd, (struct sockaddr *)&addr, sizeof addr);
  if (failed) perror("socket"), exit(1);
  for (int i = 0; i < BATCH; i++) {
    into[i] = (struct iovec){in[i], LONGEST};
    outof[i] = (struct iovec){out[i], 0};
    received[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_iov = &into[i], .msg_iovlen = 1};
    answers[i].msg_hdr = (struct msghdr){.msg_iov = &outof[i], .msg_iovlen = 1};
  }
  return fd;
}

static unsigned number(const unsigned char *at) { return at[0] << 8 | at[1]; }

/* One record, whose owner is the question's name. */
static unsigned char *record(unsigned char *to, unsigned type, unsigned length) {
  unsigned char head[] = {0xc0, HEADER, type >> 8, type, 0, 1, 0, 0, 1, 44, 0, length};
  memcpy(to, head, sizeof head);
  return to + sizeof head;
}

/* The length of the answer to a query of `len` bytes: an address made of the name, and the cookies
 * of RFC 7873 if ours was sent. 0: it is no query. */
static size_t answer(const unsigned char *query, size_t len, unsigned char *to, int servfail) {
  size_t at = HEADER;
  unsigned hash = 1;
  while (at < len && query[at]) {
    for (size_t end = at + query[at] + 1; at < end && at < len; at++) hash = hash * 31 + (query[at] | 32);
  }
  size_t end = at + 5;
  if (end > len || query[2] & 0x80) return 0;
  memcpy(to, query, end);
  unsigned type = number(query + end - 4);
  int answered = !servfail && (type == A || type == AAAA);
  memset(to + 4, 0, 8);
  to[2] = 0x81, to[3] = servfail ? 0x82 : 0x80, to[5] = 1, to[7] = answered;
  unsigned char *p = to + end;
  if (answered) {
    unsigned length = type == A ? 4 : 16;
    p = record(p, type, length);
    memset(p, 0, length);
    p[0] = type == A ? 10 : 0xfd;
    p[length - 3] = hash >> 16, p[length - 2] = hash >> 8, p[length - 1] = hash;
    p += length;
  }
  /* Root, OPT, size, extended flags, and as the only option a cookie. */
  if (len >= end + 11 && number(query + end + 1) == OPT) {
    int cookie = len >= end + 23 && number(query + end + 11) == COOKIE;
    to[11] = 1;
    memcpy(p, query + end, 11);
    p[9] = 0, p[10] = cookie ? 20 : 0;
    p += 11;
    if (cookie) {
      unsigned char option[] = {0, COOKIE, 0, 16};
      memcpy(p, option, 4);
      memcpy(p + 4, query + end + 15, 8);
      for (int i = 0; i < 8; i++) p[12 + i] = query[end + 15 + i] ^ 0x5a;
      p += 20;
    }
  }
  return p - to;
}

static int respond(int every) {
  int fd = loopback(0);
  struct sockaddr_in own;
  socklen_t length = sizeof own;
  if (getsockname(fd, (struct sockaddr *)&own, &length)) return perror("getsockname"), 1;
  printf("%d\n", ntohs(own.sin_port));
  fflush(stdout);
  for (unsigned asked = 0;;) {
    for (int i = 0; i < BATCH; i++) received[i].msg_hdr.msg_namelen = sizeof from[i];
    int count = recvmmsg(fd, received, BATCH, MSG_WAITFORONE, NULL), ready = 0;
    for (int i = 0; i < count; i++) {
      size_t len = answer(in[i], received[i].msg_len, out[ready], every && ++asked % every == 0);
      if (!len) continue;
      outof[ready].iov_len = len;
      answers[ready].msg_hdr.msg_name = &from[i];
      answers[ready++].msg_hdr.msg_namelen = sizeof from[i];
    }
    for (int sent = 0; sent < ready;) {
      int more = sendmmsg(fd, answers + sent, ready - sent, 0);
      sent += more > 0 ? more : 1;
    }
  }
}

static double cpu_seconds(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* One socket, no memory of what was asked: 64 at a time leave for every 64 that came. */
static int ask(int port, long wanted, long open_max, long names) {
  int fd = loopback(port);
  long sent = 0, back = 0;
  while (back < wanted) {
    while (sent < wanted && sent - back <= open_max - BATCH) {
      int ready = 0;
      for (; ready < BATCH && sent + ready < wanted; ready++) {
        unsigned char head[HEADER] = {(sent + ready) >> 8, sent + ready, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
        char label[32];
        unsigned char *to = out[ready];
        memcpy(to, head, HEADER);
        int length = snprintf(label, sizeof label, "host%ld", (sent + ready) % names);
        to += HEADER;
        *to++ = length;
        memcpy(to, label, length);
        memcpy(to + length, "\7example\4test\0\0\1\0\1", 18);
        outof[ready].iov_len = HEADER + 1 + length + 18;
      }
      int more = sendmmsg(fd, answers, ready, 0);
      if (more > 0) sent += more;
    }
    struct pollfd one = {fd, POLLIN, 0};
    if (poll(&one, 1, 2000) <= 0) break;
    for (int i = 0; i < BATCH; i++) received[i].msg_hdr.msg_namelen = sizeof from[i];
    int count = recvmmsg(fd, received, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) back += (in[i][3] & 15) == 0 && in[i][7] > 0;
  }
  printf("{\"names\": %ld, \"answered\": %ld, \"per_cpu_second\": %.0f}\n", wanted, back, back / cpu_seconds());
  return 0;
}

int main(int argc, char **argv) {
  if (argc >= 2 && !strcmp(argv[1], "answer")) return respond(argc > 2 ? atoi(argv[2]) : 0);
  if ((argc == 5 || argc == 6) && !strcmp(argv[1], "ask"))
    return ask(atoi(argv[2]), atol(argv[3]), atol(argv[4]), atol(argv[argc - 1 < 5 ? 3 : 5]));
  return 2;
}
