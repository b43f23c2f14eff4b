class OrganizationIndex < ActiveRecord::Migration[6.1]
  def change
    add_index :users, %i[organization_id created_at], name: 'users_organization_idx',
      order: { created_at: :desc }, algorithm: :concurrently
  end
end
