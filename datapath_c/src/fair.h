// SPDX-License-Identifier: Apache-2.0
// fair.h - what one overlay address holds of what all share: sessions, and ports of public
// addresses (RFC 6888 REQ-4, REQ-5); and what it was refused.
//
// Counted in the record of the workload's port, which the decision has read anyway. Asked and
// written only when a session or a mapping begins or ends. Two workers may each let the last one
// in, so a quota is exceeded by as many as there are workers at most. An address that is removed
// and comes back begins at nothing, though a mapping of its old sessions may serve its new ones: it
// holds one more than it is said to until that ends.
#pragma once

#include "install.h"

// R_OK, or the reason why this session, or the new mapping that it needs, is one too many.
enum reason fair_session(const struct worker *w, const struct making *mk);
enum reason fair_mapping(const struct worker *w, const struct making *mk);
void fair_began(struct arena *a, const struct decision *d); // published
void fair_ended(struct arena *a, uint32_t session);
void fair_mapped(struct arena *a, uint32_t mapping);
void fair_unmapped(struct arena *a, uint32_t mapping);
// No session for want of something that is shared: noted, and said to the workload.
void fair_refused(struct worker *w, const struct making *mk, enum reason reason);
void fair_forget(struct port *p); // another address has the record now
void fair_attach(struct arena *a); // counts what lives
uint32_t fair_read(const struct arena *a, uint32_t from, struct pcgdp_usage *out, uint32_t n);

INLINE uint32_t fair_port(const struct decision *d)
{
	return d->src_port != NONE ? d->src_port : d->dst_port;
}
