#include "parse_tree.h"

#include "bytes.h"
#include "sql_name.h"

#include <stdio.h>
#include <strings.h>

static const struct sql_dialect utf8 = {.encoding = SQL_ENCODING_UTF8};

/* The next part of the expected JSON. */
static void put(struct bytes *out, const char *text)
{
	bytes_put(out, text, strlen(text));
}

/* A JSON string, escaped as libpg_query does it. */
static void put_string(struct bytes *out, const struct sql_name *name)
{
	static const char plain[] = "\b\f\n\r\t\"\\";
	static const char letters[] = "bfnrt\"\\";

	bytes_put_u8(out, '"');
	for (size_t i = 0; i < name->len; i++) {
		uint8_t c = (uint8_t)name->text[i];
		const char *found = strchr(plain, c);

		if (found) {
			bytes_put_u8(out, '\\');
			bytes_put_u8(out, (uint8_t)letters[found - plain]);
		} else if (c < ' ' || c == '<' || c == '>') {
			char code[8];

			snprintf(code, sizeof(code), "\\u%04x", c);
			put(out, code);
		} else {
			bytes_put_u8(out, c);
		}
	}
	bytes_put_u8(out, '"');
}

static bool json_has(const char *json, struct bytes *want)
{
	bytes_put_u8(want, 0);
	return !bytes_failed(want) && strstr(json, (const char *)bytes_view(want).data);
}

/* Whether the JSON has `key` followed by this name as a relation. */
static bool has_relation(const char *json, const char *key, const struct sql_path *path)
{
	static const char *const fields[] = {"\"catalogname\":", "\"schemaname\":", "\"relname\":"};
	struct bytes want;
	bool has;

	bytes_init(&want, 10000);
	put(&want, key);
	put(&want, "{");
	for (size_t i = 0; i < path->n_parts; i++) {
		put(&want, fields[SQL_NAME_PARTS - path->n_parts + i]);
		put_string(&want, &path->parts[i]);
		put(&want, ",");
	}
	has = json_has(json, &want);
	bytes_release(&want);
	return has;
}

static bool has_string(const char *json, const char *key, const struct sql_name *name)
{
	struct bytes want;
	bool has;

	bytes_init(&want, 10000);
	put(&want, key);
	put_string(&want, name);
	has = json_has(json, &want);
	bytes_release(&want);
	return has;
}

/* The first object of a DROP: its path as a list of strings. */
static bool has_object(const char *json, const struct sql_path *path)
{
	struct bytes want;
	bool has;

	bytes_init(&want, 10000);
	put(&want, "\"objects\":[{\"List\":{\"items\":[");
	for (size_t i = 0; i < path->n_parts; i++) {
		put(&want, i ? ",{\"String\":{\"sval\":" : "{\"String\":{\"sval\":");
		put_string(&want, &path->parts[i]);
		put(&want, "}}");
	}
	put(&want, "]}}");
	has = json_has(json, &want);
	bytes_release(&want);
	return has;
}

/* What only the grammar takes: a name of four parts, which the server refuses later; and what is
 * left to the server: UESCAPE with another literal than a plain one. */
static bool is_left_to_the_server(struct slice path)
{
	struct sql_lexer lexer;
	struct sql_token t;
	size_t dots = 0;
	bool odd = false;

	sql_lexer_init(&lexer, path, utf8);
	while ((t = sql_lexer_next(&lexer)).kind != SQL_TOKEN_END && t.kind != SQL_TOKEN_ERROR) {
		dots += sql_token_is_char(path, t, '.');
		if (sql_token_is_word(path, t, "uescape")) {
			t = sql_lexer_next(&lexer);
			odd = odd || t.kind != SQL_TOKEN_STRING || t.end - t.start != 3;
		}
	}
	return odd || dots >= SQL_NAME_PARTS;
}

static bool same_relation(const char *json, const char *key, struct slice text)
{
	struct sql_path path;

	if (!sql_path_decode(text, utf8, &path))
		return is_left_to_the_server(text);
	return has_relation(json, key, &path);
}

