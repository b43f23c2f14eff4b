/*
 * config.h - every setting, from file, environment and command line.
 *
 * One table in config.c holds names, defaults, bounds and help; a later source overrides an earlier
 * one: defaults, file, environment (PGASIDE_LISTEN_PORT), command line (--listen-port). Knows
 * nothing of what the settings do.
 */
#ifndef PGASIDE_CONFIG_H
#define PGASIDE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "log.h"

enum config_client_tls {
	CLIENT_TLS_DISABLE,
	CLIENT_TLS_ALLOW,
	CLIENT_TLS_REQUIRE,
	CLIENT_TLS_VERIFY /* and a certificate of client_tls_ca_file */
};
enum config_auth {
	AUTH_PASSWORD,
	AUTH_RELAY
};
enum config_allow {
	ALLOW_LOCAL,
	ALLOW_ALWAYS
};
enum config_native {
	NATIVE_PASS,
	NATIVE_GUARD,
};
enum config_conflict {
	CONFLICT_AT_COMMIT,
	CONFLICT_INLINE,
	CONFLICT_ERROR,
};
enum config_rollback {
	ROLLBACK_UNDO,
	ROLLBACK_KEEP,
};
enum config_log_format {
	LOG_AS_TEXT,
	LOG_AS_JSON
};
enum config_notify {
	NOTIFY_NOTICE,
	NOTIFY_OFF
};

/* All strings are owned by the config and never NULL; an unset one is "". Times are in
 * milliseconds. */
struct config {
	char *upstream;	      /* libpq connection URI or keyword string */
	char *aside_upstream; /* the same, "" = upstream */
	char *listen_addr;    /* comma separated; "" = no TCP */
	uint16_t listen_port; /* 0 = any free one */
	char *unix_socket_dir;
	char *http_listen_addr;	   /* "" = loopback */
	char *admin_users;	   /* of the console, comma separated; "" = there is none */
	char *pidfile;		   /* "" = none */
	uint16_t http_listen_port; /* 0 = any free one; with http_listen_addr "": no HTTP */
	bool so_reuseport;
	unsigned workers; /* threads, 0 = choose; ask config_workers() */

	enum config_client_tls client_tls_sslmode;
	char *client_tls_key_file;
	char *client_tls_cert_file;
	char *client_tls_ca_file;

	enum config_auth auth;
	enum config_allow allow_cleartext;
	enum config_allow allow_passwordless;

	unsigned max_client_conn;
	unsigned client_login_timeout_ms;
	unsigned server_connect_timeout_ms;
	size_t max_statement_size; /* bytes */

	bool aside;
	enum config_native native;
	enum config_conflict conflict;
	enum config_rollback on_rollback;
	bool repair_invalid;
	unsigned aside_retries;
	unsigned aside_idle_timeout_ms; /* 0 = not kept */
	unsigned undo_timeout_ms;
	enum config_notify notify;
	unsigned progress_interval_ms;	     /* 0 = no NOTICE about it */
	unsigned aside_lock_timeout_ms;	     /* 0 = inherit */
	unsigned aside_statement_timeout_ms; /* 0 = inherit */
	unsigned cleanup_timeout_ms;
	unsigned shutdown_timeout_ms;

	bool tcp_keepalive;
	unsigned tcp_keepidle; /* seconds, 0 = the system's */
	unsigned tcp_keepintvl;
	unsigned tcp_keepcnt;
	unsigned tcp_user_timeout_ms;

	bool log_connections;
	bool log_disconnections;
	enum config_log_format log_format;
	enum log_time log_timestamps;
	char *log_level; /* a name that log_level_from_name() knows */

	/* `pgaside run` only, not settings: what a client of the private port must show, and what
	 * it becomes upstream. */
	char *private_password; /* "" = any client may try */
	char *server_password;	/* the upstream's own password when the client showed
				   private_password; "" = none */
};

/* Defaults for every setting. Fails only without memory (then exits: nothing runs yet). */
void config_init(struct config *c);
/* The same while sessions run, which a lack of memory must not end. `c` can be released in any
 * case. */
bool config_try_init(struct config *c, struct err *e);
/* Wipes the strings: some hold passwords. */
void config_release(struct config *c);

/*
 * Reads an INI file over what is set: `key = value`, comments on lines of their own that begin with
 * ';' or '#', optionally a section [pgaside]. An unknown key, a bad value or an unreadable file:
 * false, and the text of `e` names file and line.
 *
 * On the main thread only: the INI library is set up by global variables.
 */
bool config_read_file(struct config *c, const char *path, struct err *e);
/* Reads PGASIDE_* variables; the text of `e` names the variable. An unknown PGASIDE_ name is an
 * error, too. */
bool config_read_environment(struct config *c, char *const *environment, struct err *e);
/*
 * Reads `--key value`, `--key=value` from argv[1..]; stops at the first word that is no flag, or
 * behind `--`. Returns the index of the first word not consumed, 0 on error (the text of `e` names
 * the flag).
 */
int config_read_arguments(struct config *c, int argc, char *const *argv, struct err *e);
/*
 * One flag at argv[at] and its value, for a caller that has flags of its own: the index behind
 * them, 0 on error. argv[at] must begin with '-' and not be "--".
 */
int config_read_flag(struct config *c, int argc, char *const *argv, int at, struct err *e);
/* What depends on more than one setting: a TLS mode without certificate, an empty upstream, ... */
bool config_check(const struct config *c, struct err *e);
/*
 * What cannot change while pgaside runs becomes in `c` what it is in `running`; `told` is called
 * for each setting that was to be another.
 */
void config_keep_fixed(struct config *c, const struct config *running,
	void (*told)(const char *name, void *arg), void *arg);
/* How many worker threads to start: what is set, or one per CPU and at most 4. */
unsigned config_workers(const struct config *c);
/* Replaces a string of the config, wiping the old one. False without memory. */
bool config_set_string(char **field, const char *value);
/* The flags with their help and defaults, for `--help`, to standard output. */
void config_print_help(void);

#endif
