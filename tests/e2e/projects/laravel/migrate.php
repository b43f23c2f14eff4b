<?php
// What `artisan migrate` does, with Debian's illuminate packages, which lack the one for files.

namespace Illuminate\Filesystem {
	class Filesystem
	{
		public function glob($pattern)
		{
			return glob($pattern);
		}

		public function getRequire($path)
		{
			return require $path;
		}

		public function requireOnce($path)
		{
			return require_once $path;
		}
	}
}

namespace {
	require 'Illuminate/Database/autoload.php';

	use Illuminate\Database\Capsule\Manager;
	use Illuminate\Database\Migrations\DatabaseMigrationRepository;
	use Illuminate\Database\Migrations\Migrator;
	use Illuminate\Filesystem\Filesystem;
	use Illuminate\Support\Facades\Facade;

	$capsule = new Manager;
	$capsule->addConnection([
		'driver' => 'pgsql',
		'url' => getenv('DATABASE_URL'),
		'charset' => 'utf8',
		'schema' => 'public',
	]);
	$database = $capsule->getDatabaseManager();
	$capsule->getContainer()->instance('db', $database);
	Facade::setFacadeApplication($capsule->getContainer());
	$repository = new DatabaseMigrationRepository($database, 'migrations');
	if (!$repository->repositoryExists()) {
		$repository->createRepository();
	}
	(new Migrator($repository, $database, new Filesystem))->run([getcwd() . '/migrations']);
}
