exports.up = (knex) =>
	knex.schema.createTable('users', (table) => {
		table.bigIncrements('id');
		table.bigInteger('organization_id').notNullable();
		table.text('email').notNullable().index('users_email_idx');
		table.timestamp('created_at').notNullable().defaultTo(knex.fn.now());
	});

exports.down = (knex) => knex.schema.dropTable('users');
