import java.net.URI;
import java.nio.file.*;
import java.sql.*;
import java.util.*;

/**
 * The same small migrator with pgjdbc, autocommit off. The first argument says how a file is sent
 * (statement, prepared, batch), the second whether a transaction is for all files together or for
 * each; the others are properties of the driver.
 */
public class Migrate {
	public static void main(String[] args) throws Exception {
		URI url = new URI(System.getenv("DATABASE_URL"));
		String[] user = url.getUserInfo().split(":");
		Properties properties = new Properties();
		properties.setProperty("user", user[0]);
		properties.setProperty("password", user[1]);
		for (String arg : args) {
			if (arg.contains("=")) {
				properties.setProperty(arg.split("=")[0], arg.split("=")[1]);
			}
		}
		String target = "jdbc:postgresql://" + url.getHost() + ":" + url.getPort() + url.getPath();
		try (Connection connection = DriverManager.getConnection(target, properties)) {
			try (Statement statement = connection.createStatement()) {
				statement.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)");
			}
			connection.setAutoCommit(false);
			Set<String> done = done(connection);
			for (Path file : files()) {
				if (!done.contains(file.getFileName().toString())) {
					apply(connection, file, args[0]);
					if (args[1].equals("each")) {
						connection.commit();
					}
				}
			}
			connection.commit();
		}
	}

	static Set<String> done(Connection connection) throws Exception {
		Set<String> names = new HashSet<>();
		try (Statement statement = connection.createStatement();
				ResultSet rows = statement.executeQuery("SELECT name FROM migrations")) {
			while (rows.next()) {
				names.add(rows.getString(1));
			}
		}
		/* So that BEGIN leaves in one burst with the first statement of a migration. */
		connection.commit();
		return names;
	}

	static List<Path> files() throws Exception {
		List<Path> files = new ArrayList<>();
		try (DirectoryStream<Path> found = Files.newDirectoryStream(Paths.get("migrations"), "*.sql")) {
			found.forEach(files::add);
		}
		Collections.sort(files);
		return files;
	}

	static void apply(Connection connection, Path file, String how) throws Exception {
		String text = Files.readString(file);
		if (how.equals("prepared")) {
			try (PreparedStatement statement = connection.prepareStatement(text)) {
				statement.execute();
			}
		} else {
			try (Statement statement = connection.createStatement()) {
				if (how.equals("batch")) {
					for (String piece : text.split(";\n")) {
						statement.addBatch(piece);
					}
					statement.executeBatch();
				} else {
					statement.execute(text);
				}
			}
		}
		try (PreparedStatement name = connection.prepareStatement("INSERT INTO migrations VALUES (?)")) {
			name.setString(1, file.getFileName().toString());
			name.execute();
		}
	}
}
