// SPDX-License-Identifier: Apache-2.0
// steer.c - see steer.h. Offsets are from the Ethernet header; a load past the end rejects.

#include "steer.h"

#define OP(code, k) ((struct sock_filter)BPF_STMT(code, k))
#define JUMP(code, k, t, e) ((struct sock_filter)BPF_JUMP(code, k, t, e))
#define TAKE OP(BPF_RET | BPF_K, 0x40000)
#define LEAVE OP(BPF_RET | BPF_K, 0)

int steer_nothing(struct sock_filter *f)
{
	f[0] = LEAVE;
	return 1;
}

// A tagged frame is for another network: the kernel keeps it.
static int untagged(struct sock_filter *f)
{
	f[0] = OP(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT));
	f[1] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
	f[2] = LEAVE;
	return 3;
}

// IPv4 to an owned address or prefix; ARP requests for one.
int steer_uplink(struct sock_filter *f, const struct owned *o)
{
	int n = untagged(f);

	if (2 * o->n + 4 * o->n_prefixes + 16 > STEER_MAX)
		return -E2BIG;
	f[n++] = OP(BPF_LD | BPF_H | BPF_ABS, 12);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETYPE_IPV4, 0, 2);
	f[n++] = OP(BPF_LD | BPF_W | BPF_ABS, ETH_HLEN_ + 16); // destination
	f[n++] = OP(BPF_JMP | BPF_JA, 6); // to the comparisons
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETYPE_ARP, 1, 0);
	f[n++] = LEAVE;
	f[n++] = OP(BPF_LD | BPF_H | BPF_ABS, ETH_HLEN_ + 6); // operation
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0);
	f[n++] = LEAVE;
	f[n++] = OP(BPF_LD | BPF_W | BPF_ABS, ETH_HLEN_ + 24); // target address
	for (uint32_t i = 0; i < o->n; i++) {
		f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(o->addresses[i]), 0, 1);
		f[n++] = TAKE;
	}
	f[n++] = OP(BPF_MISC | BPF_TAX, 0);
	for (uint32_t i = 0; i < o->n_prefixes; i++) {
		f[n++] = OP(BPF_MISC | BPF_TXA, 0);
		f[n++] = OP(BPF_ALU | BPF_AND | BPF_K, ntohl(mask_be(o->prefixes[i].len)));
		f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(o->prefixes[i].prefix), 0, 1);
		f[n++] = TAKE;
	}
	f[n++] = LEAVE;
	return n;
}

// UDP 6081 to our TEP; fragments of UDP to it (their ports are in the first one); and ICMP that says
// that a tunnel packet of ours was too big. The latter quotes our own header, which has no options.
int steer_downlink(struct sock_filter *f, const struct owned *o)
{
	enum { QUOTED = ETH_HLEN_ + 8, TOO_BIG = ICMP_UNREACH << 8 | UNREACH_FRAG };
	int n = untagged(f);

	f[n++] = OP(BPF_LD | BPF_H | BPF_ABS, 12);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETYPE_IPV4, 0, 19);
	f[n++] = OP(BPF_LD | BPF_W | BPF_ABS, ETH_HLEN_ + 16);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohl(o->tep), 0, 17);
	f[n++] = OP(BPF_LDX | BPF_B | BPF_MSH, ETH_HLEN_);
	f[n++] = OP(BPF_LD | BPF_B | BPF_ABS, ETH_HLEN_ + 9);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPP_UDP, 0, 4);
	f[n++] = OP(BPF_LD | BPF_H | BPF_ABS, ETH_HLEN_ + 6);
	f[n++] = JUMP(BPF_JMP | BPF_JSET | BPF_K, IP_OFFSET, 11, 0);
	f[n++] = OP(BPF_LD | BPF_H | BPF_IND, ETH_HLEN_ + 2);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, GENEVE_PORT, 9, 10);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPP_ICMP, 0, 9);
	f[n++] = OP(BPF_LD | BPF_H | BPF_ABS, ETH_HLEN_ + 6);
	f[n++] = JUMP(BPF_JMP | BPF_JSET | BPF_K, IP_OFFSET, 7, 0);
	f[n++] = OP(BPF_LD | BPF_H | BPF_IND, ETH_HLEN_);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, TOO_BIG, 0, 5);
	f[n++] = OP(BPF_LD | BPF_B | BPF_IND, QUOTED + 9);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPP_UDP, 0, 3);
	f[n++] = OP(BPF_LD | BPF_H | BPF_IND, QUOTED + IP_HLEN + 2);
	f[n++] = JUMP(BPF_JMP | BPF_JEQ | BPF_K, GENEVE_PORT, 0, 1);
	f[n++] = TAKE;
	f[n++] = LEAVE;
	return n;
}
