// SPDX-License-Identifier: Apache-2.0
// touch.h - which sessions a change concerns: touches are gathered, and indexed for each walk.
//
// Asked one by one, a hundred touches took 250 ns a session. So they are laid out by tuple space
// search, as rules are (classify.h): those of the same prefix lengths form a tuple and are found
// by one hash. Before that, one bit for each tuple says whether it has anything for the upper
// halves of the two addresses; for most sessions no bit is left, and no hash is made.
#pragma once

#include "places.h"
#include "session.h"

enum { TOUCH_TUPLES = 32, HALVES = 1 << 16 };

struct touch_list {
	struct pcgdp_touch *at;
	uint32_t n, room;
	bool all; // whatever the list says
	uint64_t policy; // serial number of what is in force since
};

struct touch_tuple {
	uint8_t src_len, dst_len;
	be32 src_mask, dst_mask;
	struct places in; // the common array
};

struct touch_place {
	be32 src, dst;
	uint32_t vrf, used;
};

struct touch_index {
	struct touch_tuple tuples[TOUCH_TUPLES];
	uint32_t n_tuples;
	uint32_t any_src, any_dst; // tuples whose prefix has no bits
	uint32_t *src, *dst;       // HALVES each: tuples that have something there
	struct touch_place *places;
};

int touch_list_add(struct touch_list *l, const struct pcgdp_touch *t, uint32_t n);
// 0; or -ENOMEM, and there is nothing to free: then all sessions are touched.
int touch_index_build(struct touch_index *x, const struct touch_list *l);
void touch_index_free(struct touch_index *x);
bool touch_fits(const struct touch_index *x, uint32_t vrf, be32 src, be32 dst);
