# generate.pl PROJECT FILE.sql...: puts each text into the form of the project's tool. A template is a
# file whose name ends with .in; its name and its text have the parts that differ:
#   %n %t %name      in the name: number, time, name of the migration
#   {{n}} {{name}} {{Class}} {{before}} {{before_name}} {{sql}}
#   {{first A | B}}  A in the first migration, B in the others
# A migration that the project has already, whatever its suffix, is left as it is.
use strict;
use warnings;
use File::Find;

my ($project, @texts) = @ARGV;
my @templates;
find({ wanted => sub { push @templates, $_ if /\.in$/ }, no_chdir => 1 }, $project);

sub slurp {
	my ($path) = @_;
	open my $file, '<', $path or die "$path: $!\n";
	local $/;
	return scalar <$file>;
}

for my $template (@templates) {
	my $form = slurp($template);
	my $before = '';
	for my $path (@texts) {
		my ($n, $name) = $path =~ m{/(\d)_(\w+)\.sql$} or die "$path: no name of a migration\n";
		my %part = (
			n => $n, t => "2026010100000$n", name => $name, before => $n - 1, before_name => $before,
			Class => join('', map { ucfirst } split /_/, $name), sql => slurp($path) =~ s/\n\z//r,
		);
		$before = $name;
		my $target = $template =~ s/\.in$//r =~ s/%(name|n|t)/$part{$1}/gr;
		my @there = glob($target =~ s/[^.]*$/*/r);
		next if @there;
		my $text = $form =~ s/\{\{(\w+)\}\}/$part{$1}/gr;
		$text =~ s/\{\{first (.*?) ?\| (.*?)\}\}/$n == 1 ? $1 : $2/ge;
		open my $file, '>', $target or die "$target: $!\n";
		print $file $text;
		close $file or die "$target: $!\n";
	}
	unlink $template;
}
