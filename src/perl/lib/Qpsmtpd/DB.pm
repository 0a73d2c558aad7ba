# A store for what plugins remember from one session to the next: keys and values.
#
# Replaces the Qpsmtpd::DB of Perl qpsmtpd, with its classes, their methods, and the files and
# Redis databases that they have made.
package Qpsmtpd::DB;

use strict;
use warnings;

# Tried in this order, unless `class` names one.
our @child_classes = qw(Qpsmtpd::DB::Redis Qpsmtpd::DB::File::DBM);

# Arguments in pairs: class, and what that class wants.
sub new {
    my (undef, %arg) = @_;
    my $only = delete $arg{class};
    my @why;
    for my $class ($only || @child_classes) {
        my $store = eval {
            _load($class);
            $class->new(%arg);
        };
        return $store if $store;
        push @why, "$class: $@";
    }
    die join "\n", 'no store can be used', @why;
}

# A class need not have a file of its own.
sub _load {
    my ($class) = @_;
    return if $class->can('new');
    (my $file = "$class.pm") =~ s{::}{/}g;
    require $file;
}

# For stores that need no lock.
sub lock { return 1 }
sub unlock { return 1 }

sub name {
    my ($self, $name) = @_;
    $self->{name} = $name if $name;
    return $self->{name};
}

# Warns, and says no, where a method was called without a key.
sub _has_key {
    my ($self, $method, @keys) = @_;
    return 1 if @keys && $keys[0];
    warn "$method needs a key\n";
    return 0;
}

1;
