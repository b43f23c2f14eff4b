exports.up = (pgm) => {
	pgm.createIndex('users', ['organization_id', 'created_at'], {
		name: 'users_organization_idx',
		concurrently: true,
	});
};
