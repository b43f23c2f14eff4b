/*
 * fuzz_startup.c - anything as the first packet of a connection.
 */
#include <stdlib.h>

#include "message.h"
#include "trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
	if (!truth)
		abort();
}

static bool is_inside(struct slice inner, struct slice outer)
{
	return inner.data >= outer.data && inner.len <= outer.len &&
	       (size_t)(inner.data - outer.data) <= outer.len - inner.len;
}

static void look_for(struct slice packet, const char *name, bool well_formed)
{
	struct slice value = slice_of(NULL, 0);

	if (!startup_parameter(packet, name, &value)) {
		expect(!value.data);
		return;
	}
	expect(well_formed && is_inside(value, packet));
}

static void session(struct slice packet)
{
	static const char *const names[] = {
		"user", "database", "options", "replication", "application_name", "", "a"};
	bool well_formed = startup_is_well_formed(packet);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		look_for(packet, names[i], well_formed);
}

static void cancel(struct slice packet)
{
	struct backend_key key;
	struct bytes again;

	expect(backend_key_decode(slice_of(packet.data + 8, packet.len - 8), &key));
	bytes_init(&again, STARTUP_MAX);
	startup_put_cancel(&again, &key);
	expect(slice_equal(bytes_view(&again), packet));
	bytes_release(&again);
}

/* Every shorter piece of a packet is partial, and none is something else than the whole. */
static void cut(struct slice packet)
{
	size_t size = 0;

	for (size_t len = 0; len < packet.len; len = len < 16 ? len + 1 : len * 2)
		expect(startup_peek(slice_of(packet.data, len), &size) == STARTUP_PARTIAL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = slice_of(data, size);
	struct slice packet = all;
	size_t length = 0;
	enum startup_kind kind = startup_peek(all, &length);
	struct bytes line;

	bytes_init(&line, (size_t)1 << 26);
	trace_startup(&line, all);
	bytes_release(&line);
	if (kind == STARTUP_PARTIAL || kind == STARTUP_BAD) {
		session(all);
		return 0;
	}
	expect(length >= 8 && length <= STARTUP_MAX && length <= size);
	packet.len = length;
	cut(packet);
	session(packet);
	if (kind == STARTUP_CANCEL)
		cancel(packet);
	return 0;
}
