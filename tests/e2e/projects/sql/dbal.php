<?php
// A transaction for each file, with Doctrine DBAL. The argument says how: exec or prepare.
require 'Doctrine/DBAL/autoload.php';

$how = $argv[1];
$connection = Doctrine\DBAL\DriverManager::getConnection(['url' => getenv('DATABASE_URL')]);
$connection->executeStatement('CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)');
foreach (glob('migrations/*.sql') as $file) {
	if ($connection->fetchOne('SELECT 1 FROM migrations WHERE name = ?', [$file])) {
		continue;
	}
	$connection->transactional(function ($connection) use ($file, $how) {
		$text = file_get_contents($file);
		if ($how === 'exec') {
			$connection->executeStatement($text);
		} else {
			foreach (array_filter(array_map('trim', explode(";\n", $text))) as $statement) {
				$connection->prepare($statement)->executeStatement();
			}
		}
		$connection->insert('migrations', ['name' => $file]);
	});
}
