#!/usr/bin/perl
# What a compiler does not check: which layer may include and call what, words that are not used
# here, names in SQL that a search_path decides, lengths. Takes the C files to look at; prints "file:line: why" and ends with status 1.
use strict;
use warnings;

my $max_function = 60;
my $max_file = 600;

# Who may include what: header => files.
my %only_in = (
	qr{libpq-fe\.h|libpq/|postgres_ext\.h} => [qw(proxy/pq.c)],
	qr{openssl/} => [qw(proxy/conn.c proxy/tls.c protocol/scram.c)],
	qr{stringprep|idna|punycode} => [qw(protocol/saslprep.c)],
	qr{event2/(?:http|buffer|listener)} => [qw(proxy/http.c)],
	qr{event2/(?!http|buffer|listener)} => [map { "proxy/$_.c" } qw(conn listener loop server worker main pq resolver timer indexes)],
	qr{systemd/} => [qw(proxy/service.c)],
	qr{pg_query} => [],
);
my $impure_header = qr{^(?:sys/(?:socket|epoll|time|select|un|timerfd|uio)|netinet/.*|arpa/.*|netdb
	|poll|time|pthread|threads|stdatomic|unistd|fcntl|signal|syslog)(?:\.h)?$}x;
my $impure_word = qr{\b(?:(?:f?printf|vf?printf|f?puts|f?putc|putchar|perror|fwrite|fopen
	|clock_gettime|getenv)\s*\(|stdout\b|stderr\b)}x;
my $unwanted = qr{\b(?:strcpy|strcat|sprintf|vsprintf|gets|strtok|ato[ilf]|atoll|alloca)\s*\(};

my $failures = 0;

sub complain {
	my ($file, $line, $why) = @_;
	print "$file:$line: $why\n";
	$failures++;
}

# The text without comments, strings and characters, line by line.
sub code_of {
	my ($text) = @_;
	my $skip = qr{/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'}s;
	$text =~ s{($skip)}{ my $s = $1; my $n = $s =~ tr/\n//; ($s =~ m{^/} ? ' ' : '""') . "\n" x $n }ge;
	return split /\n/, $text, -1;
}

# SQL asks for types of pg_catalog by their full names, and calls operators by the macros of catalog.h:
# what stands before pg_catalog in a search_path (types of pg_temp always do) is somebody else's.
# Operators may have their short names where the comment in front, up to a blank line, has the words
# "search_path is pg_catalog".
my $string = qr{"(?:\\.|[^"\\\n])*"};
my $piece = qr{$string|\b[A-Z][A-Z0-9_]*\b(?:\([^()]*\))?};
my $short_type = qr{(?:::\s*(?!pg_catalog\.)(?=\w*[a-z]|\\")|\bCAST\s*\(|\bDECLARE\s\w+\s(?!pg_catalog\.))[^\n]{0,20}};
my $short_operator = qr{(?:[-+*/<>=~!@#%^&|]*[<>=~|][-+*/<>=~!@#%^&|]*
	|\b(?:IN|ANY|I?LIKE|SIMILAR|BETWEEN|DISTINCT\s+FROM|NULLIF|NATURAL|USING(?=\s*\()
	|CASE(?!\s++WHEN\b))\b)[^\n]{0,20}}x;

sub check_sql {
	my ($file, $text, $raw) = @_;
	$text =~ s{(/\*.*?\*/)|($string)}{ $2 // "\n" x ($1 =~ tr/\n//) }gse;
	while ($text =~ m{((?:$piece)(?:[\s\\]+(?:$piece))*)}g) {
		my ($sql, $line) = ($1, 1 + (substr($text, 0, $-[0]) =~ tr/\n//));
		$sql =~ s{($string)|(\b[A-Z]\w*)(\([^()]*\))?}{ $1 ? substr($1, 1, -1) : ' EQ ' . ($3 // '') }ge;
		complain($file, $line, "$&: a type without pg_catalog") if $sql =~ $short_type;
		next if $sql !~ /pg_catalog\.|\bSELECT\b/;
		$sql =~ s{\bEQ\s+ANY\b|\bOPERATOR\(pg_catalog\.[^)]*\)|'[^']*'|::|%\w|\bSET \w+ =|\\\n}{ X }g;
		next if $sql !~ $short_operator;
		my ($short, $first) = ($&, $line - 1);
		$first-- while $first > 0 && $raw->[$first - 1] =~ /\S/;
		complain($file, $line, "$short: an operator without pg_catalog")
			if join(' ', @$raw[$first .. $line - 1]) !~ /search_path[\s*]+is[\s*]+pg_catalog/;
	}
}

sub check_include {
	my ($file, $line, $header) = @_;
	for my $pattern (keys %only_in) {
		next if $header !~ m{^(?:$pattern)} || grep { $_ eq $file } @{$only_in{$pattern}};
		complain($file, $line, "$header is not for this file");
	}
	if ($file =~ m{^(?:protocol|include)/}) {
		complain($file, $line, "$header: protocol/ is pure") if $header =~ $impure_header;
		complain($file, $line, "$header is the program's") if -e "proxy/$header";
	}
}

# A function of the Linux style: its body is between lines that are only "{" and only "}".
sub check_functions {
	my ($file, $raw, @code) = @_;
	my ($first, $open);
	for my $i (0 .. $#code) {
		if ($code[$i] =~ /^\{\s*$/) {
			$open = 1;
		} elsif ($code[$i] =~ /^\}/) {
			my $length = $open ? $i - $first + 1 : 0;
			my $exempt = $open && $first > 0 && $raw->[$first - 1] =~ /NOLINT.*function-size/;
			complain($file, $first + 1, "function of $length lines, at most $max_function")
				if $length > $max_function && !$exempt;
			($first, $open) = ();
		} elsif (!$open) {
			$first = $i if $code[$i] =~ /^[A-Za-z_]/ && !defined $first;
			undef $first if $code[$i] =~ /^\S.*;\s*$|^\s.*\);\s*$/;
		}
	}
}

for my $file (@ARGV) {
	open my $in, '<', $file or die "$file: $!\n";
	my $text = do { local $/; <$in> };
	close $in;
	my @raw = split /\n/, $text;
	my @code = code_of($text);
	my $ours = $file =~ m{^(?:include|protocol|proxy)/};

	for my $i (0 .. $#raw) {
		check_include($file, $i + 1, $1) if $ours && $raw[$i] =~ /^\s*#\s*include\s*[<"]([^>"]+)/;
	}
	for my $i (0 .. $#code) {
		complain($file, $i + 1, "comments are /* */ here") if $code[$i] =~ m{//};
		complain($file, $i + 1, "$& is not used here") if $code[$i] =~ $unwanted;
		complain($file, $i + 1, "$&: protocol/ writes nothing and asks no one")
			if $file =~ m{^(?:protocol|include)/} && $code[$i] =~ $impure_word;
	}
	next if !$ours;
	complain($file, 1, scalar(@raw) . " lines, at most $max_file") if @raw > $max_file;
	complain($file, 1, "the first line is \"name.h - purpose.\"")
		if $file =~ m{([^/]+\.h)$} && $text !~ m{^/\*\s*\*?\s*\Q$1\E - };
	check_functions($file, \@raw, @code);
	check_sql($file, $text, \@raw) if $file =~ m{^proxy/};
}
exit($failures ? 1 : 0);
