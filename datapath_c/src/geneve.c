// SPDX-License-Identifier: Apache-2.0
// geneve.c - the Geneve tunnel header, RFC 8926.
//
//   in:   parse_outer -> [geneve_decap] -> parse_inner
//   out:  egress writes the header from the adjacency
//
// One option is ours (class 0x0104, type 0x80). Any other option with the critical bit is a drop,
// not a hint (section 3.5): passing on a packet whose sender demanded that an option be read
// would be a lie. Options may come in any order, so each is looked at, whatever stands before it.

#include "dp.h"

// 0x80 of an option's type is its critical bit (section 3.5).
static inline int read_options(const uint8_t *opts, uint32_t len)
{
	struct geneve_opt opt;

	if (LIKELY(len == OPTION_LEN && rd32(opts) == htonl(OUR_OPTION_WORD)))
		return -1; // ours alone, as every agent sends it
	for (uint32_t at = 0, data; at < len; at += sizeof(opt) + data) {
		if (at + sizeof(opt) > len)
			return R_GENEVE_OPTION_BAD;
		memcpy(&opt, opts + at, sizeof(opt));
		data = (opt.len & 0x1fu) * 4;
		if (at + sizeof(opt) + data > len)
			return R_GENEVE_OPTION_BAD; // the lengths must add up (section 3.5)
		if (opt.class_ == htons(OUR_CLASS) && opt.type == OUR_TYPE) {
			if (data != OPTION_LEN - sizeof(opt))
				return R_GENEVE_OPTION_BAD;
			continue; // flags and source label: nothing in this path depends on them yet
		}
		if (opt.type & OPTION_CRITICAL)
			return R_GENEVE_CRITICAL;
	}
	return -1;
}

// Before   p->off at the Geneve header
// After    p->vni, p->segment, p->vrf set; p->off at the inner Ethernet header
// Drops    every GENEVE_* reason, TEP_UNKNOWN, VNI_UNKNOWN
static inline enum pcgdp_verdict decap_one(struct worker *w, struct pkt *p)
{
	struct reader r = pkt_read(p);
	const struct geneve_hdr *gh = pull(&r, GENEVE_HLEN);
	const uint8_t *opts;
	uint32_t opts_len;
	int bad;

	if (!gh)
		return drop(p, R_GENEVE_SHORT);
	if (gh->ver_optlen >> 6 != 0)
		return drop(p, R_GENEVE_VERSION);
	opts_len = (gh->ver_optlen & 0x3fu) * 4;
	opts = pull(&r, opts_len);
	if (!opts)
		return drop(p, R_GENEVE_SHORT);

	// Before any flag is believed: only a TEP we were told about may speak. A VNI is no secret, so
	// the outer address is all that keeps a stranger in the VPC from writing into a segment.
	if (tep_find(&w->dp->arena, p->outer_src) == NONE)
		return drop(p, R_TEP_UNKNOWN);
	if (gh->flags & GENEVE_F_CONTROL)
		return drop(p, R_GENEVE_CONTROL); // section 3.4: never forward its payload
	if (gh->proto != htons(ETYPE_TEB))
		return drop(p, R_GENEVE_PROTO);
	bad = read_options(opts, opts_len);
	if (bad >= 0)
		return drop(p, (enum reason)bad);

	p->vni = (uint32_t)gh->vni[0] << 16 | (uint32_t)gh->vni[1] << 8 | gh->vni[2];
	p->segment = segment_of_vni(w->cfg, p->vni);
	if (!p->segment)
		return drop(p, R_VNI_UNKNOWN);
	p->vrf = p->segment->rec.vrf;
	pkt_read_to(p, &r);
	return PCGDP_NEXT;
}

void geneve_decap(struct worker *w, struct burst *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		settle_one(b, &b->pkt[i], b->pkt[i].flags & PF_PARSED ? PCGDP_NEXT : decap_one(w, &b->pkt[i]));
	burst_settle(w, b, STAGE_geneve_decap);
}
