// SPDX-License-Identifier: Apache-2.0
// hdr.h - wire formats that the kernel's headers do not give us, and the constants of the others.
#pragma once

#include "base.h"

enum {
	ETH_HLEN_ = 14,
	IP_HLEN = 20, // without options; packets with options are refused
	UDP_HLEN = 8,
	GENEVE_HLEN = 8,
	OPTION_LEN = 8,       // our option: 4 bytes of header, 4 of data (DESIGN section 7)
	GENEVE_PORT = 6081,   // RFC 8926 section 3.3
	TUNNEL_HLEN = ETH_HLEN_ + IP_HLEN + UDP_HLEN + GENEVE_HLEN + ETH_HLEN_, // without options
	TUNNEL_MAX = TUNNEL_HLEN + OPTION_LEN,
};

enum { ETYPE_IPV4 = 0x0800, ETYPE_ARP = 0x0806, ETYPE_TEB = 0x6558 };
enum { IPP_ICMP = 1, IPP_TCP = 6, IPP_UDP = 17 };
enum { IP_DF = 0x4000, IP_MF = 0x2000, IP_OFFSET = 0x1fff };
enum { ECN_MASK = 3, ECN_ECT1 = 1, ECN_ECT0 = 2, ECN_CE = 3 }; // RFC 3168 section 5
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };
enum { ICMP_ECHO_REPLY = 0, ICMP_UNREACH = 3, ICMP_QUENCH = 4, ICMP_REDIRECT = 5, ICMP_ECHO = 8, ICMP_TIME = 11, ICMP_PARAM = 12 };
enum { UNREACH_NET = 0, UNREACH_HOST = 1, UNREACH_FRAG = 4, UNREACH_PROHIBITED = 13, TIME_REASSEMBLY = 1 };

struct eth_hdr {
	uint8_t dst[6], src[6];
	be16 type;
} __attribute__((packed));

struct ip_hdr {
	uint8_t ver_ihl, tos;
	be16 len, id, frag;
	uint8_t ttl, proto;
	uint16_t csum;
	be32 src, dst;
} __attribute__((packed));

struct udp_hdr {
	be16 sport, dport, len;
	uint16_t csum;
} __attribute__((packed));

struct tcp_hdr {
	be16 sport, dport;
	be32 seq, ack;
	uint8_t off, flags;
	be16 window;
	uint16_t csum;
	be16 urgent;
} __attribute__((packed));

struct icmp_hdr {
	uint8_t type, code;
	uint16_t csum;
	be16 id, seq; // errors: unused and next-hop MTU
} __attribute__((packed));

struct geneve_hdr {
	uint8_t ver_optlen, flags;
	be16 proto;
	uint8_t vni[3], reserved;
} __attribute__((packed));

struct geneve_opt {
	be16 class_;
	uint8_t type, len; // len: low 5 bits, in 4-byte words of data
} __attribute__((packed));

enum { GENEVE_F_CONTROL = 0x80, GENEVE_F_CRITICAL = 0x40, OPTION_CRITICAL = 0x80 };
enum { OUR_CLASS = 0x0104, OUR_TYPE = 0x80 };
#define OUR_OPTION_WORD 0x01048001u // its header: class, type, one word of data

struct arp_hdr {
	be16 hw, proto;
	uint8_t hw_len, proto_len;
	be16 op;
	uint8_t sha[6];
	be32 spa;
	uint8_t tha[6];
	be32 tpa;
} __attribute__((packed));

// RFC 1812 section 5.3.7 and 4.2.2.11; LAND is a packet from an address to itself.
INLINE uint8_t martian_alone(be32 address)
{
	static const uint8_t never[256] = {[0] = 1, [127] = 1, [224 ... 255] = 1}; // by the first byte

	return never[ntohl(address) >> 24];
}

INLINE bool martian(be32 src, be32 dst)
{
	return martian_alone(src) | martian_alone(dst) | (src == dst);
}

_Static_assert(sizeof(struct ip_hdr) == IP_HLEN, "IPv4 header");
_Static_assert(sizeof(struct arp_hdr) == 28, "ARP for Ethernet and IPv4");
_Static_assert(TUNNEL_HLEN + OPTION_LEN == 72, "an adjacency's template holds the longest header");
