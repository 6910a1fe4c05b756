// SPDX-License-Identifier: Apache-2.0
// dhcp_beside.h - other traffic while clients ask: frames of a file at a rate, counted where they come out.

#pragma once

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BESIDE_AT_ONCE = 256 }; // more that are due wait for the next turn

static struct {
	uint8_t *bytes, *at, *end;
	char in[16];
	double rate;
	uint64_t sent, before;
} beside;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t received(void)
{
	char path[80];
	uint64_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/net/%s/statistics/rx_packets", beside.in);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%lu", &n) != 1)
		fail(path);
	fclose(f);
	return n;
}

static void load_beside(const char *phase)
{
	char name[128];
	long size;
	FILE *f;

	if (sscanf(phase, "beside:%lf:%15[^:]:%127s", &beside.rate, beside.in, name) != 3 || !(f = fopen(name, "rb")) || fseek(f, 0, SEEK_END))
		fail(phase);
	size = ftell(f), rewind(f);
	beside.at = beside.bytes = malloc((size_t)size), beside.end = beside.bytes + size;
	if (size < 64 || !beside.bytes || fread(beside.bytes, 1, (size_t)size, f) != (size_t)size)
		fail(name);
	fclose(f);
}

// Frame after frame, as many as are due; one that the kernel refuses is not sent.
static void send_beside(int fd, double gone)
{
	uint64_t due = (uint64_t)(gone * beside.rate);

	for (int n = 0; beside.rate > 0 && beside.sent < due && n < BESIDE_AT_ONCE; n++) {
		uint32_t length;

		memcpy(&length, beside.at, 4);
		if (send(fd, beside.at + 4, length, 0) < 0)
			break;
		beside.sent++, beside.at += 4 + length;
		if (beside.at >= beside.end)
			beside.at = beside.bytes;
	}
}
