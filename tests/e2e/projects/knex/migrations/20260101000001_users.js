exports.up = async (knex) => {
	await knex.schema.createTable('users', (table) => {
		table.bigIncrements('id');
		table.bigInteger('organization_id').notNullable();
		table.text('email').notNullable().index('users_email_idx');
		table.timestamp('created_at').notNullable().defaultTo(knex.fn.now());
	});
	await knex('users').insert({ organization_id: 1, email: 'first@example.org' });
};

exports.down = async () => {};
