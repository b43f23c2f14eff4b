#!/bin/sh
# The plan is what `sqitch add` would have written.
set -e
{
	printf '%%syntax-version=1.0.0\n%%project=e2e\n\n'
	for file in deploy/*.sql; do
		printf '%s 2026-01-01T00:00:00Z App <app@example.org>\n' "$(basename "$file" .sql)"
	done
} >sqitch.plan
exec sqitch deploy "db:$DATABASE_URL"
