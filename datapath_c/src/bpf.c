// SPDX-License-Identifier: Apache-2.0
// bpf.c - see bpf.h.
//
// An opcode is a class and, by class, a size and a mode or an operation and a source. What
// bpf_check() has not let pass is never met by bpf_run().

#include "bpf.h"

enum { CLASS = 0x07, LD = 0, LDX = 1, ST = 2, STX = 3, ALU = 4, JMP = 5, RET = 6, MISC = 7 };
enum { SIZE = 0x18, WORD = 0x00, HALF = 0x08, BYTE = 0x10 };
enum { MODE = 0xe0, IMM = 0x00, ABS = 0x20, IND = 0x40, MEM = 0x60, LEN = 0x80, MSH = 0xa0 };
enum { OP = 0xf0, ADD_ = 0x00, SUB = 0x10, MUL = 0x20, DIV = 0x30, OR = 0x40, AND = 0x50, LSH = 0x60, RSH = 0x70, NEG = 0x80, MOD = 0x90, XOR = 0xa0 };
enum { JA = 0x00, JEQ = 0x10, JGT = 0x20, JGE = 0x30, JSET = 0x40 };
enum { SRC_X = 0x08, RET_SRC = 0x18, RET_A = 0x10, TXA = 0x80, WORDS = 16 };

static bool load_ok(const struct pcgdp_bpf *f)
{
	unsigned size = f->code & SIZE, mode = f->code & MODE;
	bool index = (f->code & CLASS) == LDX;

	if (mode == MEM)
		return size == WORD && f->k < WORDS;
	if (mode == IMM || mode == LEN)
		return size == WORD;
	if (mode == MSH)
		return index && size == BYTE;
	return !index && (mode == ABS || mode == IND) && size != SIZE;
}

static bool alu_ok(const struct pcgdp_bpf *f)
{
	unsigned op = f->code & OP;

	if (op > XOR)
		return false;
	if (op == NEG)
		return !(f->code & SRC_X);
	if ((op == DIV || op == MOD) && !(f->code & SRC_X))
		return f->k != 0;
	return true;
}

// `after`: instructions behind this one. Jumps go forward only, so every program ends.
static bool jump_ok(const struct pcgdp_bpf *f, uint32_t after)
{
	unsigned op = f->code & OP;

	if (op == JA)
		return !(f->code & SRC_X) && f->k < after;
	return op <= JSET && f->jt < after && f->jf < after;
}

static bool instruction_ok(const struct pcgdp_bpf *f, uint32_t after)
{
	if (f->code > 0xff)
		return false;
	switch (f->code & CLASS) {
	case LD:
	case LDX:
		return load_ok(f);
	case ST:
	case STX:
		return !(f->code & ~CLASS) && f->k < WORDS;
	case ALU:
		return alu_ok(f);
	case JMP:
		return jump_ok(f, after);
	case RET:
		return !(f->code & ~(CLASS | RET_A));
	default:
		return !(f->code & ~(CLASS | TXA));
	}
}

int bpf_check(const struct pcgdp_bpf *program, uint32_t n)
{
	if (!n || n > BPF_PROGRAM_MAX || (program[n - 1].code & CLASS) != RET)
		return -EINVAL;
	for (uint32_t i = 0; i < n; i++)
		if (!instruction_ok(&program[i], n - 1 - i))
			return -EINVAL;
	return 0;
}

struct machine {
	uint32_t a, x, words[WORDS];
	const uint8_t *frame;
	uint32_t length, there;
};

// size and mode were checked; false: past the end
static bool fetch(const struct machine *m, unsigned size, uint64_t at, uint32_t *out)
{
	uint32_t bytes = size == WORD ? 4 : size == HALF ? 2 : 1;

	if (at + bytes > m->there)
		return false;
	*out = size == WORD ? ntohl(rd32(m->frame + at)) : size == HALF ? ntohs(rd16(m->frame + at)) : m->frame[at];
	return true;
}

static bool load(struct machine *m, const struct pcgdp_bpf *f)
{
	uint32_t *to = (f->code & CLASS) == LDX ? &m->x : &m->a;

	switch (f->code & MODE) {
	case IMM:
		*to = f->k;
		return true;
	case LEN:
		*to = m->length;
		return true;
	case MEM:
		*to = m->words[f->k];
		return true;
	case MSH: // the length of an IPv4 header
		if (!fetch(m, BYTE, f->k, to))
			return false;
		*to = (*to & 15) * 4;
		return true;
	case ABS:
		return fetch(m, f->code & SIZE, f->k, to);
	default:
		return fetch(m, f->code & SIZE, (uint64_t)m->x + f->k, to);
	}
}

static bool compute(struct machine *m, const struct pcgdp_bpf *f)
{
	uint32_t by = f->code & SRC_X ? m->x : f->k;

	switch (f->code & OP) {
	case ADD_: m->a += by; break;
	case SUB: m->a -= by; break;
	case MUL: m->a *= by; break;
	case OR: m->a |= by; break;
	case AND: m->a &= by; break;
	case XOR: m->a ^= by; break;
	case LSH: m->a = by < 32 ? m->a << by : 0; break;
	case RSH: m->a = by < 32 ? m->a >> by : 0; break;
	case NEG: m->a = 0 - m->a; break;
	default:
		if (!by)
			return false;
		m->a = (f->code & OP) == DIV ? m->a / by : m->a % by;
	}
	return true;
}

static uint32_t jump(const struct machine *m, const struct pcgdp_bpf *f)
{
	uint32_t with = f->code & SRC_X ? m->x : f->k;

	switch (f->code & OP) {
	case JA:
		return f->k;
	case JEQ:
		return m->a == with ? f->jt : f->jf;
	case JGT:
		return m->a > with ? f->jt : f->jf;
	case JGE:
		return m->a >= with ? f->jt : f->jf;
	default:
		return m->a & with ? f->jt : f->jf;
	}
}

uint32_t bpf_run(const struct pcgdp_bpf *f, const uint8_t *frame, uint32_t length, uint32_t there)
{
	struct machine m = {.frame = frame, .length = length, .there = there};

	for (;; f++) {
		bool on = true;

		switch (f->code & CLASS) {
		case LD:
		case LDX:
			on = load(&m, f);
			break;
		case ST:
			m.words[f->k] = m.a;
			break;
		case STX:
			m.words[f->k] = m.x;
			break;
		case ALU:
			on = compute(&m, f);
			break;
		case JMP:
			f += jump(&m, f);
			break;
		case RET:
			return f->code & RET_A ? m.a : f->k;
		default:
			if (f->code & TXA)
				m.a = m.x;
			else
				m.x = m.a;
		}
		if (!on)
			return 0;
	}
}
