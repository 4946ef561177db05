"""Tells which announces cross the interfaces here: a line for the first of each sender, receiver and infohash."""
import socket

EVERY_PROTOCOL = 3
IPV4 = b"\x08\x00"
UDP = 17
BEFORE_HASH = b"9:info_hash20:"

packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
print("listening", flush=True)
seen = set()
while True:
    packet = packets.recv(65_535)
    if packet[12:14] != IPV4 or packet[23] != UDP or b"1:q13:announce_peer" not in packet:
        continue
    start = packet.find(BEFORE_HASH) + len(BEFORE_HASH)
    announce = socket.inet_ntoa(packet[26:30]), socket.inet_ntoa(packet[30:34]), packet[start:start + 20].hex()
    if announce not in seen:
        seen.add(announce)
        print(*announce, flush=True)
