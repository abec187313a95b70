# A session of psql that is sent statements and answers lines, without waiting for others.
package Session;

use strict;
use warnings;
use IPC::Open3;

my $sent = 0;

sub new
{
	my ($class, $database, $options) = @_;
	my $self = bless { buffer => '' }, $class;
	local $ENV{PGOPTIONS} = '-c client_min_messages=error -c deadlock_timeout=50ms -c statement_timeout=60s ' . ($options // '');
	local $ENV{PGAPPNAME} = 'session';

	# No separate handle for errors: they come among the answers.
	$self->{pid} = open3($self->{in}, $self->{out}, undef,
		'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $database);
	$self->{in}->autoflush(1);
	return $self;
}

# Sends statements, each a line; the answer is complete when read_more() says so.
sub send
{
	my ($self, @lines) = @_;
	$self->{mark} = 'done ' . ++$sent;
	print { $self->{in} } map { "$_\n" } @lines, "\\echo $self->{mark}";
}

# Takes what has come; the lines of the answer once it is complete, else undef.
sub read_more
{
	my ($self) = @_;
	my $n = sysread $self->{out}, $self->{buffer}, 65536, length $self->{buffer};
	die "psql ended: $self->{buffer}\n" if !$n;
	return undef if $self->{buffer} !~ s/\A(.*?)^\Q$self->{mark}\E\n//ms;
	return [ split /\n/, $1 ];
}

# Waits for the lines of the answer.
sub answer
{
	my ($self) = @_;
	my $answer;
	1 until $answer = $self->read_more;
	return $answer;
}

# Sends and waits. An error ends the run.
sub ask
{
	my ($self, @lines) = @_;
	$self->send(@lines);
	my $answer = $self->answer;
	my ($error) = grep { $answer->[$_] =~ /^(psql:.*)?ERROR:/ } 0 .. $#$answer;
	die join("\n", "$lines[0] ...", grep { defined } @$answer[ $error .. $error + 2 ]) . "\n" if defined $error;
	return @$answer;
}

sub end
{
	my ($self) = @_;
	close $self->{in};
	waitpid $self->{pid}, 0;
}

1;
