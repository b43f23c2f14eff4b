import { bigint, bigserial, index, pgTable, text, timestamp } from 'drizzle-orm/pg-core';

export const users = pgTable(
	'users',
	{
		id: bigserial({ mode: 'number' }).primaryKey(),
		organizationId: bigint('organization_id', { mode: 'number' }).notNull(),
		email: text().notNull(),
		nickname: text(),
		createdAt: timestamp('created_at', { withTimezone: true }).notNull().defaultNow(),
	},
	(users) => [
		index('users_organization_idx').on(users.organizationId, users.createdAt, users.id).concurrently(),
		index('users_nickname_idx').on(users.nickname).concurrently(),
	],
);
