import java.net.URI;
import java.nio.file.Path;
import java.sql.Connection;
import java.util.List;
import org.springframework.core.io.FileSystemResource;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DataSourceTransactionManager;
import org.springframework.jdbc.datasource.DriverManagerDataSource;
import org.springframework.jdbc.datasource.init.ScriptUtils;
import org.springframework.transaction.support.TransactionTemplate;

/** A transaction for each file, by Spring's templates; it splits the files itself. */
public class Spring {
	public static void main(String[] args) throws Exception {
		URI url = new URI(System.getenv("DATABASE_URL"));
		String[] user = url.getUserInfo().split(":");
		DriverManagerDataSource source = new DriverManagerDataSource(
				"jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath(), user[0], user[1]);
		JdbcTemplate jdbc = new JdbcTemplate(source);
		TransactionTemplate transaction = new TransactionTemplate(new DataSourceTransactionManager(source));
		jdbc.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)");
		List<String> done = jdbc.queryForList("SELECT name FROM migrations", String.class);
		for (Path file : Migrate.files()) {
			String name = file.getFileName().toString();
			if (!done.contains(name)) {
				transaction.execute(status -> {
					jdbc.execute((Connection connection) -> {
						ScriptUtils.executeSqlScript(connection, new FileSystemResource(file.toFile()));
						return null;
					});
					return jdbc.update("INSERT INTO migrations VALUES (?)", name);
				});
			}
		}
	}
}
