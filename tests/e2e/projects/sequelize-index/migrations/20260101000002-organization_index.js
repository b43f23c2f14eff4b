module.exports = {
	up: (queryInterface) =>
		queryInterface.sequelize.transaction((transaction) =>
			queryInterface.addIndex('users', {
				name: 'users_organization_idx',
				fields: ['organization_id', { name: 'created_at', order: 'DESC' }],
				concurrently: true,
				transaction,
			}),
		),
};
