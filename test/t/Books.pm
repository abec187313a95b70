# What test/harness/books.sql does, for tests whose server is a node of theirs.
package Books;

use strict;
use warnings;
use PostgreSQL::Test::Utils;

# The SQL that moves all that happened so far into the past, but for orders.
sub pass_time
{
	my ($span) = @_;
	return 'SET check_function_bodies = off;' . slurp_file('books.sql') . "SELECT pg_temp.pass_time('$span')";
}

1;
