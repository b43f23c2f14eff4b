# A transaction for each file, with DBI and DBD::Pg. The argument says how: do or prepare.
use strict;
use warnings;
use DBI;

my ($user, $password, $host, $port, $name) = $ENV{DATABASE_URL} =~ m{//(.*?):(.*?)\@(.*?):(\d+)/(\w+)};
my $dbh = DBI->connect("dbi:Pg:host=$host;port=$port;dbname=$name", $user, $password,
	{AutoCommit => 0, RaiseError => 1, PrintError => 0});
$dbh->do('CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY)');
$dbh->commit;
for my $file (sort glob 'migrations/*.sql') {
	my ($done) = $dbh->selectrow_array('SELECT 1 FROM migrations WHERE name = ?', undef, $file);
	if (!$done) {
		my $text = do { local (@ARGV, $/) = $file; <> };
		if ($ARGV[0] eq 'do') {
			$dbh->do($text);
		} else {
			for my $statement (grep { /\S/ } split /;\n/, $text) {
				my $sth = $dbh->prepare($statement, {pg_server_prepare => 1});
				$sth->execute;
			}
		}
		$dbh->do('INSERT INTO migrations VALUES (?)', undef, $file);
	}
	$dbh->commit;
}
$dbh->disconnect;
