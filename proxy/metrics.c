#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>

#include "version.h"

static void begin(struct bytes *out, const char *name, const char *type, const char *help)
{
	bytes_printf(out, "# HELP pgaside_%s %s\n# TYPE pgaside_%s %s\n", name, help, name, type);
}

static void put_one(
	struct bytes *out, const char *name, const char *type, const char *help, uint64_t value)
{
	begin(out, name, type, help);
	bytes_printf(out, "pgaside_%s %" PRIu64 "\n", name, value);
}

static void put_build_and_config(struct bytes *out, const struct config *c)
{
	static const char *const conflicts[] = {
		[CONFLICT_AT_COMMIT] = "at_commit",
		[CONFLICT_INLINE] = "inline",
		[CONFLICT_ERROR] = "error",
	};

	begin(out, "build_info", "gauge", "Which pgaside this is.");
	bytes_printf(out, "pgaside_build_info{version=\"" PGASIDE_VERSION "\"} 1\n");
	begin(out, "config_info", "gauge", "Settings that decide what becomes of a statement.");
	bytes_printf(out,
		"pgaside_config_info{aside=\"%s\",native=\"%s\",conflict=\"%s\",on_rollback=\"%s\","
		"workers=\"%u\"} 1\n",
		c->aside ? "on" : "off", c->native == NATIVE_GUARD ? "guard" : "pass",
		conflicts[c->conflict], c->on_rollback == ROLLBACK_KEEP ? "keep" : "undo",
		config_workers(c));
}

static void put_sessions(struct bytes *out, const struct metrics_facts *f)
{
	const struct stats_picture *p = f->picture;

	put_one(out, "start_time_seconds", "gauge", "When the process began, Unix time.",
		(uint64_t)p->started_at);
	put_one(out, "sessions", "gauge", "Clients that are connected.", p->n_sessions);
	put_one(out, "sessions_max", "gauge", "max_client_conn.", f->config->max_client_conn);
	put_one(out, "sessions_total", "counter", "Clients that have connected.",
		p->counters[STATS_SESSIONS_TOTAL]);
	put_one(out, "logins_total", "counter", "Clients that have logged in.",
		p->counters[STATS_LOGINS]);
	put_one(out, "cancel_requests_total", "counter", "Requests to cancel a session's query.",
		p->counters[STATS_CANCELS]);
	begin(out, "bytes_total", "counter", "Bytes of the protocol that were read.");
	bytes_printf(out,
		"pgaside_bytes_total{from=\"client\"} %" PRIu64
		"\npgaside_bytes_total{from=\"server\"} %" PRIu64 "\n",
		p->bytes_up, p->bytes_down);
}

/* Inline there is one outcome, elsewhere there are the four others. */
static bool is_possible(unsigned placement, unsigned outcome)
{
	return (placement == STATS_INLINE) == (outcome == STATS_SENT);
}

static void put_asides(struct bytes *out, const struct stats_picture *p)
{
	put_one(out, "asides_running", "gauge", "Asides that run, or clean up, now.", p->n_running);
	begin(out, "asides_total", "counter",
		"Statements taken aside, by where they ran and how that ended.");
	for (unsigned s = 0; s < STATS_STATEMENTS; s++)
		for (unsigned l = 0; l < STATS_PLACEMENTS; l++)
			for (unsigned o = 0; o < STATS_OUTCOMES; o++)
				if (is_possible(l, o))
					bytes_printf(out,
						"pgaside_asides_total{statement=\"%s\",placement="
						"\"%s\",outcome=\"%s\"} %" PRIu64 "\n",
						stats_statement_names[s], stats_placement_names[l],
						stats_outcome_names[o], p->asides[s][l][o]);
}

static void put_histogram(
	struct bytes *out, const struct stats_picture *p, unsigned statement, unsigned placement)
{
	const uint64_t *buckets = p->buckets[statement][placement];
	const char *name = stats_statement_names[statement];
	const char *place = stats_placement_names[placement];
	uint64_t sum = 0;

	for (unsigned i = 0; i < STATS_BUCKETS; i++) {
		char bound[32] = "+Inf";

		sum += buckets[i];
		if (i < STATS_BUCKETS - 1)
			snprintf(bound, sizeof(bound), "%g", stats_bounds[i]);
		bytes_printf(out,
			"pgaside_aside_duration_seconds_bucket{statement=\"%s\",placement=\"%s\","
			"le=\"%s\"} %" PRIu64 "\n",
			name, place, bound, sum);
	}
	bytes_printf(out,
		"pgaside_aside_duration_seconds_sum{statement=\"%s\",placement=\"%s\"} %.3f\n"
		"pgaside_aside_duration_seconds_count{statement=\"%s\",placement=\"%s\"} %" PRIu64
		"\n",
		name, place, (double)p->duration_ms[statement][placement] / 1000, name, place, sum);
}

static void put_durations(struct bytes *out, const struct stats_picture *p)
{
	begin(out, "aside_duration_seconds", "histogram",
		"From the statement's arrival to its answer, of those that ran.");
	for (unsigned s = 0; s < STATS_STATEMENTS; s++)
		for (unsigned l = 0; l < STATS_INLINE; l++)
			put_histogram(out, p, s, l);
}

static void put_owed(struct bytes *out, const struct metrics_facts *f)
{
	const struct stats_picture *p = f->picture;
	uint64_t open = 0, committed = 0;

	for (size_t i = 0; i < p->n_owed; i++)
		*(p->owed[i].committed ? &committed : &open) += p->owed[i].n;
	begin(out, "owed_statements", "gauge",
		"Statements that wait for their COMMIT, or follow it.");
	bytes_printf(out,
		"pgaside_owed_statements{transaction=\"open\"} %" PRIu64
		"\npgaside_owed_statements{transaction=\"committed\"} %" PRIu64 "\n",
		open, committed);
	put_one(out, "owed_total", "counter", "Statements that were put off to COMMIT.",
		p->counters[STATS_OWED_TOTAL]);
	put_one(out, "owed_failures_total", "counter",
		"Transactions that committed, and a statement that they owed failed.",
		f->owed_failures);
}

static void put_errors(struct bytes *out, const struct stats_picture *p)
{
	put_one(out, "retries_total", "counter",
		"Further tries of asides after a lock timeout or a deadlock.",
		p->counters[STATS_RETRIES]);
	put_one(out, "leftovers_dropped_total", "counter", "INVALID indexes that were dropped.",
		p->counters[STATS_LEFTOVERS_DROPPED]);
	begin(out, "errors_total", "counter",
		"Errors of asides, and of sessions that pgaside ended.");
	for (unsigned i = 0; i < stats_n_sqlstates; i++)
		bytes_printf(out, "pgaside_errors_total{sqlstate=\"%s\"} %" PRIu64 "\n",
			stats_sqlstates[i], p->errors[i]);
}

void metrics_write(struct bytes *out, const struct metrics_facts *f)
{
	put_build_and_config(out, f->config);
	put_sessions(out, f);
	put_asides(out, f->picture);
	put_durations(out, f->picture);
	put_owed(out, f);
	put_errors(out, f->picture);
}