static bool same_string(const char *json, const char *key, struct slice text)
{
	struct sql_name name;

	if (text.len == 0)
		return !strstr(json, key);
	if (!sql_name_decode(text, utf8, &name))
		return is_left_to_the_server(text);
	return has_string(json, key, &name);
}

static bool same_flag(const char *json, const char *field, bool ours)
{
	return (strstr(json, field) != NULL) == ours;
}

static const char *last_of(const char *json, const char *what)
{
	const char *found = NULL;

	for (const char *at = strstr(json, what); at; at = strstr(at + 1, what))
		found = at + strlen(what);
	return found;
}

static bool begins(const char *text, const char *with)
{
	return strncasecmp(text, with, strlen(with)) == 0;
}

/* The last word of a REINDEX about being concurrent. */
static bool reindex_is_concurrent(const char *json)
{
	const char *last = last_of(json, "\"defname\":\"concurrently\",");

	return last && (begins(last, "\"defaction\"") ||
			       begins(last, "\"arg\":{\"Integer\":{\"ival\":1}") ||
			       begins(last, "\"arg\":{\"String\":{\"sval\":\"on\"") ||
			       begins(last, "\"arg\":{\"String\":{\"sval\":\"true\"") ||
			       begins(last, "\"arg\":{\"Boolean\":{\"boolval\":true"));
}

static enum statement_kind control_kind(const char *json)
{
	static const struct {
		const char *name;
		enum statement_kind kind;
	} kinds[] = {{"BEGIN\"", STATEMENT_BEGIN}, {"START\"", STATEMENT_BEGIN},
		{"COMMIT\"", STATEMENT_COMMIT}, {"ROLLBACK\"", STATEMENT_ROLLBACK},
		{"SAVEPOINT\"", STATEMENT_SAVEPOINT}, {"RELEASE\"", STATEMENT_RELEASE},
		{"ROLLBACK_TO\"", STATEMENT_ROLLBACK_TO},
		{"PREPARE\"", STATEMENT_PREPARE_TRANSACTION},
		{"COMMIT_PREPARED\"", STATEMENT_COMMIT_PREPARED},
		{"ROLLBACK_PREPARED\"", STATEMENT_ROLLBACK_PREPARED}};
	const char *name = last_of(json, "\"TransactionStmt\":{\"kind\":\"TRANS_STMT_");

	for (size_t i = 0; name && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (begins(name, kinds[i].name))
			return kinds[i].kind;
	return STATEMENT_OTHER;
}

enum statement_kind parse_tree_kind(const char *json)
{
	const char *node = strstr(json, "{\"stmt\":{\"");
	bool concurrent = strstr(json, "\"concurrent\":true") != NULL;

