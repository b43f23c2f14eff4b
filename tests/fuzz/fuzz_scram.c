/*
 * fuzz_scram.c - a server that answers SCRAM with anything.
 *
 * The input is server-first-message, a line end, server-final-message; what follows our nonce in
 * the first is therefore free of line ends, as it would have to be anyway. All of it also serves as
 * a password.
 */
#include "scram.h"

#include "saslprep.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Iterations are not what is tested here. */
enum {
	MOST_ROUNDS = 64
};

static void talk(struct scram *s, struct slice first, struct slice final, struct bytes *out)
{
	struct err e;

	if (!scram_client_first(s, out, &e))
		abort();
	bytes_clear(out);
	if (!scram_server_first(s, first, &e) || !scram_work(s, MOST_ROUNDS))
		return;
	if (!scram_client_final(s, out, &e))
		abort();
	if (scram_server_final(s, final, &e) != scram_is_done(s))
		abort();
}

/* What is ASCII stays as it is, and nothing becomes empty. */
static void prepare(struct slice password)
{
	struct bytes out;
	bool ascii = true;

	for (size_t i = 0; i < password.len; i++)
		ascii = ascii && password.data[i] < 0x80;
	bytes_init(&out, 32 * password.len + 1);
	saslprep_put(&out, password);
	if (bytes_failed(&out) || (bytes_length(&out) == 0) != (password.len == 0) ||
		(ascii && !slice_equal(bytes_view(&out), password)))
		abort();
	bytes_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice first = slice_of(data, size);
	struct slice final = slice_of(data, 0);
	const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
	struct bytes out;
	struct err e;
	struct scram *s = scram_new(slice_str(""), slice_str("pencil"), "abcd", &e);

	if (end) {
		first.len = (size_t)(end - data);
		final = slice_of(end + 1, size - first.len - 1);
	}
	prepare(slice_of(data, size));
	bytes_init(&out, (size_t)3 * SCRAM_MAX_MESSAGE);
	talk(s, first, final, &out);
	bytes_release(&out);
	scram_free(s);
	return 0;
}
