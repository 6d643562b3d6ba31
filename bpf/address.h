/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Reads an IP address from text: IPv4, IPv6, with or without brackets, zone and port. One byte a
 * step, because the kernel side runs the steps in bpf_loop(). Compiles for the kernel and for the
 * host, where unit tests and a fuzzer hold it against inet_pton().
 */
#ifndef PULLTAP_ADDRESS_H
#define PULLTAP_ADDRESS_H

#include "path.h"

/* The longest IPv6 address is 45 bytes; brackets, and what ends it. */
#define PT_ADDRESS_STEPS 48
#define PT_ADDRESS_NO_GAP 255

struct pt_address_parse {
	__u32 start; /* behind a bracket: where the address itself begins */
	__u32 at; /* next byte; behind the last step: where the address ends */
	__u32 value, decimal, digits; /* of the group that is being read */
	__u32 count; /* groups of 16 bits */
	__u32 gap; /* which of them follows "::" */
	__u32 dots;
	__u32 four; /* the IPv4 address so far */
	__u32 colon; /* the last byte was one */
	__u32 bad;
	struct pt_address before, address; /* what came before "::", and the groups since */
};

static __always_inline void pt_address_begin(struct pt_address_parse *p, __u32 at)
{
	__builtin_memset(p, 0, sizeof(*p));
	p->start = at;
	p->at = at;
	p->gap = PT_ADDRESS_NO_GAP;
}

static __always_inline int pt_address_bad(struct pt_address_parse *p)
{
	p->bad = 1;
	return 1;
}

static __always_inline void pt_address_group(struct pt_address_parse *p, __u32 value)
{
	p->bad |= p->count > 7;
	p->count++;
	p->address.high = p->address.high << 16 | p->address.low >> 48;
	p->address.low = p->address.low << 16 | value;
}

static __always_inline int pt_address_colon(struct pt_address_parse *p)
{
	if (p->dots) /* a port, and nothing else, may follow a whole IPv4 address */
		return p->dots == 3 && p->digits && !p->count && p->gap == PT_ADDRESS_NO_GAP
			       ? 1
			       : pt_address_bad(p);
	if (p->digits) {
		pt_address_group(p, p->value);
	} else if (p->colon) {
		if (p->gap != PT_ADDRESS_NO_GAP)
			return pt_address_bad(p);
		p->gap = p->count;
		p->before = p->address;
		p->address.high = p->address.low = 0;
	} else if (p->count || p->gap != PT_ADDRESS_NO_GAP || p->at != p->start) {
		return pt_address_bad(p);
	}
	p->value = p->decimal = p->digits = 0;
	p->colon = 1;
	p->at++;
	return p->bad != 0;
}

/* Without zeroes before it: those are octal to some. */
static __always_inline int pt_address_is_octet(const struct pt_address_parse *p)
{
	return p->digits == 1	? p->decimal < 10
	       : p->digits == 2 ? p->decimal >= 10 && p->decimal < 100
				: p->digits == 3 && p->decimal >= 100 && p->decimal < 256;
}

static __always_inline int pt_address_dot(struct pt_address_parse *p)
{
	if (!pt_address_is_octet(p) || p->dots > 2)
		return pt_address_bad(p);
	p->four = p->four << 8 | p->decimal;
	p->dots++;
	p->value = p->decimal = p->digits = p->colon = 0;
	p->at++;
	return 0;
}

/* c is the byte at p->at. Returns 1 when the address has ended, or can't be one. */
static __always_inline int pt_address_step(char byte, struct pt_address_parse *p)
{
	__u8 c = (__u8)byte;
	int digit = pt_hex(c);

	if (digit >= 0) {
		/* too long, or behind a single colon at the start */
		if (p->digits > 3 || (p->colon && !p->count && p->gap == PT_ADDRESS_NO_GAP))
			return pt_address_bad(p);
		p->value = p->value << 4 | (__u32)digit;
		/* "a" can't be a part of IPv4: beyond 255 from here on */
		p->decimal = digit > 9 ? 1000 : p->decimal * 10 + (__u32)digit;
		p->digits++;
		p->colon = 0;
		p->at++;
		return 0;
	}
	if (c == ':')
		return pt_address_colon(p);
	if (c == '.')
		return pt_address_dot(p);
	if (c == '[' && p->at == p->start) {
		p->start++;
		p->at++;
		return 0;
	}
	if (!c || c == ']' || c == '%' || c == ',' || c == ';' || c == '"' || c == ' ' || c == '\t')
		return 1;
	return pt_address_bad(p);
}

/* Nothing at all stood there. */
static __always_inline int pt_address_empty(const struct pt_address_parse *p)
{
	return !p->bad && p->at == p->start;
}

/* After the last step. Returns 0 when it was an address, else -1. */
static __always_inline int pt_address_end(struct pt_address_parse *p, struct pt_address *ret)
{
	__u32 bits;

	if (p->dots) {
		if (p->dots != 3 || !pt_address_is_octet(p))
			return -1;
		p->four = p->four << 8 | p->decimal;
		if (!p->count && p->gap == PT_ADDRESS_NO_GAP) {
			ret->high = 0;
			ret->low = 0xffff00000000ull | p->four;
			return p->bad ? -1 : 0;
		}
		pt_address_group(p, p->four >> 16);
		pt_address_group(p, p->four & 0xffff);
	} else if (p->digits) {
		pt_address_group(p, p->value);
	} else if (p->colon && p->gap != p->count) {
		return -1;
	}
	if (p->bad || (p->gap == PT_ADDRESS_NO_GAP ? p->count != 8 : p->count > 7))
		return -1;
	*ret = p->address;
	if (p->gap == PT_ADDRESS_NO_GAP || !p->gap)
		return 0;
	/* what came before the gap goes to the top */
	bits = (8 - (p->gap & 7)) * 16;
	if (bits >= 64) {
		ret->high |= p->before.low << ((bits - 64) & 63);
	} else {
		ret->high |= p->before.high << bits | p->before.low >> ((64 - bits) & 63);
		ret->low |= p->before.low << bits;
	}
	return 0;
}

static __always_inline int pt_address_within(const struct pt_address *address,
					     const struct pt_address *network,
					     const struct pt_address *mask)
{
	return !(((address->high ^ network->high) & mask->high) |
		 ((address->low ^ network->low) & mask->low));
}

#endif