	node = node ? node + strlen("{\"stmt\":{\"") : "";
	if (begins(node, "IndexStmt\"") && concurrent)
		return STATEMENT_CREATE_INDEX;
	if (begins(node, "DropStmt\"") && concurrent &&
		strstr(json, "\"removeType\":\"OBJECT_INDEX\""))
		return STATEMENT_DROP_INDEX;
	if (begins(node, "ReindexStmt\"") && reindex_is_concurrent(json))
		return STATEMENT_REINDEX;
	if (begins(node, "AlterTableStmt\"") && concurrent &&
		strstr(json, "\"AT_DetachPartition\""))
		return STATEMENT_DETACH_PARTITION;
	return begins(node, "TransactionStmt\"") ? control_kind(node - 1) : STATEMENT_OTHER;
}

static bool same_create(const struct statement_aside *aside, const char *json)
{
	const char *relation = strstr(json, "\"relation\":{");
	const char *only = relation ? strstr(relation, "\"inh\":true,\"relpersistence\"") : NULL;
	bool whole = only && only < strstr(relation, "\"location\"");

	return same_string(json, "\"idxname\":", aside->index) &&
	       same_relation(json, "\"relation\":", aside->table) && whole == !aside->only &&
	       same_flag(json, ",\"unique\":true", aside->unique) &&
	       same_flag(json, ",\"if_not_exists\":true", aside->if_not_exists);
}

static bool same_object(const char *json, struct slice text)
{
	struct sql_path path;

	return sql_path_decode(text, utf8, &path) ? has_object(json, &path)
						  : is_left_to_the_server(text);
}

static bool same_drop(const struct statement_aside *aside, const char *json)
{
	size_t n = 0;

	for (const char *at = json; (at = strstr(at, "{\"List\":{\"items\":")); at++)
		n++;
	return n == aside->n_names && same_object(json, aside->index) &&
	       same_flag(json, ",\"missing_ok\":true", aside->if_exists) &&
	       same_flag(json, "\"behavior\":\"DROP_CASCADE\"", aside->cascade);
}

static bool same_reindex(const struct statement_aside *aside, const char *json)
{
	switch (aside->target) {
	case STATEMENT_TARGET_INDEX:
		return strstr(json, "\"REINDEX_OBJECT_INDEX\"") &&
		       same_relation(json, "\"relation\":", aside->index);
	case STATEMENT_TARGET_TABLE:
		return strstr(json, "\"REINDEX_OBJECT_TABLE\"") &&
		       same_relation(json, "\"relation\":", aside->table);
	case STATEMENT_TARGET_SCHEMA:
		return strstr(json, "\"REINDEX_OBJECT_SCHEMA\"") &&
		       same_string(json, ",\"name\":", aside->scope);
	case STATEMENT_TARGET_DATABASE:
		return strstr(json, "\"REINDEX_OBJECT_DATABASE\"") &&
		       same_string(json, ",\"name\":", aside->scope);
	case STATEMENT_TARGET_SYSTEM:
		return strstr(json, "\"REINDEX_OBJECT_SYSTEM\"") &&
		       same_string(json, ",\"name\":", aside->scope);
	case STATEMENT_TARGET_NONE:
		break;
	}
	return false;
}

static bool same_detach(const struct statement_aside *aside, const char *json)
{
	return same_relation(json, "\"AlterTableStmt\":{\"relation\":", aside->table) &&
	       same_relation(json, "\"PartitionCmd\":{\"name\":", aside->partition) &&
	       same_flag(json, ",\"missing_ok\":true", aside->if_exists);
}

static enum statement_isolation expected_isolation(const char *json)
{
	const char *level = last_of(json,
		"\"defname\":\"transaction_isolation\",\"arg\":{\"A_Const\":{\"sval\":{\"sval\":");

	if (!level)
		return STATEMENT_ISOLATION_UNSAID;
	if (begins(level, "\"serializable\""))
		return STATEMENT_ISOLATION_SERIALIZABLE;
	return begins(level, "\"repeatable read\"") ? STATEMENT_ISOLATION_REPEATABLE_READ
						    : STATEMENT_ISOLATION_READ_COMMITTED;
}

static enum statement_access expected_access(const char *json)
{
	const char *only = last_of(
		json, "\"defname\":\"transaction_read_only\",\"arg\":{\"A_Const\":{\"ival\":{");

	if (!only)
		return STATEMENT_ACCESS_UNSAID;
	return begins(only, "\"ival\":1}") ? STATEMENT_ACCESS_READ_ONLY
					   : STATEMENT_ACCESS_READ_WRITE;
}

static bool same_control(const struct statement_control *control, const char *json)
{
	return same_string(json, "\"savepoint_name\":", control->savepoint) &&
	       same_flag(json, "\"chain\":true", control->chain) &&
	       control->isolation == expected_isolation(json) &&
	       control->access == expected_access(json);
}

bool parse_tree_agrees(const char *json, const struct statement *s)
{
	switch (s->kind) {
	case STATEMENT_CREATE_INDEX:
		return same_create(&s->aside, json);
	case STATEMENT_DROP_INDEX:
		return same_drop(&s->aside, json);
	case STATEMENT_REINDEX:
		return same_reindex(&s->aside, json);
	case STATEMENT_DETACH_PARTITION:
		return same_detach(&s->aside, json);
	default:
		return !statement_is_control(s) || same_control(&s->control, json);
	}
}
