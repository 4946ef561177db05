/* The limit of answering: receives up to 64 datagrams at once and answers each with the same bytes.
 *   udp REPLY   answers with what is in the file REPLY; prints its port on 127.0.0.1 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, LONGEST = 2048, BUFFER = 4 << 20 };

int main(int argc, char **argv) {
  static char in[BATCH][LONGEST], reply[LONGEST];
  static struct sockaddr_in from[BATCH];
  struct mmsghdr received[BATCH], answers[BATCH];
  struct iovec into[BATCH], out;
  if (argc != 2) return 2;
  FILE *file = fopen(argv[1], "rb");
  if (!file) return perror(argv[1]), 1;
  out.iov_base = reply;
  out.iov_len = fread(reply, 1, sizeof reply, file);

  int fd = socket(AF_INET, SOCK_DGRAM, 0), size = BUFFER;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof own;
  if (bind(fd, (struct sockaddr *)&own, length) || getsockname(fd, (struct sockaddr *)&own, &length))
    return perror("bind"), 1;
  printf("%d\n", ntohs(own.sin_port));
  fflush(stdout);

  memset(received, 0, sizeof received);
  memset(answers, 0, sizeof answers);
  for (int i = 0; i < BATCH; i++) {
    into[i] = (struct iovec){in[i], LONGEST};
    received[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_iov = &into[i], .msg_iovlen = 1};
    answers[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_iov = &out, .msg_iovlen = 1};
  }
  for (;;) {
    for (int i = 0; i < BATCH; i++) {
      received[i].msg_hdr.msg_namelen = sizeof from[i];
      answers[i].msg_hdr.msg_namelen = sizeof from[i];
    }
    int count = recvmmsg(fd, received, BATCH, MSG_WAITFORONE, NULL);
    for (int sent = 0; sent < count;) {
      int more = sendmmsg(fd, answers + sent, count - sent, 0);
      sent += more > 0 ? more : 1;
    }
  }
}
