// SPDX-License-Identifier: Apache-2.0
// steer.c - the XDP program that takes owned frames and nothing else: the twin of src/steer.c.
//
// Built by clang into the module itself, loaded once for each interface by src/xdp.c, which chooses
// the program by the port's role and fills the maps. What is owned goes to the AF_XDP socket of
// the queue it came by. Where there is none (the process died, or opens just now) the redirect
// falls back to XDP_PASS: the kernel's own traffic never depends on us.
//
// xdp.frags: only the first piece of a jumbo frame is looked at; headers always lie in it.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum { GENEVE_PORT = 6081, IP_OFFSET = 0x1fff, ARP_REQUEST = 1, FRAG_NEEDED = 0x0304 };

// The sizes are the loader's: the interface's queues, and what may be owned.
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __be32);
	__type(value, __u32);
} addresses SEC(".maps");

struct prefix {
	__u32 len;
	__be32 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct prefix);
	__type(value, __u32);
} prefixes SEC(".maps");

struct arp {
	__be16 hw, proto;
	__u8 hw_len, proto_len;
	__be16 op;
	__u8 sha[6], spa[4], tha[6], tpa[4];
} __attribute__((packed));

static __always_inline int take(struct xdp_md *ctx)
{
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

static __always_inline bool owned(__be32 address)
{
	struct prefix whole = {32, address};

	return bpf_map_lookup_elem(&addresses, &address) || bpf_map_lookup_elem(&prefixes, &whole);
}

// IPv4 to an owned address or prefix; ARP requests for one.
SEC("xdp.frags")
int steer_uplink(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct arp *arp = (void *)(eth + 1);
	__be32 target;

	if ((void *)(eth + 1) > end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return (void *)(ip + 1) <= end && owned(ip->daddr) ? take(ctx) : XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_ARP) || (void *)(arp + 1) > end || arp->op != bpf_htons(ARP_REQUEST))
		return XDP_PASS;
	__builtin_memcpy(&target, arp->tpa, sizeof(target));
	return owned(target) ? take(ctx) : XDP_PASS;
}

struct too_big { // behind the IP header
	__u8 type, code;
	__u8 rest[6];
	struct iphdr ip; // of a packet of ours: without options
	struct udphdr udp;
};

static __always_inline bool tunnel_too_big(const struct too_big *icmp, const void *end)
{
	return (const void *)(icmp + 1) <= end && icmp->type == FRAG_NEEDED >> 8 && icmp->code == (FRAG_NEEDED & 255) &&
		icmp->ip.protocol == IPPROTO_UDP && icmp->udp.dest == bpf_htons(GENEVE_PORT);
}

// UDP 6081 to our TEP; fragments of UDP to it (their ports are in the first one); and ICMP that says
// that a tunnel packet of ours was too big.
SEC("xdp.frags")
int steer_downlink(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	udp = (void *)ip + ip->ihl * 4;
	if (ip->protocol == IPPROTO_ICMP) {
		if (ip->frag_off & bpf_htons(IP_OFFSET) || !tunnel_too_big((void *)udp, end))
			return XDP_PASS;
	} else if (ip->protocol != IPPROTO_UDP) {
		return XDP_PASS;
	} else if (!(ip->frag_off & bpf_htons(IP_OFFSET)) && ((void *)(udp + 1) > end || udp->dest != bpf_htons(GENEVE_PORT)))
		return XDP_PASS;
	return bpf_map_lookup_elem(&addresses, &ip->daddr) ? take(ctx) : XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0";
