class DropEmailIndex < ActiveRecord::Migration[6.1]
  def change
    remove_index :users, :email, name: 'users_email_idx', algorithm: :concurrently
  end
end
